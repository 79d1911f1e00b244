//! A worker whose reports follow from the job alone.

use crate::PATIENCE;
use crate::chain::uid_of;
use crate::outages::Switches;
use nexis_ports::{Board, Posted, Settlement, Stage};
use nexis_protocol::claim::{Claims, RowFacts};
use nexis_protocol::clip::ClipVerdict;
use nexis_protocol::picture::Pictures;
use nexis_protocol::reason::Reason;
use nexis_protocol::row::{RowRef, Rows};
use nexis_protocol::{Digest, Hotkey, IntervalId, JobId};
use nexis_testkit::eventually;
use nexis_wire::{
    ClipJob, ClipReport, MinerJob, MinerReport, PackedRows, ReportOutcome, ScreenedReport, Wire,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Its report never comes before its stage is closed.
pub const SLOW_MINER: u8 = 3;
/// The verdict of its row 0 never comes before its stage is closed.
pub const SLOW_CLIP: u8 = 5;

/// Far longer than a run: a round may take many blocks, and each of them as long as [`PATIENCE`].
const RUN: Duration = PATIENCE.saturating_mul(60);

/// A job whose result comes too late.
pub fn is_slow(job: &JobId) -> bool {
    match job {
        JobId::Miner { hotkey, .. } => uid_of(hotkey) == SLOW_MINER,
        JobId::Clip { hotkey, row, .. } => uid_of(hotkey) == SLOW_CLIP && *row == 0,
    }
}

/// A number that follows from its arguments alone.
fn draw(hotkey: &Hotkey, interval: IntervalId, what: &str) -> u8 {
    Digest::of(format!("{hotkey}:{interval}:{what}").as_bytes())
        .to_string()
        .as_bytes()[0]
}

/// The report of a miner job: one miner is rejected, two publish the same rows, the rest is honest.
pub fn miner_report(job: &MinerJob) -> MinerReport {
    let uid = uid_of(&job.hotkey);
    let outcome = if uid == 0 || uid == 1 && draw(&job.hotkey, job.interval, "files") % 2 == 0 {
        ReportOutcome::Rejected {
            reasons: vec![Reason::MissingSubmissionFiles],
            detail: "nothing is there".to_owned(),
            notes: BTreeMap::new(),
        }
    } else {
        let source = if uid == 6 { 4 } else { uid };
        let ids: Vec<String> = (0..3 + u32::from(source) % 3)
            .map(|row| format!("clip-{source}-{row}"))
            .collect();
        let url = format!(
            "https://www.youtube.com/watch?v=video{:06}",
            job.interval.get() * 10 + u64::from(source)
        );
        let video = url[url.len() - 11..].to_owned();
        let mut rows = Rows::default();
        let mut facts = Vec::new();
        for (start, id) in (0..).map(|row| f64::from(row) * 5.0).zip(&ids) {
            let caption = "a lake between mountains";
            rows.push(RowRef {
                clip_id: id,
                clip_uri: "clips/one.mp4",
                first_frame_uri: "frames/one.jpg",
                source_video_id: &video,
                split_group_id: &video,
                split: "train",
                caption,
                source_video_url: &url,
                clip_sha256: Some(Digest::of(id.as_bytes())),
                first_frame_sha256: None,
                clip_start_sec: start,
                duration_sec: 5.0,
                width: 1280,
                height: 720,
                num_frames: 150,
                fps: 30.0,
                has_audio: true,
            })
            .unwrap();
            facts.push(RowFacts {
                clip_id: id,
                source_video_id: &video,
                source_video_url: &url,
                caption,
                clip_start_sec: start,
            });
        }
        ReportOutcome::Screened(Box::new(ScreenedReport {
            spec_id: "video_v1".to_owned(),
            category: None,
            submitted_at: f64::from(uid),
            claims: Claims::collect(facts, &job.rules.profile),
            rows: PackedRows::pack(rows),
        }))
    };
    MinerReport {
        interval: job.interval,
        hotkey: job.hotkey.clone(),
        outcome,
        manifest_sha256: None,
        dataset_sha256: None,
        unreachable: None,
    }
}

/// The report of a clip job: some clips are not there.
pub fn clip_report(job: &ClipJob) -> ClipReport {
    let gone = uid_of(&job.hotkey) != 4 && draw(&job.hotkey, job.interval, &job.clip_id) % 5 == 0;
    let failures = if gone {
        vec![Reason::MissingClipAsset {
            clip_id: job.clip_id.clone(),
        }]
    } else {
        Vec::new()
    };
    ClipReport {
        interval: job.interval,
        hotkey: job.hotkey.clone(),
        row: job.row,
        verdict: ClipVerdict {
            failures,
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

/// The result of any job, by the bytes that the queue carries.
pub fn result(route: nexis_ports::Route, body: &[u8]) -> (JobId, Vec<u8>) {
    match route {
        nexis_ports::Route::Miner => {
            let job = MinerJob::decode(body).unwrap();
            (job.id(), miner_report(&job).encode())
        }
        nexis_ports::Route::Clip => {
            let job = ClipJob::decode(body).unwrap();
            (job.id(), clip_report(&job).encode())
        }
    }
}

/// How a simulated worker treats one delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// As it should.
    Good,
    /// Gives it back unread.
    Dropped,
    /// Posts, and never acknowledges.
    NotAcknowledged,
    /// Posts two times.
    Twice,
}

/// What a job came to when no store was reached to the end of its budget.
fn unreachable(route: nexis_ports::Route, body: &[u8]) -> Vec<u8> {
    let fault = Some("connection refused".to_owned());
    match route {
        nexis_ports::Route::Miner => {
            let mut report = miner_report(&MinerJob::decode(body).unwrap());
            report.outcome = ReportOutcome::Rejected {
                reasons: vec![Reason::MissingSubmissionFiles],
                detail: "no store answers".to_owned(),
                notes: BTreeMap::new(),
            };
            report.unreachable = fault;
            report.encode()
        }
        nexis_ports::Route::Clip => {
            let mut report = clip_report(&ClipJob::decode(body).unwrap());
            let clip_id = ClipJob::decode(body).unwrap().clip_id;
            report.verdict.failures = vec![Reason::MissingClipAsset { clip_id }];
            report.unreachable = fault;
            report.encode()
        }
    }
}

/// Works off one route until the queue ends.
pub async fn work(
    board: Arc<dyn Board>,
    queue: Arc<dyn nexis_ports::Queue>,
    route: nexis_ports::Route,
    switches: Arc<Switches>,
    mut treatment: impl FnMut() -> Treatment,
) {
    let mut deliveries = queue.consume(route, 3).await.unwrap();
    // Held while it hangs.
    let mut hung = Vec::new();
    while let Ok(delivery) = deliveries.next().await {
        if switches.hung.load(Ordering::SeqCst) {
            hung.push(delivery);
            continue;
        }
        let how = treatment();
        if how == Treatment::Dropped {
            drop(delivery);
            continue;
        }
        let (id, mut bytes) = result(route, &delivery.message.body);
        if switches.stores.load(Ordering::SeqCst) {
            bytes = unreachable(route, &delivery.message.body);
        } else if switches.is_first(&id) {
            bytes = [&b"junk"[..], &bytes[..9]].concat();
        }
        if is_slow(&id) {
            if switches.late_results_come() {
                post_when_late(Arc::clone(&board), id, bytes);
            }
            delivery.settle(Settlement::Ack).await.unwrap();
            continue;
        }
        if board.wanted(&id).await.unwrap() {
            board.post(&id, bytes.clone()).await.unwrap();
        }
        match how {
            Treatment::Twice => {
                let again = board.post(&id, bytes).await.unwrap();
                assert!(
                    matches!(again, Posted::Duplicate | Posted::Unknown | Posted::Late),
                    "{again:?}"
                );
            }
            Treatment::NotAcknowledged => {
                drop(delivery);
                continue;
            }
            Treatment::Good | Treatment::Dropped => {}
        }
        delivery.settle(Settlement::Ack).await.unwrap();
    }
}

/// Posts a result after its stage was closed; not at all when the round is over or the board is gone before.
fn post_when_late(board: Arc<dyn Board>, id: JobId, bytes: Vec<u8>) {
    // Between two looks nobody holds the board.
    let board = Arc::downgrade(&board);
    tokio::spawn(async move {
        let own = match &id {
            JobId::Miner { .. } => Stage::Miners,
            JobId::Clip { .. } => Stage::Clips,
        };
        let interval = id.interval();
        let is_closed = || {
            let board = board.upgrade();
            async move {
                let Some(board) = board else { return true };
                let tally = board.tally(interval).await.unwrap();
                tally.is_none_or(|tally| tally.stage > own)
            }
        };
        eventually(RUN, is_closed).await;
        let Some(board) = board.upgrade() else { return };
        if board.tally(interval).await.unwrap().is_some() {
            board.post(&id, bytes).await.unwrap();
        }
    });
}
