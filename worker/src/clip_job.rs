//! The assets of one sampled row: read, hash, measure, judge.

use crate::intake::JobError;
use crate::measure::{Measured, Prober, Want};
use crate::miner_job::{Read, access, fetch};
use crate::model_checks;
use crate::room::Room;
use bytes::Bytes;
use nexis_ports::{Bucket, BucketAccess, FetchLimits, Object};
use nexis_protocol::clip::{self, AssetFact, ClipFacts};
use nexis_protocol::picture::Pictures;
use nexis_protocol::uri;
use nexis_vision::VisionClient;
use nexis_wire::{ClipJob, ClipReport};
use std::sync::Arc;
use std::time::Duration;

/// What a clip job works with.
pub struct Tools<'a> {
    /// The miner's bucket.
    pub bucket: &'a dyn Bucket,
    /// Measures clips.
    pub prober: &'a Arc<Prober>,
    /// The vision model, when one is configured.
    pub vision: Option<&'a VisionClient>,
    /// Bytes that all jobs together may hold.
    pub room: &'a Room,
}

/// Copies of a clip while it is measured: ours, the one that is handed over, the reader's own.
const COPIES: u64 = 3;

/// When frames are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frames {
    /// Only when a model check of this row needs them: decoding is where the time goes.
    WhenACheckNeedsThem,
    /// Always, so that the report can list them (golden cases do).
    Listed,
}

/// Does one clip job.
pub async fn run(job: &ClipJob, tools: &Tools<'_>, frames: Frames) -> Result<ClipReport, JobError> {
    let access = access(Some(&job.commitment), &job.hotkey)
        .expect("a clip job is drawn only for miners whose credentials were usable");
    // Clip and picture may both be as large as allowed, and what they are is known only when they are here.
    let largest = job.rules.max_asset_bytes;
    let mut held = tools.room.reserve(largest.saturating_mul(COPIES + 1)).await;
    let (clip, frame) = tokio::join!(
        read_asset(job, tools.bucket, &access, &job.clip_uri),
        read_asset(job, tools.bucket, &access, &job.first_frame_uri)
    );
    let (clip, frame) = (clip?, frame?);
    held.keep(
        clip.length()
            .saturating_mul(COPIES)
            .saturating_add(frame.length()),
    );
    let needs_frames = frames == Frames::Listed || job.check_caption || job.check_category;
    let clip_good = clip
        .object()
        .is_some_and(|object| Some(object.digest) == job.clip_sha256);
    let frame_good = frame
        .object()
        .is_some_and(|object| Some(object.digest) == job.first_frame_sha256);
    let measured = match clip.object() {
        // A clip of the wrong bytes is rejected as it is: nothing is gained by decoding it.
        Some(object) if clip_good => {
            let first_frame = frame.object().filter(|_| frame_good);
            let first_frame = first_frame.map(|object| object.bytes.clone());
            let want = Want {
                frames: needs_frames,
                sight: job.rules.pictures,
            };
            Some(measure(tools.prober, object.bytes.clone(), first_frame, want).await?)
        }
        _ => None,
    };
    let (seen, pictures) = match &measured {
        Some(measured) => (measured.clip, measured.seen.clone()),
        None => (None, Pictures::default()),
    };
    let facts = ClipFacts {
        clip: clip.fact(clip_good),
        measured: seen,
        first_frame: frame.fact(frame_good),
        pictures,
    };
    let verdict = clip::judge(
        &expected(job),
        &facts,
        &job.rules.profile,
        &job.rules.reject_advisories,
    );
    let mut report = ClipReport {
        interval: job.interval,
        hotkey: job.hotkey.clone(),
        row: job.row,
        verdict,
        measured: facts.measured,
        pictures: facts.pictures,
        caption: Vec::new(),
        category: Vec::new(),
        frame_names: Vec::new(),
        unreachable: None,
    };
    if let Some(measured) = measured.filter(|_| needs_frames) {
        let first = frame
            .object()
            .filter(|_| frame_good)
            .map(|object| object.bytes.clone());
        let first_name = uri::file_name(&job.first_frame_uri);
        report.frame_names =
            clip::semantic_frames(measured.frames.len(), first.is_some().then_some(first_name));
        if let Some(vision) = tools.vision {
            let pictures = model_checks::Pictures {
                names: report.frame_names.clone(),
                frames: measured.frames.into_iter().map(Bytes::from).collect(),
                first,
            };
            // Boxed: large, and for few rows.
            report.caption = Box::pin(model_checks::caption(job, vision, &pictures)).await;
            report.category = Box::pin(model_checks::category(job, vision, &pictures)).await;
        }
    }
    Ok(report)
}

fn expected(job: &ClipJob) -> clip::ExpectedClip<'_> {
    clip::ExpectedClip {
        clip_id: &job.clip_id,
        clip_uri: &job.clip_uri,
        first_frame_uri: &job.first_frame_uri,
        width_px: job.width_px,
        height_px: job.height_px,
        duration_sec: job.duration_sec,
        fps: job.fps,
        num_frames: job.num_frames,
        has_audio: job.has_audio,
    }
}

/// One asset as far as it could be read.
enum Asset {
    InvalidUri,
    Missing,
    Found(Object),
}

impl Asset {
    fn object(&self) -> Option<&Object> {
        match self {
            Self::Found(object) => Some(object),
            Self::InvalidUri | Self::Missing => None,
        }
    }

    fn length(&self) -> u64 {
        self.object().map_or(0, |object| object.bytes.len() as u64)
    }

    fn fact(&self, hash_matches: bool) -> AssetFact {
        match self {
            Self::InvalidUri => AssetFact::InvalidUri,
            Self::Missing => AssetFact::Missing,
            Self::Found(_) if hash_matches => AssetFact::Good,
            Self::Found(_) => AssetFact::Sha256Mismatch,
        }
    }
}

async fn read_asset(
    job: &ClipJob,
    bucket: &dyn Bucket,
    access: &BucketAccess,
    uri: &str,
) -> Result<Asset, JobError> {
    let Some(key) = uri::asset_key(job.interval, uri) else {
        return Ok(Asset::InvalidUri);
    };
    let limits = FetchLimits {
        max_bytes: job.rules.max_asset_bytes,
        budget: Duration::from_millis(job.rules.fetch_budget_ms),
    };
    Ok(match fetch(bucket, access, &key, limits).await? {
        Read::Found(object) => Asset::Found(object),
        Read::Missing(_) | Read::TooLarge => Asset::Missing,
    })
}

/// Measuring blocks (GStreamer, or a pipe to a child), so it runs off the async threads.
async fn measure(
    prober: &Arc<Prober>,
    clip: Bytes,
    first_frame: Option<Bytes>,
    want: Want,
) -> Result<Measured, JobError> {
    let prober = Arc::clone(prober);
    tokio::task::spawn_blocking(move || prober.measure(&clip, first_frame.as_deref(), want))
        .await
        .map_err(|_| JobError::Interrupted("measuring a clip panicked or was cancelled"))?
        .map_err(|fault| {
            tracing::error!(
                error = &fault as &dyn std::error::Error,
                "no process to read clips in"
            );
            JobError::Interrupted("no process to read clips in")
        })
}
