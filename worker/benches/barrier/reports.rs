//! Reports of honest miners.

use nexis_protocol::claim::{Claims, RowFacts};
use nexis_protocol::clip::{ClipVerdict, Measured};
use nexis_protocol::picture::{Mark, Pictures, Sight};
use nexis_protocol::profile::Profile;
use nexis_protocol::row::{RowRef, Rows};
use nexis_protocol::{Digest, Hotkey, IntervalId};
use nexis_wire::{ClipReport, MinerJob, MinerReport, PackedRows, ReportOutcome, ScreenedReport};

/// Clips of one source, as an honest miner cuts one.
const PER_SOURCE: u16 = 50;

/// What a row says, with contents as large as real ones and as hard to compress.
struct Texts {
    clip_id: String,
    clip_uri: String,
    frame_uri: String,
    source: String,
    url: String,
    caption: String,
    start: f64,
}

impl Texts {
    fn of(miner: u16, row: u16) -> Self {
        let clip_id = Digest::of(format!("{miner}/{row}").as_bytes()).to_string();
        let source =
            &Digest::of(format!("{miner}/{}", row / PER_SOURCE).as_bytes()).to_string()[..11];
        Self {
            clip_uri: format!("clips/{clip_id}.mp4"),
            frame_uri: format!("frames/{clip_id}.jpg"),
            source: source.to_owned(),
            url: format!("https://www.youtube.com/watch?v={source}"),
            caption: format!(
                "Scene {} of a walk along the river {}: reeds bend in the wind while boats pass by.",
                &clip_id[..8],
                &clip_id[8..16]
            ),
            start: f64::from(row % PER_SOURCE) * 5.0,
            clip_id,
        }
    }
}

/// The verdict of a clip that passes, with all that is said about its pictures by default.
pub fn verdict(interval: IntervalId, hotkey: &Hotkey, row: u32) -> ClipReport {
    let picture = |what: &str| {
        let digest = Digest::of(format!("{hotkey}/{row}/{what}").as_bytes());
        let mut hash = [0; 8];
        hash.copy_from_slice(&digest.as_bytes()[..8]);
        Sight::Seen(Mark {
            hash: u64::from_be_bytes(hash),
            mean: digest.as_bytes()[8],
            deviation: digest.as_bytes()[9],
            fine_permille: Some(700),
            moved: None,
        })
    };
    ClipReport {
        interval,
        hotkey: hotkey.clone(),
        row,
        verdict: ClipVerdict {
            failures: Vec::new(),
            advisories: Vec::new(),
        },
        measured: Some(Measured {
            width_px: 1280,
            height_px: 720,
            duration_sec: Some(5.0),
            fps: Some(25.0),
            num_frames: Some(125),
            has_audio: Some(true),
        }),
        pictures: Pictures {
            first: picture("first"),
            asset: picture("asset"),
            sampled: Vec::new(),
        },
        caption: Vec::new(),
        category: Vec::new(),
        frame_names: Vec::new(),
        unreachable: None,
    }
}

/// A report of `rows` rows, all of which pass.
pub fn report(job: &MinerJob, miner: u16, rows: u16, profile: &Profile) -> MinerReport {
    let texts: Vec<Texts> = (0..rows).map(|row| Texts::of(miner, row)).collect();
    let mut all = Rows::default();
    for text in &texts {
        all.push(RowRef {
            clip_id: &text.clip_id,
            clip_uri: &text.clip_uri,
            first_frame_uri: &text.frame_uri,
            source_video_id: &text.source,
            split_group_id: &text.source,
            split: "train",
            caption: &text.caption,
            source_video_url: &text.url,
            clip_sha256: Some(Digest::of(text.clip_uri.as_bytes())),
            first_frame_sha256: Some(Digest::of(text.frame_uri.as_bytes())),
            clip_start_sec: text.start,
            duration_sec: 5.0,
            width: 1280,
            height: 720,
            num_frames: 125,
            fps: 25.0,
            has_audio: true,
        })
        .expect("it is a row");
    }
    let facts = texts.iter().map(|text| RowFacts {
        clip_id: &text.clip_id,
        source_video_id: &text.source,
        source_video_url: &text.url,
        caption: &text.caption,
        clip_start_sec: text.start,
    });
    let screened = ScreenedReport {
        spec_id: "video_v1".to_owned(),
        category: None,
        submitted_at: f64::from(miner),
        claims: Claims::collect(facts, profile),
        rows: PackedRows::pack(all),
    };
    MinerReport {
        interval: job.interval,
        hotkey: job.hotkey.clone(),
        outcome: ReportOutcome::Screened(Box::new(screened)),
        manifest_sha256: Some(Digest::of(b"manifest")),
        dataset_sha256: Some(Digest::of(b"data set")),
        unreachable: None,
    }
}
