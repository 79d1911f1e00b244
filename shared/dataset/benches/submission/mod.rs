//! A large submission and what a worker does with it first.

use nexis_dataset::{Limits, read, write};
use nexis_protocol::checks::hard_checks;
use nexis_protocol::claim::{Claims, RowFacts};
use nexis_protocol::profile::Profile;
use nexis_protocol::row::{RowRef, Rows};
use nexis_protocol::screen::{ScreenContext, screen};
use nexis_protocol::{Digest, Hotkey, IntervalId};

/// Rows of a large submission.
pub const ROWS: u32 = 100_000;
const HOTKEY: &str = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
const CLIPS_PER_SOURCE: u32 = 50;

/// Both files of a submission.
pub struct Submission {
    /// `manifest.json`.
    pub manifest: Vec<u8>,
    /// `dataset.parquet`.
    pub dataset: Vec<u8>,
}

impl Submission {
    /// A valid submission of so many rows.
    pub fn of(count: u32) -> Self {
        let mut rows = Rows::default();
        for row in 0..count {
            let source = format!("vid{:08}", row / CLIPS_PER_SOURCE);
            let digest = Digest::of(&row.to_le_bytes());
            let clip_id = &digest.to_string()[..24];
            rows.push(RowRef {
                clip_id,
                clip_uri: &format!("clips/{clip_id}.mp4"),
                first_frame_uri: &format!("frames/{clip_id}.jpg"),
                source_video_id: &source,
                split_group_id: &source,
                split: "train",
                caption: &format!(
                    "aerial view {row} of a wide green valley with a winding river, soft morning light and low \
                     clouds drifting over the hills"
                ),
                source_video_url: &format!("https://www.youtube.com/watch?v={source}"),
                clip_sha256: Some(digest),
                first_frame_sha256: Some(Digest::of(digest.to_string().as_bytes())),
                clip_start_sec: f64::from(row % CLIPS_PER_SOURCE) * 5.0,
                duration_sec: 5.0,
                width: 1280,
                height: 720,
                num_frames: 150,
                fps: 30.0,
                has_audio: row % 3 == 0,
            })
            .expect("texts here are short");
        }
        let dataset = write(&rows).expect("valid rows can be written");
        let manifest = format!(
            "{{\"spec_id\":\"video_v1\",\"netuid\":70,\"miner_hotkey\":\"{HOTKEY}\",\"interval_id\":100,\
             \"record_count\":{count},\"dataset_sha256\":\"{}\"}}",
            Digest::of(&dataset)
        );
        Self {
            manifest: manifest.into_bytes(),
            dataset,
        }
    }

    /// Reads, screens and checks; answers how many rows passed.
    pub fn judge(&self) -> usize {
        let profile = Profile::default();
        let hotkey: Hotkey = HOTKEY.parse().expect("a hotkey");
        let context = ScreenContext {
            hotkey: &hotkey,
            interval: IntervalId::new(100),
            has_credentials: true,
            enabled_specs: &[],
            expected_category: None,
            profile: &profile,
        };
        let read = |bytes: &[u8]| read(bytes, &Limits::default(), &profile);
        let screened = screen(&context, Some(&self.manifest), Some(&self.dataset), read)
            .expect("an honest submission");
        let facts = screened.rows.iter().map(|row| RowFacts {
            clip_id: row.clip_id,
            source_video_id: row.source_video_id,
            source_video_url: row.source_video_url,
            caption: row.caption,
            clip_start_sec: row.clip_start_sec,
        });
        let claims = Claims::collect(facts, &profile);
        let kept: Vec<u32> = claims.rows().collect();
        assert_eq!(hard_checks(&claims, &kept, &profile), []);
        screened.rows.len()
    }
}
