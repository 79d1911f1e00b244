//! What a picture shows, as a handful of numbers: brightness, contrast, a perceptual hash, fine detail, movement.
//!
//! What the numbers mean is decided in `nexis_protocol::picture`.

use nexis_protocol::picture::Mark;
use std::f32::consts::PI;

/// The luma of a picture.
#[derive(Clone, Copy)]
pub(crate) struct Luma<'a> {
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// Bytes from one row to the next.
    pub(crate) stride: usize,
    pub(crate) bytes: &'a [u8],
}

impl<'a> Luma<'a> {
    /// `None` unless every row is there.
    pub(crate) fn new(width: usize, height: usize, stride: usize, bytes: &'a [u8]) -> Option<Self> {
        let all = stride
            .checked_mul(height.checked_sub(1)?)?
            .checked_add(width)?;
        (width > 0 && width <= stride && all <= bytes.len()).then_some(Self {
            width,
            height,
            stride,
            bytes,
        })
    }

    fn row(&self, y: usize) -> &'a [u8] {
        let start = y * self.stride;
        &self.bytes[start..start + self.width]
    }
}

/// Cells to a side of the grid that movement is seen in.
const CELLS: usize = 64;
/// Pixels to a side of the thumbnail that is hashed, as is usual for hashes of this kind.
const THUMB: usize = 32;
/// Frequencies to a side that make the hash: 8 × 8 bits.
const LOW: usize = 8;
/// Pixels that the detail is measured over at a time.
const RUN: usize = 32;
/// Lines in each direction that the detail is measured along: enough for a mean, few enough to cost little.
const LINES: usize = 48;

/// Mean luma of each cell, in sixteenths.
pub(crate) type Grid = Vec<u16>;

/// Marks a picture; `before` is the grid of the one before it.
pub(crate) fn mark(luma: Luma<'_>, before: Option<&Grid>) -> (Mark, Grid) {
    let grid = grid(luma);
    let thumb = thumbnail(&grid);
    let mean = thumb.iter().sum::<f32>() / thumb.len() as f32;
    let variance = thumb.iter().map(|cell| (cell - mean).powi(2)).sum::<f32>() / thumb.len() as f32;
    let deviation = variance.sqrt();
    let moved = before.map(|before| {
        let changes = grid
            .iter()
            .zip(before)
            .map(|(now, then)| now.abs_diff(*then));
        changes.max().unwrap_or_default()
    });
    let mark = Mark {
        hash: hash(&thumb),
        mean: step(mean),
        deviation: step(deviation),
        fine_permille: fine_permille(luma),
        moved,
    };
    (mark, grid)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to what a byte holds"
)]
fn step(value: f32) -> u8 {
    value.round().clamp(0.0, 255.0) as u8
}

/// The part of `length` pixels that belongs to cell `number`; never empty.
fn part(number: usize, length: usize) -> std::ops::Range<usize> {
    let start = (number * length / CELLS).min(length - 1);
    let end = ((number + 1) * length / CELLS).max(start + 1);
    start..end
}

fn grid(luma: Luma<'_>) -> Grid {
    let mut grid = Vec::with_capacity(CELLS * CELLS);
    for down in 0..CELLS {
        let rows = part(down, luma.height);
        // Every second row of a large picture: neighbours are alike and half the time is saved.
        let every = if rows.len() >= 8 { 2 } else { 1 };
        let mut sums = [0u32; CELLS];
        let mut counts = [0u32; CELLS];
        for y in rows.step_by(every) {
            let row = luma.row(y);
            for (across, (sum, count)) in sums.iter_mut().zip(&mut counts).enumerate() {
                let pixels = &row[part(across, luma.width)];
                *sum += pixels.iter().map(|pixel| u32::from(*pixel)).sum::<u32>();
                *count += u32::try_from(pixels.len()).unwrap_or(u32::MAX);
            }
        }
        let means = sums.iter().zip(counts).map(|(sum, count)| sum * 16 / count);
        grid.extend(means.map(|mean| u16::try_from(mean).unwrap_or(u16::MAX)));
    }
    grid
}

/// 32 × 32 grey values, each the mean of four cells.
fn thumbnail(grid: &Grid) -> Vec<f32> {
    let cell = |x: usize, y: usize| f32::from(grid[y * CELLS + x]);
    let mut thumb = Vec::with_capacity(THUMB * THUMB);
    for y in (0..CELLS).step_by(2) {
        for x in (0..CELLS).step_by(2) {
            let sum = cell(x, y) + cell(x + 1, y) + cell(x, y + 1) + cell(x + 1, y + 1);
            thumb.push(sum / 64.0);
        }
    }
    thumb
}

/// Cosine number `k` of a DCT-II over `N` values.
fn cosines<const N: usize>(k: usize) -> [f32; N] {
    std::array::from_fn(|n| (PI * (2 * n + 1) as f32 * k as f32 / (2 * N) as f32).cos())
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// How far above the median a frequency must be: an encoder's rounding moves the cells of a thumbnail by up to half a
/// step, and so each frequency by some 8. Without it the frequencies that a regular picture lacks would be chance.
const CHANCE: f32 = 16.0;

/// A bit for each of the lowest 8 × 8 frequencies: whether it is above their median. Brightness is in none of them,
/// contrast changes all alike.
fn hash(thumb: &[f32]) -> u64 {
    let waves: [[f32; THUMB]; LOW] = std::array::from_fn(cosines::<THUMB>);
    // Rows first: `across[u][y]`.
    let across = waves.map(|wave| {
        let rows = thumb.chunks_exact(THUMB).map(|row| dot(row, &wave));
        rows.collect::<Vec<f32>>()
    });
    let mut strengths = Vec::with_capacity(LOW * LOW);
    for wave in &waves {
        strengths.extend(across.iter().map(|column| dot(column, wave)));
    }
    // The first is the brightness.
    let mut sorted = strengths[1..].to_vec();
    sorted.sort_by(f32::total_cmp);
    let median = sorted[sorted.len() / 2];
    let threshold = median + CHANCE;
    let bits = strengths.iter().skip(1).enumerate();
    bits.fold(0, |hash, (bit, strength)| {
        hash | (u64::from(*strength > threshold) << bit)
    })
}

/// Below this energy per pixel in the coarser octave there is nothing to compare with: a codec's noise is a tenth of it.
const ENOUGH: f64 = 0.75;

/// Energy of runs of pixels by frequency, of 32 from the coarsest to the finest that pixels can show.
#[derive(Default)]
struct Energy {
    pixels: f64,
    /// 8 and above: finer than a picture of a quarter of the size could hold.
    fine: f64,
    /// 4 to 7.
    coarser: f64,
    /// 28 and above, where a codec leaves little but its own noise.
    noise: f64,
}

/// Frequencies that are looked at singly: the coarsest, to be taken off the whole, and the finest.
struct Waves {
    coarsest: [[f32; RUN]; 7],
    finest: [[f32; RUN]; 4],
}

impl Waves {
    fn new() -> Self {
        Self {
            coarsest: std::array::from_fn(|k| cosines::<RUN>(k + 1)),
            finest: std::array::from_fn(|k| cosines::<RUN>(k + RUN - 4)),
        }
    }
}

impl Energy {
    /// Adds a line of pixels, cut into runs.
    fn add(&mut self, line: &[u8], waves: &Waves) {
        for run in line.chunks_exact(RUN) {
            let mean = run.iter().map(|pixel| f32::from(*pixel)).sum::<f32>() / RUN as f32;
            let values: [f32; RUN] = std::array::from_fn(|n| f32::from(run[n]) - mean);
            let energy =
                |wave: &[f32; RUN]| f64::from(dot(&values, wave).powi(2) * 2.0 / RUN as f32);
            let coarsest = waves.coarsest.each_ref().map(energy);
            // Scaled so that the energies of all frequencies sum up to the squares of the values.
            let all = f64::from(dot(&values, &values));
            self.fine += (all - coarsest.iter().sum::<f64>()).max(0.0);
            self.coarser += coarsest[3..].iter().sum::<f64>();
            self.noise += waves.finest.each_ref().map(energy).iter().sum::<f64>();
            self.pixels += RUN as f64;
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to less than 16 bits hold"
    )]
    fn permille(&self) -> Option<u16> {
        if self.coarser < ENOUGH * self.pixels || self.pixels == 0.0 {
            return None;
        }
        // Noise is alike at all frequencies: 24 of them are fine, 4 were measured.
        let fine = self.fine - self.noise * 6.0;
        Some((1e3 * fine / self.coarser).clamp(0.0, 9_999.0) as u16)
    }
}

/// Along lines in both directions; the lesser of both, since bars at two sides of a picture are sharp edges in one.
fn fine_permille(luma: Luma<'_>) -> Option<u16> {
    let waves = Waves::new();
    let (mut across, mut down) = (Energy::default(), Energy::default());
    for y in (0..luma.height).step_by(luma.height.div_ceil(LINES)) {
        across.add(luma.row(y), &waves);
    }
    let mut column = Vec::with_capacity(luma.height);
    for x in (0..luma.width).step_by(luma.width.div_ceil(LINES)) {
        column.clear();
        column.extend((0..luma.height).map(|y| luma.bytes[y * luma.stride + x]));
        down.add(&column, &waves);
    }
    let both = [across.permille(), down.permille()];
    both.into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nexis_protocol::picture::{distance, is_same, is_telling};

    /// A picture of `width` × `height` whose luma at (x, y), both 0..1, is `shade`.
    fn picture(width: usize, height: usize, shade: impl Fn(f32, f32) -> f32) -> Vec<u8> {
        let mut bytes = Vec::new();
        for y in 0..height {
            for x in 0..width {
                bytes.push(step(shade(
                    (x as f32 + 0.5) / width as f32,
                    (y as f32 + 0.5) / height as f32,
                )));
            }
        }
        bytes
    }

    fn of(width: usize, height: usize, bytes: &[u8]) -> Mark {
        mark(Luma::new(width, height, width, bytes).unwrap(), None).0
    }

    fn hills(x: f32, y: f32) -> f32 {
        let ridge = 0.5 + 0.2 * (7.0 * x).sin() + 0.05 * (31.0 * x).cos();
        if y < ridge {
            190.0 - 60.0 * y
        } else {
            70.0 + 40.0 * (13.0 * x * y).sin()
        }
    }

    #[test]
    fn the_hash_of_a_picture_outlives_size_brightness_and_contrast() {
        let large = of(640, 360, &picture(640, 360, hills));
        assert!(is_telling(&large));
        let small = of(200, 113, &picture(200, 113, hills));
        assert!(
            distance(&large, &small) <= 4,
            "{}",
            distance(&large, &small)
        );
        let pale = of(
            640,
            360,
            &picture(640, 360, |x, y| 40.0 + 0.7 * hills(x, y)),
        );
        assert!(distance(&large, &pale) <= 4, "{}", distance(&large, &pale));
    }

    #[test]
    fn another_picture_has_another_hash() {
        let one = of(640, 360, &picture(640, 360, hills));
        let turned = of(640, 360, &picture(640, 360, |x, y| hills(1.0 - x, 1.0 - y)));
        assert!(!is_same(&one, &turned), "{}", distance(&one, &turned));
        let rings = |x: f32, y: f32| 128.0 + 90.0 * (60.0 * (x - 0.4).hypot(y - 0.6)).sin();
        let rings = of(640, 360, &picture(640, 360, rings));
        assert!(!is_same(&one, &rings), "{}", distance(&one, &rings));
    }

    #[test]
    fn movement_of_one_small_thing_is_seen() {
        let bird = |at: f32| {
            picture(640, 360, move |x, y| {
                if (x - at).hypot(y - 0.2) < 0.02 {
                    20.0
                } else {
                    hills(x, y)
                }
            })
        };
        let (still, here) = (picture(640, 360, hills), bird(0.3));
        let (_, grid) = mark(Luma::new(640, 360, 640, &still).unwrap(), None);
        let (same, _) = mark(Luma::new(640, 360, 640, &still).unwrap(), Some(&grid));
        assert_eq!(same.moved, Some(0));
        let (moved, _) = mark(Luma::new(640, 360, 640, &here).unwrap(), Some(&grid));
        assert!(moved.moved > Some(100), "{:?}", moved.moved);
    }

    #[test]
    fn any_size_is_marked_and_missing_bytes_are_refused() {
        for (width, height) in [(1, 1), (2, 700), (63, 5), (33, 33), (1280, 720)] {
            let bytes = picture(width, height, hills);
            of(width, height, &bytes);
            let short = &bytes[..bytes.len() - 1];
            assert!(Luma::new(width, height, width, short).is_none());
        }
        assert!(Luma::new(0, 0, 0, &[]).is_none());
        assert!(Luma::new(4, usize::MAX, 4, &[0; 8]).is_none());
    }

    #[test]
    fn fine_detail_is_compared_with_coarser_where_there_is_any() {
        let wave = |n: f32, x: f32| (n * PI * x).sin();
        let of = |shade: &dyn Fn(f32, f32) -> f32| of(320, 320, &picture(320, 320, shade));
        let stripes = of(&|x, _| 128.0 + 20.0 * wave(55.0, x) + 10.0 * wave(130.0, x));
        assert!(
            stripes.fine_permille > Some(150),
            "{stripes:?}: downwards there is nothing to compare"
        );
        let coarse = of(&|x, y| 128.0 + 30.0 * (wave(55.0, x) + wave(55.0, y)));
        assert!(coarse.fine_permille < Some(50), "{coarse:?}");
        let one_way = of(&|x, y| 128.0 + 30.0 * (wave(55.0, x) + wave(130.0, x) + wave(55.0, y)));
        assert!(one_way.fine_permille < Some(50), "{one_way:?}");
        assert_eq!(of(&|x, y| 100.0 + 40.0 * x + 20.0 * y).fine_permille, None);
    }
}
