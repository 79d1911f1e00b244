//! The kinds of miners: honest, and one for every way of being wrong (PROTOCOL §6–§11).

/// How a miner behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MinerKind {
    /// Everything as it should be.
    Honest,
    /// Never committed read credentials.
    NoCredentials,
    /// Committed text of the right length whose account id is no hex.
    BrokenCredentials,
    /// Publishes nothing.
    NoFiles,
    /// Publishes the manifest without its data set.
    NoDataset,
    /// The manifest is no JSON.
    BrokenManifest,
    /// The manifest names another hotkey.
    WrongIdentity,
    /// A spec that nobody knows.
    UnknownSpec,
    /// A version that does not fit the spec.
    IncompatibleVersion,
    /// No category.
    NoCategory,
    /// A category that is not asked for.
    OtherCategory,
    /// The data set changed after it was hashed.
    DatasetHash,
    /// A required column is missing.
    BadSchema,
    /// One row fewer than the manifest says.
    RecordCount,
    /// A source that is not YouTube.
    ForeignSource,
    /// Its own clips overlap.
    SelfOverlap,
    /// A caption of separators only.
    EmptyCaption,
    /// A caption of two words.
    ShortCaption,
    /// A caption with a link.
    UrlCaption,
    /// A clip that is not there.
    MissingClip,
    /// A clip changed after it was hashed.
    ClipHash,
    /// A clip of 640 × 360.
    WrongResolution,
    /// A first frame that is not there.
    MissingFrame,
    /// A first frame changed after it was hashed.
    FrameHash,
    /// A clip named outside the package.
    InvalidUri,
    /// Publishes the rows of the first honest miner as its own, a little later.
    Copycat,
    /// Rows that the global index holds already.
    IndexDuplicate,
    /// Noise instead of a clip, in a row that says 1280 × 720: accepted, with an advisory.
    JunkClip,
    /// Rows that say 100 frames of clips with 150: accepted, with an advisory.
    WrongFrameCount,
    /// First frames of other clips: accepted, with an advisory.
    WrongFirstFrame,
    /// Black clips: accepted; an advisory when all pictures are looked at.
    BlackClip,
    /// Stills: accepted; an advisory when all pictures are looked at.
    FrozenClip,
    /// The first honest miner's clips in files of its own, said to be of another source: accepted; an advisory when all
    /// pictures are looked at.
    Rewrapped,
    /// A source URL that makes other validators raise.
    RaisingUrl,
    /// A sampled clip id that cannot be a file name.
    RaisingClipId,
    /// A caption that talks to the vision model. Only with the vision stub.
    CaptionInjection,
    /// A caption that the vision stub calls wrong. Only with the vision stub.
    CaptionMismatch,
}

/// What a validator makes of a miner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expectation {
    /// Accepted, rows left.
    Accepted,
    /// Accepted with nothing left after pruning.
    Pruned,
    /// Rejected: the first failure starts with this.
    Rejected(&'static str),
    /// Never drawn: it has no usable credentials on the chain (PROTOCOL §9).
    NotDrawn,
}

impl MinerKind {
    /// All kinds that need no vision model, honest first.
    pub const ALL: [Self; 35] = [
        Self::Honest,
        Self::NoCredentials,
        Self::BrokenCredentials,
        Self::NoFiles,
        Self::NoDataset,
        Self::BrokenManifest,
        Self::WrongIdentity,
        Self::UnknownSpec,
        Self::IncompatibleVersion,
        Self::NoCategory,
        Self::OtherCategory,
        Self::DatasetHash,
        Self::BadSchema,
        Self::RecordCount,
        Self::ForeignSource,
        Self::SelfOverlap,
        Self::EmptyCaption,
        Self::ShortCaption,
        Self::UrlCaption,
        Self::MissingClip,
        Self::ClipHash,
        Self::WrongResolution,
        Self::MissingFrame,
        Self::FrameHash,
        Self::InvalidUri,
        Self::Copycat,
        Self::IndexDuplicate,
        Self::JunkClip,
        Self::WrongFrameCount,
        Self::WrongFirstFrame,
        Self::BlackClip,
        Self::FrozenClip,
        Self::Rewrapped,
        Self::RaisingUrl,
        Self::RaisingClipId,
    ];

    /// The kinds that only a vision model tells from honest ones.
    pub const VISION: [Self; 2] = [Self::CaptionInjection, Self::CaptionMismatch];

    /// What becomes of it, with the category check of the manifest on (and vision for the last two).
    pub fn expectation(self) -> Expectation {
        match self.expected() {
            _ if matches!(self, Self::NoCredentials | Self::BrokenCredentials) => {
                Expectation::NotDrawn
            }
            "" => match self {
                Self::Copycat | Self::IndexDuplicate => Expectation::Pruned,
                _ => Expectation::Accepted,
            },
            code => Expectation::Rejected(code),
        }
    }

    /// The prefix of its first failure code; empty when it is accepted.
    pub const fn expected(self) -> &'static str {
        match self {
            Self::Honest
            | Self::Copycat
            | Self::IndexDuplicate
            | Self::JunkClip
            | Self::WrongFrameCount
            | Self::WrongFirstFrame
            | Self::BlackClip
            | Self::FrozenClip
            | Self::Rewrapped => "",
            Self::NoCredentials | Self::BrokenCredentials => "missing_committed_read_credentials",
            Self::NoFiles | Self::NoDataset => "missing_submission_files",
            Self::BrokenManifest => "manifest_schema_invalid",
            Self::WrongIdentity => "manifest_identity_mismatch",
            Self::UnknownSpec => "unknown_spec:video_v9",
            Self::IncompatibleVersion => "incompatible_spec_version:video_v1:protocol=9.0.0",
            Self::NoCategory => "missing_category_metadata",
            Self::OtherCategory => "unsupported_category:city_traffic",
            Self::DatasetHash => "dataset_sha256_mismatch",
            Self::BadSchema => "dataset_schema_invalid",
            Self::RecordCount => "manifest_record_count_mismatch",
            Self::ForeignSource => "non_youtube_source:",
            Self::SelfOverlap => "overlap_lt_5s:",
            Self::EmptyCaption => "empty_caption:",
            Self::ShortCaption => "short_caption:",
            Self::UrlCaption => "url_like_caption:",
            Self::MissingClip => "missing_clip_asset:",
            Self::ClipHash => "clip_sha256_mismatch:",
            Self::WrongResolution => "invalid_resolution:",
            Self::MissingFrame => "missing_first_frame_asset:",
            Self::FrameHash => "first_frame_sha256_mismatch:",
            Self::InvalidUri => "invalid_asset_uri:",
            Self::RaisingUrl | Self::RaisingClipId => "validation_exception",
            Self::CaptionInjection => "caption_semantic_injection_keyword:",
            Self::CaptionMismatch => "caption_semantic_mismatch:",
        }
    }

    /// The advisory that stands beside its verdict; empty when there is none.
    pub const fn advisory(self) -> &'static str {
        match self {
            Self::JunkClip => "undecodable_clip",
            Self::WrongFrameCount => "frame_count_differs",
            Self::WrongFirstFrame => "first_frame_differs",
            Self::BlackClip => "black_pictures",
            Self::FrozenClip => "frozen_pictures",
            Self::Rewrapped => "near_duplicate",
            _ => "",
        }
    }

    /// Whether it copies another miner, and so publishes after it.
    pub const fn copies(self) -> bool {
        matches!(self, Self::Copycat | Self::Rewrapped)
    }

    /// Whether its hotkey commits credentials on the chain.
    pub const fn commits(self) -> bool {
        !matches!(self, Self::NoCredentials)
    }
}

impl std::fmt::Display for MinerKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self, f)
    }
}
