//! The assets of one sampled row: read, hash, measure, judge.

use crate::fetch::{Looked, Means, Read, Reader, Wanted};
use crate::intake::JobError;
use crate::measure::{Measured, Prober, Want};
use crate::miner_job::access;
use crate::model_checks;
use bytes::Bytes;
use nexis_ports::{Object, Route};
use nexis_protocol::clip::{self, AssetFact, ClipFacts, ClipVerdict};
use nexis_protocol::picture::Pictures;
use nexis_protocol::reason::Reason;
use nexis_protocol::{Hotkey, IntervalId, uri};
use nexis_vision::VisionClient;
use nexis_wire::{ClipJob, ClipReport};
use std::sync::Arc;

/// What a clip job works with.
pub struct Tools<'a> {
    /// The miner's bucket, memory and places to compute.
    pub means: Means<'a>,
    /// Measures clips.
    pub prober: &'a Arc<Prober>,
    /// The vision model, when one is configured.
    pub vision: Option<&'a VisionClient>,
}

/// Copies of a clip while it is measured, beside the one that was fetched: the one that is handed over, the reader's own.
const COPIES: u64 = 2;

/// When frames are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frames {
    /// Only when a model check of this row needs them: decoding is where the time goes.
    WhenACheckNeedsThem,
    /// Always, so that the report can list them (golden cases do).
    Listed,
}

/// Does one clip job.
pub async fn run(
    job: &ClipJob,
    tools: &Tools<'_>,
    frames: Frames,
) -> Result<Looked<ClipReport>, JobError> {
    let Some(access) = access(Some(&job.commitment), &job.hotkey) else {
        return Err(JobError::Impossible(
            "the job carries no usable read credentials, without which no clip is drawn",
        ));
    };
    let room = tools.means.room;
    let reader = Reader::new(tools.means, &access, &job.rules);
    let (reads, mut held) = reader.both(wanted(job, room.allotment())).await?;
    if let Some(held) = &mut held {
        held.keep(reads.iter().map(Read::length).sum());
    }
    let trouble = reads.iter().find_map(Read::trouble).cloned();
    let [clip, frame] = reads.map(Asset::from);
    let place = room.compute(Route::Clip).await;
    let working = room.working(clip.length().saturating_mul(COPIES)).await;
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
        // The model's answers take seconds and no processor.
        drop((place, working));
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
    Ok(Looked { report, trouble })
}

/// The report of a job that makes our own code fail again and again (PROTOCOL §6).
pub fn exception(interval: IntervalId, hotkey: &Hotkey, row: u32) -> ClipReport {
    ClipReport {
        interval,
        hotkey: hotkey.clone(),
        row,
        verdict: ClipVerdict {
            failures: vec![Reason::ValidationException],
            advisories: Vec::new(),
        },
        measured: None,
        pictures: Pictures::default(),
        caption: Vec::new(),
        category: Vec::new(),
        frame_names: Vec::new(),
        unreachable: None,
    }
}

/// Clip and first frame; the frame takes no more than a quarter of the allotment.
fn wanted(job: &ClipJob, allotment: u64) -> [Wanted; 2] {
    let key = |uri| uri::asset_key(job.interval, uri);
    let frame = allotment / 4;
    [
        Wanted {
            key: key(&job.clip_uri),
            most: job.rules.max_asset_bytes,
            share: allotment - frame,
            decides: false,
        },
        Wanted {
            key: key(&job.first_frame_uri),
            most: job.rules.max_frame_bytes,
            share: frame,
            decides: false,
        },
    ]
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

impl From<Read> for Asset {
    fn from(read: Read) -> Self {
        match read {
            Read::Unasked => Self::InvalidUri,
            Read::Found(object) => Self::Found(object),
            Read::Missing(_) | Read::Silent(_) | Read::TooLarge | Read::Larger(_) => Self::Missing,
        }
    }
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
        .map_err(|fault| JobError::of("measuring a clip", &fault))?
        .map_err(|fault| {
            tracing::error!(
                error = &fault as &dyn std::error::Error,
                "alert: no process to read clips in; see the error"
            );
            JobError::Ours("no process to read clips in")
        })
}
