//! A clip job that is ordinary in all but what a test is about.

use nexis_protocol::{Hotkey, IntervalId};
use nexis_wire::{ClipJob, JobRules};

/// One whose clip and first frame may be anything: no digest can match.
pub fn job(interval: IntervalId, hotkey: Hotkey, row: u32, rules: JobRules) -> ClipJob {
    ClipJob {
        interval,
        hotkey,
        row,
        commitment: "a1".repeat(64),
        clip_id: format!("clip-{row}"),
        clip_uri: format!("clips/{row}.mp4"),
        first_frame_uri: format!("frames/{row}.jpg"),
        clip_sha256: None,
        first_frame_sha256: None,
        width_px: 1280,
        height_px: 720,
        duration_sec: 5.0,
        fps: 30.0,
        num_frames: 150,
        has_audio: true,
        caption: String::new(),
        check_caption: false,
        check_category: false,
        rules,
    }
}
