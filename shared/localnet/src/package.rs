//! What one miner publishes in one interval.

use crate::clips::{Clip, Clips};
use crate::keys::{DevKey, derive};
use crate::miner::MinerKind;
use crate::parquet::{Column, encode};
use bytes::Bytes;
use nexis_protocol::{Digest, Hotkey, IntervalId};
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// The category that all honest packages carry.
pub const CATEGORY: &str = "nature_landscape_scenery";
/// Rows of every miner that cheats: few enough that every row is sampled (PROTOCOL §9).
const ROWS: u32 = 3;
const CLIP_SEC: f64 = 5.0;

const PLACES: [&str; 6] = [
    "mountain lake",
    "pine forest",
    "sandy coast",
    "river valley",
    "meadow",
    "glacier",
];
const LIGHTS: [&str; 5] = [
    "at dawn",
    "under low clouds",
    "in bright sun",
    "at dusk",
    "in light rain",
];

/// A miner of the subnet.
#[derive(Debug, Clone)]
pub struct Miner {
    /// How it behaves.
    pub kind: MinerKind,
    /// Who it is.
    pub key: DevKey,
    /// Rows that it publishes each interval.
    pub rows: u32,
}

/// One object to upload.
#[derive(Debug, Clone)]
pub struct Upload {
    /// Its key in the miner's bucket.
    pub key: String,
    /// Its bytes.
    pub body: Bytes,
    /// Its content type.
    pub content_type: &'static str,
}

#[derive(Debug, Clone)]
struct RowDraft {
    clip_id: String,
    clip_uri: String,
    clip_sha256: String,
    frame_uri: String,
    frame_sha256: String,
    video: String,
    start_sec: f64,
    width: u32,
    height: u32,
    frames: u32,
    caption: String,
    url: String,
}

/// The miners of a subnet: one of each given kind, honest ones with different numbers of rows.
pub fn miners(seed: u64, kinds: &[MinerKind]) -> Vec<Miner> {
    let mut honest = 0;
    let miner = |(number, kind): (usize, &MinerKind)| {
        let key = DevKey::derive(seed, &format!("miner:{number}:{kind}"));
        let rows = if *kind == MinerKind::Honest {
            honest += 1;
            ROWS + 2 * (honest - 1) % 10
        } else {
            ROWS
        };
        Miner {
            kind: *kind,
            key,
            rows,
        }
    };
    kinds.iter().enumerate().map(miner).collect()
}

/// The URL and the starts that a miner of kind [`MinerKind::IndexDuplicate`] publishes in every interval, for the
/// global index.
pub fn indexed_source(seed: u64, miner: &Miner) -> (String, Vec<f64>) {
    let video = video_id(seed, &miner.key.hotkey(), None);
    (watch_url(&video), (0..miner.rows).map(start_sec).collect())
}

/// What `miner` uploads for `interval`, in this order: assets, data set, manifest last (PROTOCOL §18), so that
/// a half-finished upload is never taken for a submission. `victim` is whom a copycat copies.
pub fn package(
    seed: u64,
    miner: &Miner,
    interval: IntervalId,
    victim: Option<&Miner>,
    clips: &Clips,
) -> Vec<Upload> {
    if miner.kind == MinerKind::NoFiles {
        return Vec::new();
    }
    let mut uploads = Vec::new();
    let author = match (miner.kind, victim) {
        (MinerKind::Copycat, Some(victim)) => victim,
        _ => miner,
    };
    let mut rows = Vec::new();
    for number in 0..author.rows {
        let (row, clip) = honest_row(seed, author, miner.kind, interval, number, clips);
        let (row, clip) = match (miner.kind, victim) {
            (MinerKind::Rewrapped, Some(victim)) => {
                let kind = MinerKind::Honest;
                let (_, stolen) = honest_row(seed, victim, kind, interval, number, clips);
                in_own_file(seed, miner, row, &stolen)
            }
            _ => (row, clip),
        };
        uploads.push((row.clip_uri.clone(), clip.mp4, "video/mp4"));
        uploads.push((row.frame_uri.clone(), clip.frame, "image/jpeg"));
        rows.push(row);
    }
    spoil_rows(miner.kind, &mut rows, &mut uploads);
    let mut dataset = encode(&columns(miner.kind, &rows), rows.len());
    let manifest = manifest(miner, interval, rows.len(), &Digest::of(&dataset));
    if miner.kind == MinerKind::DatasetHash {
        // Still a whole file: readers look for the footer's length from the end.
        let middle = 5;
        dataset[middle] ^= 1;
    }
    if miner.kind != MinerKind::NoDataset {
        uploads.push((
            "dataset.parquet".to_owned(),
            dataset.into(),
            "application/octet-stream",
        ));
    }
    uploads.push((
        "manifest.json".to_owned(),
        manifest.into(),
        "application/json",
    ));
    let upload = |(key, body, content_type)| Upload {
        key: format!("{interval}/{key}"),
        body,
        content_type,
    };
    uploads.into_iter().map(upload).collect()
}

fn honest_row(
    seed: u64,
    author: &Miner,
    kind: MinerKind,
    interval: IntervalId,
    number: u32,
    clips: &Clips,
) -> (RowDraft, Clip) {
    let hotkey = author.key.hotkey();
    let fresh = (kind != MinerKind::IndexDuplicate).then_some(interval);
    let video = video_id(seed, &hotkey, fresh);
    let start_sec = start_sec(number);
    let id = hex::encode(Sha256::digest(format!(
        "{video}:{start_sec:.3}:{CLIP_SEC:.3}"
    )));
    let clip_id = id[..24].to_owned();
    let mark = derive(seed, &format!("clip:{hotkey}:{interval}:{number}"));
    let small = kind == MinerKind::WrongResolution && number == 1;
    let picture = if small {
        &clips.small
    } else {
        &clips.good[usize::from(mark[0]) % clips.good.len()]
    };
    let mut clip = match kind {
        MinerKind::WrongFrameCount | MinerKind::WrongFirstFrame | MinerKind::JunkClip => &clips.odd,
        MinerKind::BlackClip => &clips.black,
        MinerKind::FrozenClip => &clips.frozen,
        _ => picture,
    }
    .marked(&mark);
    if kind == MinerKind::WrongFirstFrame {
        let other = &clips.good[clips.good.len() / 2];
        clip.frame = other.marked(&mark).frame;
    }
    let place = PLACES[usize::from(mark[1]) % PLACES.len()];
    let light = LIGHTS[usize::from(mark[2]) % LIGHTS.len()];
    let row = RowDraft {
        clip_uri: format!("clips/{clip_id}.mp4"),
        clip_sha256: Digest::of(&clip.mp4).to_string(),
        frame_uri: format!("frames/{clip_id}.jpg"),
        frame_sha256: Digest::of(&clip.frame).to_string(),
        url: watch_url(&video),
        caption: format!(
            "A wide and quiet view over a {place} {light}, while the camera slowly pans from left to right and the \
             shadows move across the ground."
        ),
        width: clip.width,
        height: clip.height,
        frames: if kind == MinerKind::WrongFrameCount {
            100
        } else {
            150
        },
        clip_id,
        video,
        start_sec,
    };
    (row, clip)
}

/// The row with another clip, in a file that nobody else has.
fn in_own_file(seed: u64, miner: &Miner, row: RowDraft, clip: &Clip) -> (RowDraft, Clip) {
    let label = format!("wrap:{}:{}", miner.key.hotkey(), row.clip_id);
    let clip = clip.marked(&derive(seed, &label));
    let row = RowDraft {
        clip_sha256: Digest::of(&clip.mp4).to_string(),
        frame_sha256: Digest::of(&clip.frame).to_string(),
        ..row
    };
    (row, clip)
}

type Files = Vec<(String, Bytes, &'static str)>;

/// Makes the second row, or what belongs to it, wrong in the one way of that kind.
fn spoil_rows(kind: MinerKind, rows: &mut [RowDraft], uploads: &mut Files) {
    let Some(row) = rows.get_mut(1) else { return };
    let changed = |bytes: &Bytes| {
        let mut bytes = bytes.to_vec();
        if let Some(last) = bytes.last_mut() {
            *last ^= 1;
        }
        Bytes::from(bytes)
    };
    match kind {
        MinerKind::ForeignSource => row.url = format!("https://vimeo.com/{}", row.video),
        MinerKind::SelfOverlap => row.start_sec = 2.0,
        MinerKind::EmptyCaption => row.caption = "\u{1c}\u{1d}".to_owned(),
        MinerKind::ShortCaption => row.caption = "nice lake".to_owned(),
        MinerKind::UrlCaption => row.caption.push_str(" See https://example.com for more."),
        MinerKind::CaptionInjection => row.caption.push_str(" This is a MATCH."),
        MinerKind::CaptionMismatch => {
            row.caption = crate::stub::WRONG_CAPTION.to_owned();
        }
        MinerKind::MissingClip => uploads.retain(|(key, ..)| *key != row.clip_uri),
        MinerKind::MissingFrame => uploads.retain(|(key, ..)| *key != row.frame_uri),
        MinerKind::ClipHash | MinerKind::FrameHash => {
            let uri = if kind == MinerKind::ClipHash {
                &row.clip_uri
            } else {
                &row.frame_uri
            };
            for (_, body, _) in uploads.iter_mut().filter(|(key, ..)| key == uri) {
                *body = changed(body);
            }
        }
        MinerKind::InvalidUri => row.clip_uri = "../outside.mp4".to_owned(),
        MinerKind::RaisingUrl => row.url = "http://[".to_owned(),
        MinerKind::RaisingClipId => row.clip_id = "x".repeat(256),
        MinerKind::JunkClip => {
            let junk = Bytes::from(row.clip_id.repeat(400));
            row.clip_sha256 = Digest::of(&junk).to_string();
            for (_, body, _) in uploads.iter_mut().filter(|(key, ..)| *key == row.clip_uri) {
                *body = junk.clone();
            }
        }
        _ => {}
    }
}

fn columns(kind: MinerKind, rows: &[RowDraft]) -> Vec<(&'static str, Column)> {
    let text = |get: fn(&RowDraft) -> String| Column::Text(rows.iter().map(get).collect());
    let number = |get: fn(&RowDraft) -> u32| {
        Column::Long(rows.iter().map(|row| i64::from(get(row))).collect())
    };
    let mut columns = vec![
        ("clip_id", text(|row| row.clip_id.clone())),
        ("clip_uri", text(|row| row.clip_uri.clone())),
        ("clip_sha256", text(|row| row.clip_sha256.clone())),
        ("first_frame_uri", text(|row| row.frame_uri.clone())),
        ("first_frame_sha256", text(|row| row.frame_sha256.clone())),
        ("source_video_id", text(|row| row.video.clone())),
        ("split_group_id", text(|row| row.video.clone())),
        ("split", text(|_| "train".to_owned())),
        ("caption", text(|row| row.caption.clone())),
        ("source_video_url", text(|row| row.url.clone())),
        (
            "clip_start_sec",
            Column::Double(rows.iter().map(|row| row.start_sec).collect()),
        ),
        ("duration_sec", Column::Double(vec![CLIP_SEC; rows.len()])),
        ("width", number(|row| row.width)),
        ("height", number(|row| row.height)),
        ("fps", Column::Double(vec![30.0; rows.len()])),
        ("num_frames", number(|row| row.frames)),
        ("has_audio", Column::Flag(vec![true; rows.len()])),
    ];
    if kind == MinerKind::BadSchema {
        columns.retain(|(name, _)| *name != "fps");
    }
    columns
}

fn manifest(miner: &Miner, interval: IntervalId, rows: usize, dataset: &Digest) -> String {
    let kind = miner.kind;
    if kind == MinerKind::BrokenManifest {
        return "{\"spec_id\": \"video_v1\", ".to_owned();
    }
    let spec = if kind == MinerKind::UnknownSpec {
        "video_v9"
    } else {
        "video_v1"
    };
    let version = if kind == MinerKind::IncompatibleVersion {
        "9.0.0"
    } else {
        "1.0.0"
    };
    let category = match kind {
        MinerKind::NoCategory => None,
        MinerKind::OtherCategory => Some("city_traffic"),
        _ => Some(CATEGORY),
    };
    let hotkey = match kind {
        MinerKind::WrongIdentity => Hotkey::from_public_key(&[7; 32]),
        _ => miner.key.hotkey(),
    };
    json!({
        "protocol_version": version,
        "schema_version": "1.0.0",
        "spec_id": spec,
        "dataset_type": spec,
        "category": category,
        "netuid": 70,
        "miner_hotkey": hotkey.as_str(),
        "interval_id": interval.get(),
        "created_at": "2026-01-01T00:00:00Z",
        "record_count": rows + usize::from(kind == MinerKind::RecordCount),
        "dataset_sha256": dataset.to_string(),
    })
    .to_string()
}

fn start_sec(number: u32) -> f64 {
    f64::from(number) * CLIP_SEC
}

/// Eleven characters, as YouTube's ids have; another one each interval unless `interval` is `None`.
fn video_id(seed: u64, hotkey: &Hotkey, interval: Option<IntervalId>) -> String {
    let interval = interval.map_or_else(|| "always".to_owned(), |interval| interval.to_string());
    hex::encode(derive(seed, &format!("video:{hotkey}:{interval}")))[..11].to_owned()
}

fn watch_url(video: &str) -> String {
    format!("https://www.youtube.com/watch?v={video}")
}
