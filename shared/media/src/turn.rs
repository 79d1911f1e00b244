//! How pictures are turned before they are shown: what a container says and ffmpeg does when it decodes.
//!
//! The coded size is that of the pictures before they are turned (PROTOCOL §10).

use std::time::Duration;

use gstreamer as gst;

use crate::front::{self, Container, mp4};
use crate::libav;
use crate::marks::Luma;

/// A turn by a multiple of 90 degrees, with or without mirroring: pixel (x, y) of what is shown is pixel (x, y) of the
/// coded picture, or (y, x) when the sides change places, counted from the other end along a mirrored side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Turn {
    sides_change: bool,
    mirror_x: bool,
    mirror_y: bool,
}

impl Turn {
    /// What ffmpeg does by a display matrix: nine numbers of 16.16, of which the first two rows say where a picture's
    /// axes point. Other angles are not turned here; nobody films at them.
    pub(crate) fn from_matrix(bytes: &[u8]) -> Self {
        let number = |place: usize| {
            let bytes = bytes.get(place * 4..place * 4 + 4)?;
            Some(f64::from(i32::from_ne_bytes(bytes.try_into().ok()?)))
        };
        let numbers = (number(0), number(1), number(3), number(4));
        let (Some(a), Some(b), Some(c), Some(d)) = numbers else {
            return Self::default();
        };
        let (across, down) = (a.hypot(c), b.hypot(d));
        if across == 0.0 || down == 0.0 {
            return Self::default();
        }
        let angle = (b / down).atan2(a / across).to_degrees().round();
        let angle = angle.rem_euclid(360.0);
        let near = |wanted: f64| (angle - wanted).abs() < 1.0;
        if near(90.0) {
            Self {
                sides_change: true,
                mirror_x: false,
                mirror_y: c <= 0.0,
            }
        } else if near(180.0) {
            Self {
                sides_change: false,
                mirror_x: a < 0.0,
                mirror_y: d < 0.0,
            }
        } else if near(270.0) {
            Self {
                sides_change: true,
                mirror_x: true,
                mirror_y: c < 0.0,
            }
        } else {
            Self {
                mirror_y: near(0.0) && d < 0.0,
                ..Self::default()
            }
        }
    }

    /// What a clip says about its first video stream. libavformat is asked only where something may be said.
    pub(crate) fn of(clip: &[u8], time: Duration) -> Self {
        let may_turn = match front::sniff(clip) {
            Some(Container::Mp4) => !mp4::is_upright(clip),
            Some(Container::Matroska) => {
                let head = clip.get(..clip.len().min(4096)).unwrap_or_default();
                head.windows(2).any(|id| id == ROLL)
            }
            Some(_) => false,
            None => true,
        };
        if may_turn {
            libav::turn(clip, time)
        } else {
            Self::default()
        }
    }

    /// The plane as it is shown, in rows of a multiple of four bytes.
    fn plane(self, plane: Luma<'_>) -> Vec<u8> {
        let (width, height) = self.sides(plane.width, plane.height);
        let mut turned = Vec::with_capacity(width.next_multiple_of(4) * height);
        for y in 0..height {
            turned.extend((0..width).map(|x| {
                let (x, y) = if self.sides_change { (y, x) } else { (x, y) };
                let x = if self.mirror_x {
                    plane.width - 1 - x
                } else {
                    x
                };
                let y = if self.mirror_y {
                    plane.height - 1 - y
                } else {
                    y
                };
                plane.bytes[y * plane.stride + x]
            }));
            turned.resize((y + 1) * width.next_multiple_of(4), 0);
        }
        turned
    }

    fn sides(self, width: usize, height: usize) -> (usize, usize) {
        if self.sides_change {
            (height, width)
        } else {
            (width, height)
        }
    }

    /// A decoded picture in I420 as it is shown.
    pub(crate) fn apply(self, sample: &gst::Sample) -> Option<gst::Sample> {
        if self == Self::default() {
            return Some(sample.clone());
        }
        let caps = sample.caps()?.structure(0)?;
        let side = |name| usize::try_from(caps.get::<i32>(name).ok()?).ok();
        let (width, height) = (side("width")?, side("height")?);
        let map = sample.buffer()?.map_readable().ok()?;
        let (mut rest, mut turned) = (map.as_slice(), Vec::new());
        for halved in [false, true, true] {
            let half = |side: usize| if halved { side.div_ceil(2) } else { side };
            let (across, down) = (half(width), half(height));
            let stride = across.next_multiple_of(4);
            let whole = if halved {
                down
            } else {
                down.next_multiple_of(2)
            };
            let plane = Luma::new(across, down, stride, rest)?;
            turned.extend(self.plane(plane));
            let (across, down) = self.sides(across, down);
            if !halved && !down.is_multiple_of(2) {
                turned.resize(turned.len() + across.next_multiple_of(4), 0);
            }
            rest = rest.get(stride * whole..).unwrap_or_default();
        }
        let (width, height) = self.sides(width, height);
        let mut caps = sample.caps()?.copy();
        let sides = caps.make_mut().structure_mut(0)?;
        sides.set("width", i32::try_from(width).ok()?);
        sides.set("height", i32::try_from(height).ok()?);
        let buffer = gst::Buffer::from_slice(turned);
        Some(gst::Sample::builder().buffer(&buffer).caps(&caps).build())
    }
}

/// Matroska's element for a picture that is rolled.
const ROLL: &[u8] = &[0x76, 0x75];

#[cfg(test)]
mod tests {
    use super::*;

    /// The matrix of ISO 14496-12 with these four numbers.
    fn turn(a: i32, b: i32, c: i32, d: i32) -> Turn {
        let numbers = [a, b, 0, c, d, 0, 0, 0, 1 << 14].map(|number: i32| number << 16);
        Turn::from_matrix(&numbers.map(i32::to_ne_bytes).concat())
    }

    fn shown(turn: Turn) -> Vec<u8> {
        // Two rows of three.
        let bytes = [1, 2, 3, 0, 4, 5, 6, 0];
        let rows = turn.plane(Luma::new(3, 2, 4, &bytes).unwrap());
        let (width, _) = turn.sides(3, 2);
        rows.chunks(4)
            .flat_map(|row| row[..width].to_vec())
            .collect()
    }

    #[test]
    fn pictures_are_turned_by_the_display_matrix() {
        for (matrix, expected) in [
            ((1, 0, 0, 1), [1, 2, 3, 4, 5, 6]),
            ((0, 1, -1, 0), [4, 1, 5, 2, 6, 3]),
            ((-1, 0, 0, -1), [6, 5, 4, 3, 2, 1]),
            ((0, -1, 1, 0), [3, 6, 2, 5, 1, 4]),
            ((-1, 0, 0, 1), [3, 2, 1, 6, 5, 4]),
            ((1, 0, 0, -1), [4, 5, 6, 1, 2, 3]),
            ((0, 1, 1, 0), [1, 4, 2, 5, 3, 6]),
            ((0, -1, -1, 0), [6, 3, 5, 2, 4, 1]),
        ] {
            let (a, b, c, d) = matrix;
            assert_eq!(shown(turn(a, b, c, d)), expected, "{matrix:?}");
        }
        assert_eq!(turn(0, 0, 0, 0), Turn::default(), "no direction at all");
        assert_eq!(Turn::from_matrix(&[1, 2, 3]), Turn::default());
    }
}
