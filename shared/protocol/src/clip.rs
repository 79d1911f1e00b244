//! The assets of a sampled row (PROTOCOL §10): what was fetched and measured, judged.

use crate::advisory::advisories;
use crate::ids::Digest;
use crate::picture::Pictures;
use crate::profile::Profile;
use crate::reason::Reason;
use crate::text::three_decimals;
use serde::{Deserialize, Serialize};

pub use crate::advisory::{Advisory, AdvisoryKind};

/// The clip id as honest miners make it: first 24 hex digits of the SHA-256 of
/// `{source_video_id}:{start:.3f}:{duration:.3f}` (PROTOCOL §5).
pub fn deterministic_clip_id(source_video_id: &str, start_sec: f64, duration_sec: f64) -> String {
    let payload = format!(
        "{source_video_id}:{}:{}",
        three_decimals(start_sec),
        three_decimals(duration_sec)
    );
    let mut hex = Digest::of(payload.as_bytes()).to_string();
    hex.truncate(24);
    hex
}

/// What a row says about its assets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExpectedClip<'a> {
    /// The row's clip id.
    pub clip_id: &'a str,
    /// Clip URI as given.
    pub clip_uri: &'a str,
    /// First-frame URI as given.
    pub first_frame_uri: &'a str,
    /// Width, pixels.
    pub width_px: u128,
    /// Height, pixels.
    pub height_px: u128,
    /// Duration, seconds.
    pub duration_sec: f64,
    /// Frame rate, 1/s.
    pub fps: f64,
    /// Number of frames.
    pub num_frames: u128,
    /// Whether there is sound.
    pub has_audio: bool,
}

/// What became of one asset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AssetFact {
    /// The URI cannot be normalised.
    InvalidUri,
    /// The store does not have it, or was unreachable to the end of the budget.
    Missing,
    /// Its bytes have another digest than the row says.
    Sha256Mismatch,
    /// Its bytes are the ones that the row names.
    Good,
}

/// What a probe saw of the first video stream and its container. Values that the clip does not tell are
/// `None`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Coded width, pixels; rotation and pixel aspect ignored.
    pub width_px: u32,
    /// Coded height, pixels.
    pub height_px: u32,
    /// Duration, seconds.
    pub duration_sec: Option<f64>,
    /// Frame rate, 1/s.
    pub fps: Option<f64>,
    /// Number of frames.
    pub num_frames: Option<u64>,
    /// Whether there is sound.
    pub has_audio: Option<bool>,
}

/// Everything that was found out about one row's assets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClipFacts {
    /// The clip.
    pub clip: AssetFact,
    /// What the probe saw; `None` when the clip cannot be probed or has no video stream.
    pub measured: Option<Measured>,
    /// The first frame.
    pub first_frame: AssetFact,
    /// What was seen of the pictures of both.
    pub pictures: Pictures,
}

/// The verdict on one sampled row.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ClipVerdict {
    /// Failures, in the order in which other validators list them.
    pub failures: Vec<Reason>,
    /// Findings beside them.
    pub advisories: Vec<Advisory>,
}

/// Judges one sampled row. `rejects` names the advisories that this operator turned into rejects; such a
/// failure stands after the clip's own.
pub fn judge(
    expected: &ExpectedClip<'_>,
    facts: &ClipFacts,
    profile: &Profile,
    rejects: &[AdvisoryKind],
) -> ClipVerdict {
    let clip_id = || expected.clip_id.to_owned();
    let mut verdict = ClipVerdict::default();
    match facts.clip {
        AssetFact::InvalidUri => {
            let uri = expected.clip_uri.to_owned();
            verdict.failures.push(Reason::InvalidAssetUri { uri });
        }
        AssetFact::Missing => {
            verdict
                .failures
                .push(Reason::MissingClipAsset { clip_id: clip_id() });
        }
        AssetFact::Sha256Mismatch => {
            verdict
                .failures
                .push(Reason::ClipSha256Mismatch { clip_id: clip_id() });
        }
        AssetFact::Good => {
            judge_size(expected, facts.measured.as_ref(), profile, &mut verdict);
            verdict.advisories = advisories(expected, facts, profile);
            for advisory in &verdict.advisories {
                if rejects.contains(&advisory.kind) {
                    let kind = advisory.kind;
                    verdict.failures.push(Reason::Advisory {
                        kind,
                        clip_id: clip_id(),
                    });
                }
            }
        }
    }
    match facts.first_frame {
        AssetFact::InvalidUri => {
            let uri = expected.first_frame_uri.to_owned();
            verdict.failures.push(Reason::InvalidAssetUri { uri });
        }
        AssetFact::Missing => {
            verdict
                .failures
                .push(Reason::MissingFirstFrameAsset { clip_id: clip_id() });
        }
        AssetFact::Sha256Mismatch => {
            verdict
                .failures
                .push(Reason::FirstFrameSha256Mismatch { clip_id: clip_id() });
        }
        AssetFact::Good => {}
    }
    verdict
}

/// The stream's size decides, and the row's own where there is no stream: so do other validators.
fn judge_size(
    expected: &ExpectedClip<'_>,
    measured: Option<&Measured>,
    profile: &Profile,
    verdict: &mut ClipVerdict,
) {
    let (width, height) = match measured {
        Some(seen) => (u128::from(seen.width_px), u128::from(seen.height_px)),
        None => (expected.width_px, expected.height_px),
    };
    if (width, height)
        != (
            u128::from(profile.clip_width_px),
            u128::from(profile.clip_height_px),
        )
    {
        let clip_id = expected.clip_id.to_owned();
        verdict.failures.push(Reason::InvalidResolution {
            clip_id,
            width,
            height,
        });
    }
}

/// Most frames taken from a clip for the model checks (6 at 6/5 per second spread over 5 s).
pub const FRAMES_PER_CLIP: usize = 6;

/// Names of the frames that a model check would see: those taken from the clip, padded with the first
/// frame to six and followed by it once more, when the first-frame asset is good. For a clip that failed
/// there is no such list.
pub fn semantic_frames(extracted: usize, first_frame_name: Option<&str>) -> Vec<String> {
    let extracted = extracted.min(FRAMES_PER_CLIP);
    let mut names: Vec<String> = (1..=extracted)
        .map(|n| format!("caption_{n:03}.jpg"))
        .collect();
    if let Some(first) = first_frame_name {
        names.resize(FRAMES_PER_CLIP + 1, first.to_owned());
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: ExpectedClip<'static> = ExpectedClip {
        clip_id: "c",
        clip_uri: "clips/../c.mp4",
        first_frame_uri: "..",
        width_px: 1280,
        height_px: 720,
        duration_sec: 5.0,
        fps: 30.0,
        num_frames: 150,
        has_audio: true,
    };
    const SEEN: Measured = Measured {
        width_px: 1280,
        height_px: 720,
        duration_sec: Some(5.0),
        fps: Some(29.97),
        num_frames: Some(151),
        has_audio: Some(true),
    };

    fn codes(facts: &ClipFacts, row: &ExpectedClip<'_>, rejects: &[AdvisoryKind]) -> Vec<String> {
        let verdict = judge(row, facts, &Profile::default(), rejects);
        verdict.failures.iter().map(ToString::to_string).collect()
    }

    fn facts(clip: AssetFact, measured: Option<Measured>, first_frame: AssetFact) -> ClipFacts {
        ClipFacts {
            clip,
            measured,
            first_frame,
            pictures: Pictures::default(),
        }
    }

    #[test]
    fn a_good_row_has_neither_failures_nor_advisories() {
        let facts = facts(AssetFact::Good, Some(SEEN), AssetFact::Good);
        assert_eq!(
            judge(&ROW, &facts, &Profile::default(), &[]),
            ClipVerdict::default()
        );
    }

    #[test]
    fn the_clip_comes_before_the_frame_and_the_frame_is_judged_whatever_the_clip() {
        let both = facts(AssetFact::InvalidUri, None, AssetFact::InvalidUri);
        assert_eq!(
            codes(&both, &ROW, &AdvisoryKind::ALL),
            ["invalid_asset_uri:clips/../c.mp4", "invalid_asset_uri:.."]
        );
        let both = facts(AssetFact::Missing, None, AssetFact::Missing);
        assert_eq!(
            codes(&both, &ROW, &[]),
            ["missing_clip_asset:c", "missing_first_frame_asset:c"]
        );
        let both = facts(AssetFact::Sha256Mismatch, None, AssetFact::Sha256Mismatch);
        assert_eq!(
            codes(&both, &ROW, &[]),
            ["clip_sha256_mismatch:c", "first_frame_sha256_mismatch:c"]
        );
    }

    #[test]
    fn the_streams_size_beats_the_rows() {
        let small = Measured {
            width_px: 640,
            height_px: 360,
            ..SEEN
        };
        let small = facts(AssetFact::Good, Some(small), AssetFact::Good);
        assert_eq!(codes(&small, &ROW, &[]), ["invalid_resolution:c:640x360"]);
    }

    #[test]
    fn junk_passes_by_its_row_with_an_advisory_until_the_operator_says_no() {
        let junk = facts(AssetFact::Good, None, AssetFact::Good);
        let verdict = judge(&ROW, &junk, &Profile::default(), &[]);
        assert!(verdict.failures.is_empty());
        assert_eq!(verdict.advisories[0].kind, AdvisoryKind::UndecodableClip);
        assert_eq!(
            codes(&junk, &ROW, &[AdvisoryKind::UndecodableClip]),
            ["undecodable_clip:c"]
        );
        let small = ExpectedClip {
            width_px: 640,
            height_px: u128::MAX,
            ..ROW
        };
        let size = format!("invalid_resolution:c:640x{}", u128::MAX);
        assert_eq!(codes(&junk, &small, &[]), [size]);
    }

    #[test]
    fn a_row_that_lies_about_its_clip_is_only_an_advisory() {
        let other = Measured {
            duration_sec: Some(f64::NAN),
            fps: Some(10.0),
            num_frames: Some(3),
            has_audio: Some(false),
            ..SEEN
        };
        let facts = facts(AssetFact::Good, Some(other), AssetFact::Good);
        let verdict = judge(&ROW, &facts, &Profile::default(), &[]);
        assert!(verdict.failures.is_empty());
        let kinds: Vec<AdvisoryKind> = verdict.advisories.iter().map(|a| a.kind).collect();
        assert_eq!(kinds, AdvisoryKind::ALL[1..5]);
    }

    #[test]
    fn the_frame_list_is_padded_only_with_a_good_first_frame() {
        assert_eq!(semantic_frames(3, Some("f.jpg")).len(), 7);
        assert_eq!(
            semantic_frames(3, Some("f.jpg"))[2..4],
            ["caption_003.jpg", "f.jpg"]
        );
        assert_eq!(semantic_frames(0, Some("f.jpg")), ["f.jpg"; 7]);
        assert_eq!(semantic_frames(6, None).len(), 6);
        assert_eq!(semantic_frames(9, Some("f.jpg")).len(), 7);
    }
}
