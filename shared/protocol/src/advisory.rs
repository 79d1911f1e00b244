//! Findings beside the verdict: more than the protocol asks for, so never a change of it unless the operator says so
//! by name.

use crate::clip::{ClipFacts, ExpectedClip, Measured};
use crate::picture::{self, PictureChecks, Pictures, Sight};
use crate::profile::Profile;
use serde::{Deserialize, Serialize};

/// A finding beside the verdict: worth saying, never a change of it unless the operator says so by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdvisoryKind {
    /// The clip cannot be probed or has no video stream (the row's own size decided), or no picture came out of it.
    UndecodableClip,
    /// The clip's duration is not what the row says.
    DurationDiffers,
    /// The clip's frame rate is not what the row says.
    FrameRateDiffers,
    /// The clip's frame count is not what the row says.
    FrameCountDiffers,
    /// The row and the clip disagree about sound.
    AudioDiffers,
    /// The first-frame asset is no picture that can be read.
    UndecodableFirstFrame,
    /// The first-frame asset does not show what the clip begins with.
    FirstFrameDiffers,
    /// All pictures of the clip are black.
    BlackPictures,
    /// Nothing moves in the clip.
    FrozenPictures,
    /// The pictures have been blown up from a smaller size.
    UpscaledPictures,
    /// Another miner submitted a clip that looks the same, earlier.
    NearDuplicate,
    /// Another miner submitted a clip that looks the same, later.
    HasNearDuplicate,
}

impl AdvisoryKind {
    /// All kinds.
    pub const ALL: [Self; 12] = [
        Self::UndecodableClip,
        Self::DurationDiffers,
        Self::FrameRateDiffers,
        Self::FrameCountDiffers,
        Self::AudioDiffers,
        Self::UndecodableFirstFrame,
        Self::FirstFrameDiffers,
        Self::BlackPictures,
        Self::FrozenPictures,
        Self::UpscaledPictures,
        Self::NearDuplicate,
        Self::HasNearDuplicate,
    ];

    /// Its name in configuration, notes and codes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UndecodableClip => "undecodable_clip",
            Self::DurationDiffers => "duration_differs",
            Self::FrameRateDiffers => "frame_rate_differs",
            Self::FrameCountDiffers => "frame_count_differs",
            Self::AudioDiffers => "audio_differs",
            Self::UndecodableFirstFrame => "undecodable_first_frame",
            Self::FirstFrameDiffers => "first_frame_differs",
            Self::BlackPictures => "black_pictures",
            Self::FrozenPictures => "frozen_pictures",
            Self::UpscaledPictures => "upscaled_pictures",
            Self::NearDuplicate => "near_duplicate",
            Self::HasNearDuplicate => "has_near_duplicate",
        }
    }

    /// The kind of a name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Whether an operator may turn it into a failure. Being copied by somebody else is nobody's failure: it would let
    /// every copier have the original rejected.
    pub const fn may_reject(self) -> bool {
        !matches!(self, Self::HasNearDuplicate)
    }

    /// The least that must be looked at for it to be found at all.
    pub const fn needs(self) -> PictureChecks {
        match self {
            Self::UndecodableClip
            | Self::DurationDiffers
            | Self::FrameRateDiffers
            | Self::FrameCountDiffers
            | Self::AudioDiffers => PictureChecks::Off,
            Self::UndecodableFirstFrame | Self::FirstFrameDiffers | Self::UpscaledPictures => {
                PictureChecks::First
            }
            Self::BlackPictures
            | Self::FrozenPictures
            | Self::NearDuplicate
            | Self::HasNearDuplicate => PictureChecks::All,
        }
    }

    /// In words.
    pub const fn explain(self) -> &'static str {
        match self {
            Self::UndecodableClip => "the clip cannot be decoded as video",
            Self::DurationDiffers => "the clip's duration is not what the row says",
            Self::FrameRateDiffers => "the clip's frame rate is not what the row says",
            Self::FrameCountDiffers => "the clip's frame count is not what the row says",
            Self::AudioDiffers => "the row and the clip disagree about sound",
            Self::UndecodableFirstFrame => "the first frame cannot be read as a picture",
            Self::FirstFrameDiffers => "the first frame does not show what the clip begins with",
            Self::BlackPictures => "the clip is black",
            Self::FrozenPictures => "nothing moves in the clip",
            Self::UpscaledPictures => {
                "the clip has hardly any detail finer than a quarter of its size could hold"
            }
            Self::NearDuplicate => "another miner submitted a clip that looks the same, earlier",
            Self::HasNearDuplicate => "another miner submitted a clip that looks the same, later",
        }
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advisory {
    /// What kind.
    pub kind: AdvisoryKind,
    /// About which row.
    pub clip_id: String,
    /// What was seen, for people.
    pub detail: String,
}

/// One frame more or less is a matter of rounding at the cut.
const FRAME_SLACK: u128 = 1;
/// Relative distance of frame rates that are written differently (29.97 for 30000/1001).
const FPS_SLACK: f64 = 0.01;

/// The findings about one row whose clip is the one that the row names.
pub(crate) fn advisories(
    expected: &ExpectedClip<'_>,
    facts: &ClipFacts,
    profile: &Profile,
) -> Vec<Advisory> {
    let mut found = Vec::new();
    let mut add = |kind: AdvisoryKind, detail: String| {
        found.push(Advisory {
            kind,
            clip_id: expected.clip_id.to_owned(),
            detail,
        });
    };
    match &facts.measured {
        None => add(
            AdvisoryKind::UndecodableClip,
            "no video stream could be read; the row's own size decided".to_owned(),
        ),
        Some(seen) => {
            stream(expected, seen, profile, &mut add);
            if facts.pictures.first == Sight::Undecodable {
                add(
                    AdvisoryKind::UndecodableClip,
                    "it has a video stream, of which no picture could be decoded".to_owned(),
                );
            }
        }
    }
    pictures(&facts.pictures, &mut add);
    found
}

/// What the container tells against the row.
fn stream(
    expected: &ExpectedClip<'_>,
    seen: &Measured,
    profile: &Profile,
    add: &mut impl FnMut(AdvisoryKind, String),
) {
    if let Some(duration) = seen.duration_sec {
        // Written so that a duration that is not a number differs too.
        let near = (duration - expected.duration_sec).abs() <= profile.clip_duration_tolerance_sec;
        if !near {
            add(
                AdvisoryKind::DurationDiffers,
                format!("row {} s, clip {duration:.3} s", expected.duration_sec),
            );
        }
    }
    if let Some(fps) = seen.fps {
        let near = (fps - expected.fps).abs() <= expected.fps * FPS_SLACK;
        if !near {
            add(
                AdvisoryKind::FrameRateDiffers,
                format!("row {}/s, clip {fps:.3}/s", expected.fps),
            );
        }
    }
    if let Some(frames) = seen.num_frames
        && u128::from(frames).abs_diff(expected.num_frames) > FRAME_SLACK
    {
        add(
            AdvisoryKind::FrameCountDiffers,
            format!("row {} frames, clip {frames}", expected.num_frames),
        );
    }
    if let Some(has_audio) = seen.has_audio
        && has_audio != expected.has_audio
    {
        let sound = |has: bool| if has { "sound" } else { "no sound" };
        add(
            AdvisoryKind::AudioDiffers,
            format!(
                "row {}, clip {}",
                sound(expected.has_audio),
                sound(has_audio)
            ),
        );
    }
}

/// What the pictures tell by themselves.
fn pictures(seen: &Pictures, add: &mut impl FnMut(AdvisoryKind, String)) {
    match (&seen.first, &seen.asset) {
        (_, Sight::Undecodable) => add(
            AdvisoryKind::UndecodableFirstFrame,
            "neither JPEG nor PNG nor WebP could be read from its bytes".to_owned(),
        ),
        (Sight::Seen(first), Sight::Seen(asset)) if !picture::is_same(first, asset) => add(
            AdvisoryKind::FirstFrameDiffers,
            format!(
                "{} of 64 bits of their hashes differ, brightness {} and {}",
                picture::distance(first, asset),
                first.mean,
                asset.mean
            ),
        ),
        _ => {}
    }
    let all = || seen.first.mark().into_iter().chain(&seen.sampled);
    // One black picture at the beginning is a fade-in.
    if !seen.sampled.is_empty() && all().all(picture::is_black) {
        let brightest = all().map(|mark| mark.mean).max().unwrap_or_default();
        add(
            AdvisoryKind::BlackPictures,
            format!(
                "{} pictures, none brighter than {brightest} of 255",
                all().count()
            ),
        );
    } else if picture::is_frozen(&seen.sampled) {
        add(
            AdvisoryKind::FrozenPictures,
            format!(
                "{} pictures from all over the clip show the same",
                seen.sampled.len()
            ),
        );
    }
    let judged: Vec<bool> = all().filter_map(picture::is_upscaled).collect();
    if !judged.is_empty() && judged.iter().all(|upscaled| *upscaled) {
        let finest = all().filter_map(|mark| mark.fine_permille).max();
        let finest = finest.unwrap_or_default();
        add(
            AdvisoryKind::UpscaledPictures,
            format!(
                "fine detail is {finest} thousandths of the coarser, in {} pictures",
                judged.len()
            ),
        );
    }
}

#[cfg(test)]
mod tests;
