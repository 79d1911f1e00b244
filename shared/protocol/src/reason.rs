//! Why a submission was rejected: the closed list of failure codes (PROTOCOL §6, §8, §10–§12, §17).

use crate::clip::AdvisoryKind;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A failure. `Display` is the exact code that other validators write.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub enum Reason {
    /// No usable credentials on the chain.
    MissingCommittedReadCredentials,
    /// Manifest or data set cannot be had.
    MissingSubmissionFiles,
    /// The manifest does not parse.
    ManifestSchemaInvalid,
    /// The manifest names another hotkey or interval.
    ManifestIdentityMismatch,
    /// No such spec.
    UnknownSpec {
        /// As the manifest names it.
        spec_id: String,
    },
    /// The versions do not fit the spec.
    IncompatibleSpecVersion {
        /// The spec.
        spec_id: String,
        /// Protocol version of the manifest.
        protocol: String,
        /// Schema version of the manifest.
        schema: String,
    },
    /// This validator does not check that spec.
    SpecNotEnabled {
        /// The spec.
        spec_id: String,
    },
    /// A category is expected and none is given.
    MissingCategoryMetadata,
    /// Another category is expected.
    UnsupportedCategory {
        /// As given.
        category: String,
    },
    /// The data set's bytes have another digest than the manifest says.
    DatasetSha256Mismatch,
    /// The data set does not parse.
    DatasetSchemaInvalid,
    /// The data set has another number of rows than the manifest says.
    ManifestRecordCountMismatch,
    /// Others' code raises on this submission.
    ValidationException,
    /// The source is not on YouTube.
    NonYoutubeSource {
        /// The row.
        clip_id: String,
    },
    /// Two rows of one source start too close to each other.
    OverlapLt5s {
        /// The source.
        source: String,
        /// The earlier row.
        previous: String,
        /// The later row.
        clip_id: String,
    },
    /// The caption is blank.
    EmptyCaption {
        /// The row.
        clip_id: String,
    },
    /// The caption has too few words.
    ShortCaption {
        /// The row.
        clip_id: String,
    },
    /// The caption holds a link.
    UrlLikeCaption {
        /// The row.
        clip_id: String,
    },
    /// The clip starts too late in its source.
    ClipStartGt5000 {
        /// The row.
        clip_id: String,
    },
    /// The URI leaves the interval's folder or is blank.
    InvalidAssetUri {
        /// As given.
        uri: String,
    },
    /// The clip is not in the bucket.
    MissingClipAsset {
        /// The row.
        clip_id: String,
    },
    /// The clip's bytes have another digest than the row says.
    ClipSha256Mismatch {
        /// The row.
        clip_id: String,
    },
    /// The clip has the wrong size in pixels.
    InvalidResolution {
        /// The row.
        clip_id: String,
        /// Its width, pixels.
        width: u128,
        /// Its height, pixels.
        height: u128,
    },
    /// The first frame is not in the bucket.
    MissingFirstFrameAsset {
        /// The row.
        clip_id: String,
    },
    /// The first frame's bytes have another digest than the row says.
    FirstFrameSha256Mismatch {
        /// The row.
        clip_id: String,
    },
    /// The caption holds a word that aims at the model's answer.
    CaptionSemanticInjectionKeyword {
        /// The row.
        clip_id: String,
    },
    /// The model says that the caption does not fit, or says nothing usable.
    CaptionSemanticMismatch {
        /// The row.
        clip_id: String,
    },
    /// The model sees another category.
    CategoryStrictReject {
        /// The row.
        clip_id: String,
    },
    /// Fewer than three distinct frames.
    CategoryStrictFramesMissing {
        /// The row.
        clip_id: String,
    },
    /// No API key for the category check.
    CategoryStrictApiKeyMissing {
        /// The row.
        clip_id: String,
    },
    /// The model's client could not be made.
    CategoryStrictClientUnavailable {
        /// The row.
        clip_id: String,
    },
    /// The model's answer cannot be used.
    CategoryStrictResponseInvalid {
        /// The row.
        clip_id: String,
    },
    /// The caption alone says another category (a gate that is off by default).
    CategoryCaptionReject {
        /// The row.
        clip_id: String,
    },
    /// The first frame is not what the source shows at that time.
    SourceFrameMismatch {
        /// The row.
        clip_id: String,
    },
    /// An advisory that this operator turned into a reject.
    Advisory {
        /// Which.
        kind: AdvisoryKind,
        /// The row.
        clip_id: String,
    },
}

impl Reason {
    /// The code's fixed part: a metric label.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::MissingCommittedReadCredentials => "missing_committed_read_credentials",
            Self::MissingSubmissionFiles => "missing_submission_files",
            Self::ManifestSchemaInvalid => "manifest_schema_invalid",
            Self::ManifestIdentityMismatch => "manifest_identity_mismatch",
            Self::UnknownSpec { .. } => "unknown_spec",
            Self::IncompatibleSpecVersion { .. } => "incompatible_spec_version",
            Self::SpecNotEnabled { .. } => "spec_not_enabled",
            Self::MissingCategoryMetadata => "missing_category_metadata",
            Self::UnsupportedCategory { .. } => "unsupported_category",
            Self::DatasetSha256Mismatch => "dataset_sha256_mismatch",
            Self::DatasetSchemaInvalid => "dataset_schema_invalid",
            Self::ManifestRecordCountMismatch => "manifest_record_count_mismatch",
            Self::ValidationException => "validation_exception",
            Self::NonYoutubeSource { .. } => "non_youtube_source",
            Self::OverlapLt5s { .. } => "overlap_lt_5s",
            Self::EmptyCaption { .. } => "empty_caption",
            Self::ShortCaption { .. } => "short_caption",
            Self::UrlLikeCaption { .. } => "url_like_caption",
            Self::ClipStartGt5000 { .. } => "clip_start_gt_5000",
            Self::InvalidAssetUri { .. } => "invalid_asset_uri",
            Self::MissingClipAsset { .. } => "missing_clip_asset",
            Self::ClipSha256Mismatch { .. } => "clip_sha256_mismatch",
            Self::InvalidResolution { .. } => "invalid_resolution",
            Self::MissingFirstFrameAsset { .. } => "missing_first_frame_asset",
            Self::FirstFrameSha256Mismatch { .. } => "first_frame_sha256_mismatch",
            Self::CaptionSemanticInjectionKeyword { .. } => "caption_semantic_injection_keyword",
            Self::CaptionSemanticMismatch { .. } => "caption_semantic_mismatch",
            Self::CategoryStrictReject { .. } => "category_strict_reject",
            Self::CategoryStrictFramesMissing { .. } => "category_strict_frames_missing",
            Self::CategoryStrictApiKeyMissing { .. } => "category_strict_api_key_missing",
            Self::CategoryStrictClientUnavailable { .. } => "category_strict_client_unavailable",
            Self::CategoryStrictResponseInvalid { .. } => "category_strict_response_invalid",
            Self::CategoryCaptionReject { .. } => "category_caption_reject",
            Self::SourceFrameMismatch { .. } => "source_frame_mismatch",
            Self::Advisory { kind, .. } => kind.as_str(),
        }
    }

    /// The row that the failure is about, when it is about one.
    pub fn clip_id(&self) -> Option<&str> {
        match self {
            Self::NonYoutubeSource { clip_id }
            | Self::OverlapLt5s { clip_id, .. }
            | Self::EmptyCaption { clip_id }
            | Self::ShortCaption { clip_id }
            | Self::UrlLikeCaption { clip_id }
            | Self::ClipStartGt5000 { clip_id }
            | Self::MissingClipAsset { clip_id }
            | Self::ClipSha256Mismatch { clip_id }
            | Self::InvalidResolution { clip_id, .. }
            | Self::MissingFirstFrameAsset { clip_id }
            | Self::FirstFrameSha256Mismatch { clip_id }
            | Self::CaptionSemanticInjectionKeyword { clip_id }
            | Self::CaptionSemanticMismatch { clip_id }
            | Self::CategoryStrictReject { clip_id }
            | Self::CategoryStrictFramesMissing { clip_id }
            | Self::CategoryStrictApiKeyMissing { clip_id }
            | Self::CategoryStrictClientUnavailable { clip_id }
            | Self::CategoryStrictResponseInvalid { clip_id }
            | Self::CategoryCaptionReject { clip_id }
            | Self::SourceFrameMismatch { clip_id }
            | Self::Advisory { clip_id, .. } => Some(clip_id),
            _ => None,
        }
    }

    /// The failure in words, for the miner it is about.
    pub fn explain(&self) -> String {
        match self {
            Self::MissingCommittedReadCredentials => "your hotkey has no usable read credentials on the chain: commit 128 characters (account id, read access key, read secret key), without blanks in the keys".to_owned(),
            Self::MissingSubmissionFiles => "manifest.json or dataset.parquet of this interval could not be read from your bucket: check that both exist and that the committed read key may read them".to_owned(),
            Self::ManifestSchemaInvalid => "manifest.json does not parse: a field is missing or has a value that is not allowed".to_owned(),
            Self::ManifestIdentityMismatch => "manifest.json names another hotkey or interval than the place it was found in".to_owned(),
            Self::UnknownSpec { spec_id } => format!("manifest.json names the dataset spec {spec_id:?}, which does not exist: use video_v1"),
            Self::IncompatibleSpecVersion { spec_id, protocol, schema } => format!("protocol version {protocol:?} and schema version {schema:?} do not fit the spec {spec_id:?}"),
            Self::SpecNotEnabled { spec_id } => format!("the spec {spec_id:?} is not checked by this validator"),
            Self::MissingCategoryMetadata => "manifest.json has no category, and this subnet expects one".to_owned(),
            Self::UnsupportedCategory { category } => format!("the category {category:?} is not the one that is collected now"),
            Self::DatasetSha256Mismatch => "dataset.parquet has another SHA-256 than manifest.json says: upload the manifest last, after the data set it describes".to_owned(),
            Self::DatasetSchemaInvalid => "dataset.parquet does not parse: a required column is missing or a row holds a value that is not allowed".to_owned(),
            Self::ManifestRecordCountMismatch => "dataset.parquet has another number of rows than manifest.json says".to_owned(),
            Self::ValidationException => "a value in your submission makes validators' code fail: look for source URLs with wrong brackets and clip ids that cannot be file names".to_owned(),
            Self::NonYoutubeSource { clip_id } => format!("row {clip_id:?}: the source URL is not on youtube.com or youtu.be (a URL without a scheme has no host)"),
            Self::OverlapLt5s { source, previous, clip_id } => format!("rows {previous:?} and {clip_id:?} of source {source:?} start less than 4.5 seconds apart"),
            Self::EmptyCaption { clip_id } => format!("row {clip_id:?}: the caption is blank"),
            Self::ShortCaption { clip_id } => format!("row {clip_id:?}: the caption has too few words"),
            Self::UrlLikeCaption { clip_id } => format!("row {clip_id:?}: the caption holds a link"),
            Self::ClipStartGt5000 { clip_id } => format!("row {clip_id:?}: the clip starts later in its source than is allowed"),
            Self::InvalidAssetUri { uri } => format!("the asset URI {uri:?} is blank or has a '..' part"),
            Self::MissingClipAsset { clip_id } => format!("row {clip_id:?}: the clip is not in your bucket under the URI that the row names"),
            Self::ClipSha256Mismatch { clip_id } => format!("row {clip_id:?}: the clip has another SHA-256 than the row says (64 lower-case hex digits)"),
            Self::InvalidResolution { clip_id, width, height } => format!("row {clip_id:?}: the clip is {width}x{height} pixels, not the required size"),
            Self::MissingFirstFrameAsset { clip_id } => format!("row {clip_id:?}: the first frame is not in your bucket under the URI that the row names"),
            Self::FirstFrameSha256Mismatch { clip_id } => format!("row {clip_id:?}: the first frame has another SHA-256 than the row says (64 lower-case hex digits)"),
            Self::CaptionSemanticInjectionKeyword { clip_id } => format!("row {clip_id:?}: the caption holds the word 'match' or 'true', which is not allowed because it aims at the checking model's answer"),
            Self::CaptionSemanticMismatch { clip_id } => format!("row {clip_id:?}: the checking model says that the caption does not describe the clip"),
            Self::CategoryStrictReject { clip_id } => format!("row {clip_id:?}: the checking model does not see nature, landscape or scenery in the middle of the clip"),
            Self::CategoryStrictFramesMissing { clip_id } => format!("row {clip_id:?}: fewer than three different frames could be taken from the clip"),
            Self::CategoryStrictApiKeyMissing { clip_id } => format!("row {clip_id:?}: the validator has no key for its category model (nothing is wrong on your side)"),
            Self::CategoryStrictClientUnavailable { clip_id } => format!("row {clip_id:?}: the validator could not reach its category model (nothing is wrong on your side)"),
            Self::CategoryStrictResponseInvalid { clip_id } => format!("row {clip_id:?}: the category model's answer could not be used"),
            Self::CategoryCaptionReject { clip_id } => format!("row {clip_id:?}: the caption does not describe nature, landscape or scenery"),
            Self::SourceFrameMismatch { clip_id } => format!("row {clip_id:?}: the first frame does not look like the source at that time"),
            Self::Advisory { kind, clip_id } => format!("row {clip_id:?}: {} (this validator rejects on it)", kind.explain()),
        }
    }

    fn with_clip(code: &str, clip_id: String) -> Option<Self> {
        Some(match code {
            "non_youtube_source" => Self::NonYoutubeSource { clip_id },
            "empty_caption" => Self::EmptyCaption { clip_id },
            "short_caption" => Self::ShortCaption { clip_id },
            "url_like_caption" => Self::UrlLikeCaption { clip_id },
            "clip_start_gt_5000" => Self::ClipStartGt5000 { clip_id },
            "missing_clip_asset" => Self::MissingClipAsset { clip_id },
            "clip_sha256_mismatch" => Self::ClipSha256Mismatch { clip_id },
            "missing_first_frame_asset" => Self::MissingFirstFrameAsset { clip_id },
            "first_frame_sha256_mismatch" => Self::FirstFrameSha256Mismatch { clip_id },
            "caption_semantic_injection_keyword" => {
                Self::CaptionSemanticInjectionKeyword { clip_id }
            }
            "caption_semantic_mismatch" => Self::CaptionSemanticMismatch { clip_id },
            "category_strict_reject" => Self::CategoryStrictReject { clip_id },
            "category_strict_frames_missing" => Self::CategoryStrictFramesMissing { clip_id },
            "category_strict_api_key_missing" => Self::CategoryStrictApiKeyMissing { clip_id },
            "category_strict_client_unavailable" => {
                Self::CategoryStrictClientUnavailable { clip_id }
            }
            "category_strict_response_invalid" => Self::CategoryStrictResponseInvalid { clip_id },
            "category_caption_reject" => Self::CategoryCaptionReject { clip_id },
            "source_frame_mismatch" => Self::SourceFrameMismatch { clip_id },
            _ => Self::Advisory {
                kind: AdvisoryKind::by_name(code)?,
                clip_id,
            },
        })
    }

    fn without_argument(code: &str) -> Option<Self> {
        Some(match code {
            "missing_committed_read_credentials" => Self::MissingCommittedReadCredentials,
            "missing_submission_files" => Self::MissingSubmissionFiles,
            "manifest_schema_invalid" => Self::ManifestSchemaInvalid,
            "manifest_identity_mismatch" => Self::ManifestIdentityMismatch,
            "missing_category_metadata" => Self::MissingCategoryMetadata,
            "dataset_sha256_mismatch" => Self::DatasetSha256Mismatch,
            "dataset_schema_invalid" => Self::DatasetSchemaInvalid,
            "manifest_record_count_mismatch" => Self::ManifestRecordCountMismatch,
            "validation_exception" => Self::ValidationException,
            _ => return None,
        })
    }

    fn with_argument(code: &str, rest: &str) -> Option<Self> {
        match code {
            "unknown_spec" => Some(Self::UnknownSpec {
                spec_id: rest.to_owned(),
            }),
            "spec_not_enabled" => Some(Self::SpecNotEnabled {
                spec_id: rest.to_owned(),
            }),
            "unsupported_category" => Some(Self::UnsupportedCategory {
                category: rest.to_owned(),
            }),
            "invalid_asset_uri" => Some(Self::InvalidAssetUri {
                uri: rest.to_owned(),
            }),
            "incompatible_spec_version" => {
                let (rest, schema) = rest.rsplit_once(":schema=")?;
                let (spec_id, protocol) = rest.rsplit_once(":protocol=")?;
                Some(Self::IncompatibleSpecVersion {
                    spec_id: spec_id.to_owned(),
                    protocol: protocol.to_owned(),
                    schema: schema.to_owned(),
                })
            }
            "overlap_lt_5s" => {
                // Ids may hold colons; honest clip ids do not, so the last two parts are taken for them.
                let (rest, clip_id) = rest.rsplit_once(':')?;
                let (source, previous) = rest.rsplit_once(':')?;
                Some(Self::OverlapLt5s {
                    source: source.to_owned(),
                    previous: previous.to_owned(),
                    clip_id: clip_id.to_owned(),
                })
            }
            "invalid_resolution" => {
                let (clip_id, size) = rest.rsplit_once(':')?;
                let (width, height) = size.split_once('x')?;
                Some(Self::InvalidResolution {
                    clip_id: clip_id.to_owned(),
                    width: width.parse().ok()?,
                    height: height.parse().ok()?,
                })
            }
            _ => Self::with_clip(code, rest.to_owned()),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())?;
        match self {
            Self::UnknownSpec { spec_id } | Self::SpecNotEnabled { spec_id } => {
                write!(f, ":{spec_id}")
            }
            Self::IncompatibleSpecVersion {
                spec_id,
                protocol,
                schema,
            } => {
                write!(f, ":{spec_id}:protocol={protocol}:schema={schema}")
            }
            Self::UnsupportedCategory { category } => write!(f, ":{category}"),
            Self::OverlapLt5s {
                source,
                previous,
                clip_id,
            } => {
                write!(f, ":{source}:{previous}:{clip_id}")
            }
            Self::InvalidAssetUri { uri } => write!(f, ":{uri}"),
            Self::InvalidResolution {
                clip_id,
                width,
                height,
            } => {
                write!(f, ":{clip_id}:{width}x{height}")
            }
            _ => match self.clip_id() {
                Some(clip_id) => write!(f, ":{clip_id}"),
                None => Ok(()),
            },
        }
    }
}

/// A text that is no failure code of this protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a failure code of this protocol")]
pub struct UnknownReason(pub String);

impl FromStr for Reason {
    type Err = UnknownReason;
    fn from_str(text: &str) -> Result<Self, UnknownReason> {
        match text.split_once(':') {
            Some((code, rest)) => Self::with_argument(code, rest),
            None => Self::without_argument(text),
        }
        .ok_or_else(|| UnknownReason(text.to_owned()))
    }
}

// In JSON a failure is its code; in compact formats it is its parts, so that nothing is parsed again.
impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            Self::serialize(self, serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = <String as Deserialize>::deserialize(deserializer)?;
            text.parse().map_err(serde::de::Error::custom)
        } else {
            Self::deserialize(deserializer)
        }
    }
}
