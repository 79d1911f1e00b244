//! What pictures show, as plain numbers, and when two of them show the same.
//!
//! Pictures are looked at elsewhere (they are hostile bytes); here is only what the numbers mean.

use serde::{Deserialize, Serialize};

/// What was seen of one picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Mark {
    /// Perceptual hash: for each of the lowest frequencies of a 32 × 32 grey thumbnail, whether it is above their median.
    pub hash: u64,
    /// Mean luma, 0 to 255.
    pub mean: u8,
    /// Standard deviation of the thumbnail's luma.
    pub deviation: u8,
    /// Energy of detail finer than a quarter of the picture's size could hold, in thousandths of the energy of the octave
    /// below; `None` when there is too little of either to tell.
    pub fine_permille: Option<u16>,
    /// Largest change of any cell of a 64 × 64 grid since the picture before, in sixteenths of a luma step.
    pub moved: Option<u16>,
}

/// What became of looking at one picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Sight {
    /// Nobody looked: no check needed it.
    #[default]
    NotLooked,
    /// No picture came out.
    Undecodable,
    /// It was seen.
    Seen(Mark),
}

impl Sight {
    /// The mark, when it was seen.
    pub const fn mark(&self) -> Option<&Mark> {
        match self {
            Self::Seen(mark) => Some(mark),
            Self::NotLooked | Self::Undecodable => None,
        }
    }
}

/// What was seen of one row's pictures.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pictures {
    /// The clip's first picture.
    pub first: Sight,
    /// The first-frame asset.
    pub asset: Sight,
    /// Pictures from all over the clip (PROTOCOL §10), when these were decoded.
    pub sampled: Vec<Mark>,
}

/// How much of the pictures is looked at for advisories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PictureChecks {
    /// Nothing is decoded for advisories.
    Off,
    /// The first picture of the clip and the first-frame asset, which costs one decoded key frame; all pictures where
    /// a model check needs them anyway.
    #[default]
    First,
    /// Pictures from all over the clip, always.
    All,
}

/// Below this deviation a thumbnail is so flat that the signs in its hash are chance: JPEG and H.264 at common
/// quality change a thumbnail's cells by one or two steps.
const FLAT_DEVIATION: u8 = 4;
/// Hashes of one picture in two encodings differ in few of 64 bits, those of unrelated pictures in 32 ± 4. A first frame
/// may come from another encoder, in another size, or from a neighbouring frame: a generous bound.
const SAME_BITS: u32 = 12;
/// Flat pictures are told apart by brightness; video range against full range shifts black and white by up to 20.
const FLAT_SHIFT: u8 = 24;

/// Bits in which two hashes differ.
pub const fn distance(a: &Mark, b: &Mark) -> u32 {
    (a.hash ^ b.hash).count_ones()
}

/// A picture of few frequencies (bars, a gradient) has a hash with few bits, and any two such hashes are near each other.
const LEAST_BITS: u32 = 10;

/// Whether the hash says something: that of a flat or very regular picture does not.
pub const fn is_telling(mark: &Mark) -> bool {
    mark.deviation >= FLAT_DEVIATION && mark.hash.count_ones() >= LEAST_BITS
}

/// Whether two marks may well be of the same picture in two encodings.
pub const fn is_same(a: &Mark, b: &Mark) -> bool {
    // Full range against video range stretches contrast by 16 %.
    let (low, high) = if a.deviation < b.deviation {
        (a.deviation, b.deviation)
    } else {
        (b.deviation, a.deviation)
    };
    let levels = a.mean.abs_diff(b.mean) <= FLAT_SHIFT && high - low <= FLAT_DEVIATION + low / 3;
    // Where only one is telling, the other is at the edge of it: brightness and contrast have to do.
    levels && !(is_telling(a) && is_telling(b) && distance(a, b) > SAME_BITS)
}

/// Black in video range is 16, in full range 0; night is brighter and has contrast. ffmpeg's `blackdetect` calls a
/// pixel black up to 38.
const BLACK_MEAN: u8 = 24;
const BLACK_DEVIATION: u8 = 6;

/// Whether a picture shows nothing but black.
pub const fn is_black(mark: &Mark) -> bool {
    mark.mean <= BLACK_MEAN && mark.deviation <= BLACK_DEVIATION
}

/// An encoder's rounding makes a still's cells breathe by about one luma step from key frame to key frame; leaves,
/// water or a passing bird change a cell by several.
const STILL_SIXTEENTHS: u16 = 24;

/// Whether nothing moves in a row of pictures. Two pictures may be alike by chance; three hardly are.
pub fn is_frozen(sampled: &[Mark]) -> bool {
    let mut pairs = sampled.iter().skip(1);
    sampled.len() >= 3 && pairs.all(|mark| mark.moved.is_some_and(|cell| cell <= STILL_SIXTEENTHS))
}

/// Natural pictures hold amplitude of about 1/f at frequency f, which makes some 350 with a codec's noise taken off (160
/// through a lens as soft as a blur of 1.5 pixels, also 170 to 220 when blown up from half the size); blown up from a
/// quarter of the size 90 to 120 are left. Measured on made pictures at two bit rates, see `shared/media/tests`.
const UPSCALED_PERMILLE: u16 = 130;

/// Whether a picture lacks the detail that its size could hold; `None` when it has too little contrast to tell.
pub fn is_upscaled(mark: &Mark) -> Option<bool> {
    mark.fine_permille.map(|fine| fine < UPSCALED_PERMILLE)
}
