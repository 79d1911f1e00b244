//! Work orders. A job carries every rule it is judged by, so that a worker has no settings that could
//! make its verdict differ from its neighbour's.

use crate::{Kind, Wire, v2};
use nexis_protocol::clip::AdvisoryKind;
use nexis_protocol::picture::PictureChecks;
use nexis_protocol::profile::Profile;
use nexis_protocol::{Hotkey, IntervalId, JobId, Netuid, budget};
use serde::{Deserialize, Serialize};

/// How much is sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    /// As PROTOCOL §9 says.
    #[default]
    Protocol,
    /// Every miner, every row: an operator's choice.
    Full,
}

/// Which checks ask the vision model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct VisionChecks {
    /// PROTOCOL §11.
    pub caption: bool,
    /// PROTOCOL §12.
    pub category: bool,
    /// The caption-only gate in front of §12.
    pub category_caption_gate: bool,
}

/// The rules of one round, the same for each of its jobs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobRules {
    /// The subnet.
    pub netuid: Netuid,
    /// The protocol's numbers.
    pub profile: Profile,
    /// Specs that this validator checks.
    pub enabled_specs: Vec<String>,
    /// Category that manifests must carry, when one is expected.
    pub expected_category: Option<String>,
    /// Model checks.
    pub vision: VisionChecks,
    /// Advisories that the operator turned into rejects.
    pub reject_advisories: Vec<AdvisoryKind>,
    /// How much of the pictures is looked at for advisories.
    pub pictures: PictureChecks,
    /// How much is sampled.
    pub sampling: Sampling,
    /// Time for reading one miner's manifest and data set, or one row's assets, milliseconds.
    pub fetch_budget_ms: u64,
    /// Largest data set file, bytes.
    pub max_dataset_bytes: u64,
    /// Largest clip, bytes.
    pub max_asset_bytes: u64,
    /// Most rows of a data set.
    pub max_dataset_rows: u64,
    /// Most text in all cells of a data set, bytes.
    pub max_text_bytes: u64,
    /// Most text in all cells of one row, bytes.
    pub max_row_text_bytes: u64,
    /// Largest first frame, bytes.
    pub max_frame_bytes: u64,
    /// Most bytes of failures that a decision keeps; a note counts the others.
    pub max_failure_bytes: u64,
    /// Memory that reading one data set may take, bytes.
    pub decode_memory_bytes: u64,
    /// Slowest transfer that is waited for once it had time to start, bytes per second.
    pub min_bytes_per_second: u64,
}

impl JobRules {
    /// PROTOCOL's own checks and nothing that an operator has to turn on, with bounds that every honest package keeps:
    /// a minute, 1 GiB for a data set, 64 MiB for a clip, 16 MiB for a frame, and what [`budget`] sets.
    pub fn plain(netuid: Netuid, profile: Profile) -> Self {
        Self {
            netuid,
            profile,
            enabled_specs: vec!["video_v1".to_owned()],
            expected_category: None,
            vision: VisionChecks::default(),
            reject_advisories: Vec::new(),
            pictures: PictureChecks::default(),
            sampling: Sampling::Protocol,
            fetch_budget_ms: 60_000,
            max_dataset_bytes: 1 << 30,
            max_asset_bytes: 1 << 26,
            max_dataset_rows: budget::ROWS,
            max_text_bytes: budget::MAX_TEXT_BYTES,
            max_row_text_bytes: budget::MAX_ROW_TEXT_BYTES,
            max_frame_bytes: 1 << 24,
            max_failure_bytes: budget::FAILURE_BYTES,
            decode_memory_bytes: budget::DECODE_MEMORY_BYTES,
            min_bytes_per_second: budget::MIN_BYTES_PER_SECOND,
        }
    }
}

/// Read and screen one miner's package.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MinerJob {
    /// The interval.
    pub interval: IntervalId,
    /// The miner.
    pub hotkey: Hotkey,
    /// The committed 128 characters, `None` when there are none that can be used.
    pub commitment: Option<String>,
    /// The round's rules.
    pub rules: JobRules,
}

impl MinerJob {
    /// The computed id.
    pub fn id(&self) -> JobId {
        JobId::Miner {
            interval: self.interval,
            hotkey: self.hotkey.clone(),
        }
    }
}

impl Wire for MinerJob {
    const KIND: Kind = Kind::MinerJob;
    type V2 = v2::MinerJob;
}

/// Check the assets of one row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClipJob {
    /// The interval.
    pub interval: IntervalId,
    /// The miner.
    pub hotkey: Hotkey,
    /// Index of the row in the data set as published.
    pub row: u32,
    /// The committed 128 characters.
    pub commitment: String,
    /// The row's clip id.
    pub clip_id: String,
    /// The row's clip URI as given.
    pub clip_uri: String,
    /// The row's first-frame URI as given.
    pub first_frame_uri: String,
    /// SHA-256 the clip must have; `None` when the row's 64 characters are no lower-case hex and so never match.
    pub clip_sha256: Option<nexis_protocol::Digest>,
    /// The same for the first frame.
    pub first_frame_sha256: Option<nexis_protocol::Digest>,
    /// The row's own width, pixels; decides when the clip cannot be probed.
    pub width_px: u128,
    /// The row's own height, pixels.
    pub height_px: u128,
    /// The row's duration, seconds.
    pub duration_sec: f64,
    /// The row's frame rate, 1/s.
    pub fps: f64,
    /// The row's frame count.
    pub num_frames: u128,
    /// Whether the row says that there is sound.
    pub has_audio: bool,
    /// The caption, for the model checks.
    pub caption: String,
    /// Whether this row is among those that the caption check looks at.
    pub check_caption: bool,
    /// Whether this row is among those that the category check looks at.
    pub check_category: bool,
    /// The round's rules.
    pub rules: JobRules,
}

impl ClipJob {
    /// The computed id.
    pub fn id(&self) -> JobId {
        JobId::Clip {
            interval: self.interval,
            hotkey: self.hotkey.clone(),
            row: self.row,
        }
    }
}

impl Wire for ClipJob {
    const KIND: Kind = Kind::ClipJob;
    type V2 = v2::ClipJob;
}
