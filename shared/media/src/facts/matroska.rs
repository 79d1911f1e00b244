//! Facts of Matroska and WebM files.

use super::{Facts, rate, seconds};
use crate::front::matroska::{child, number, unsigned};

const SEGMENT: u64 = 0x1853_8067;
const CLUSTER: u64 = 0x1F43_B675;
const BLOCK_GROUP: u64 = 0xA0;
const INFO: u64 = 0x1549_A966;
const TRACKS: u64 = 0x1654_AE6B;

/// Elements of the whole file in order; segments, clusters and groups are stepped into instead of over, so that
/// neither unknown sizes nor deep nesting matter.
fn flat(file: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let id = number(file, &mut at, true)?;
        let size = number(file, &mut at, false)?;
        if matches!(id, SEGMENT | CLUSTER | BLOCK_GROUP) {
            return Some((id, &file[..0]));
        }
        let end = at.saturating_add(usize::try_from(size).unwrap_or(usize::MAX));
        // A block that is cut off is not in the file.
        let body = file.get(at..end)?;
        at = end;
        Some((id, body))
    })
}

/// What is gathered on the way through the file.
#[derive(Default)]
struct Walk {
    /// Nanoseconds of one tick.
    tick: Option<u64>,
    video: Option<u64>,
    /// Nanoseconds of one frame, when the track says.
    frame: Option<u64>,
    audio: Vec<u64>,
    cluster: u64,
    frames: u64,
    first: Option<i64>,
    last: i64,
    heard: bool,
}

pub(super) fn facts(file: &[u8]) -> Option<Facts> {
    let mut walk = Walk::default();
    for (id, body) in flat(file) {
        match id {
            INFO => walk.tick = child(body, 0x2A_D7B1).map(unsigned),
            TRACKS => walk.tracks(body),
            0xE7 => walk.cluster = unsigned(body),
            0xA3 | 0xA1 => {
                walk.block(body);
            }
            _ => {}
        }
    }
    walk.video.map(|_| walk.facts())
}

impl Walk {
    fn tracks(&mut self, tracks: &[u8]) {
        for (_, entry) in crate::front::matroska::elements(tracks).filter(|found| found.0 == 0xAE) {
            let track = child(entry, 0xD7).map(unsigned);
            match child(entry, 0x83).map(unsigned) {
                Some(1) if self.video.is_none() => {
                    self.video = track;
                    self.frame = child(entry, 0x23_E383).map(unsigned);
                }
                Some(2) => self.audio.extend(track),
                _ => {}
            }
        }
    }

    fn block(&mut self, block: &[u8]) -> Option<()> {
        let mut at = 0;
        let track = number(block, &mut at, false)?;
        if self.audio.contains(&track) {
            self.heard = true;
        }
        if Some(track) != self.video {
            return Some(());
        }
        let relative = i16::from_be_bytes(block.get(at..at + 2)?.try_into().ok()?);
        let time = i64::try_from(self.cluster)
            .ok()?
            .checked_add(i64::from(relative))?;
        self.frames += 1;
        self.first = Some(self.first.map_or(time, |first| first.min(time)));
        self.last = self.last.max(time);
        Some(())
    }

    fn facts(&self) -> Facts {
        // A tick is a millisecond unless the file says otherwise.
        let tick = self.tick.unwrap_or(1_000_000);
        let between = self.first.and_then(|first| {
            let ticks = u64::try_from(self.last.checked_sub(first)?).ok()?;
            seconds(ticks.saturating_mul(tick), 1_000_000_000)
        });
        let steps = self.frames.saturating_sub(1);
        let frame = match self.frame {
            Some(nanoseconds) => seconds(nanoseconds, 1_000_000_000),
            None => between.filter(|_| steps > 0).map(|all| all / steps as f64),
        };
        let duration_sec = between.map(|between| between + frame.unwrap_or(0.0));
        Facts {
            duration_sec,
            fps: rate(self.frames, duration_sec),
            frames: Some(self.frames),
            has_audio: Some(self.heard),
        }
    }
}
