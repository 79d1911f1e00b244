//! One video stream as its container describes it, and the size ffprobe would report for it.

use super::codec::{self, Size};

/// The codecs that the front parser knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    H264,
    H265,
    Vp8,
    Vp9,
    Av1,
    Mpeg4,
    Mjpeg,
    Png,
}

impl Codec {
    /// ffprobe's name of it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::H264 => "h264",
            Self::H265 => "hevc",
            Self::Vp8 => "vp8",
            Self::Vp9 => "vp9",
            Self::Av1 => "av1",
            Self::Mpeg4 => "mpeg4",
            Self::Mjpeg => "mjpeg",
            Self::Png => "png",
        }
    }
}

/// A stream with its first samples.
pub(crate) struct VideoStream<'a> {
    pub(crate) codec: Codec,
    /// `avcC`, `hvcC`, `av1C` or the decoder specific bytes of `esds`; empty when there is none.
    pub(crate) private: &'a [u8],
    /// What the container says.
    pub(crate) stated: Size,
    /// The first samples in file order; a truncated one is shorter than the container says.
    pub(crate) samples: Vec<&'a [u8]>,
}

impl VideoStream<'_> {
    /// The size ffprobe reports: the bitstream's when a decoder gets that far, else the container's.
    pub(crate) fn size(&self) -> Size {
        let mut samples = self.samples.iter().copied();
        match self.codec {
            Codec::H264 => self.h264().unwrap_or(self.stated),
            Codec::H265 => self.h265().unwrap_or(self.stated),
            Codec::Vp8 => samples.find_map(codec::vp8_frame).unwrap_or(self.stated),
            Codec::Vp9 => samples.find_map(codec::vp9_frame).unwrap_or(self.stated),
            Codec::Av1 => self
                .private
                .get(4..)
                .and_then(codec::av1_obus)
                .or_else(|| samples.find_map(codec::av1_obus))
                .unwrap_or(self.stated),
            // Its size is taken from the bitstream only: ffprobe shows 0 x 0 without a decodable picture.
            Codec::Mpeg4 => {
                let begun = self.samples.iter().any(|s| s.starts_with(&[0, 0, 1]));
                let found =
                    codec::mpeg4_vol(self.private).or_else(|| samples.find_map(codec::mpeg4_vol));
                if begun {
                    found.unwrap_or((0, 0))
                } else {
                    (0, 0)
                }
            }
            Codec::Mjpeg => samples.find_map(codec::jpeg).unwrap_or(self.stated),
            Codec::Png => samples.find_map(codec::png).unwrap_or(self.stated),
        }
    }

    fn h264(&self) -> Option<Size> {
        let mut sets = H264Sets::default();
        let mut length_size = None;
        if self.private.first() == Some(&1) {
            length_size = Some(usize::from(self.private.get(4)? & 3) + 1);
            sets.read_avcc(self.private);
        } else {
            annex_b(self.private).for_each(|nal| sets.learn(nal));
        }
        for sample in &self.samples {
            let nals: Option<Vec<&[u8]>> = match length_size {
                Some(size) => prefixed(sample, size),
                None => Some(annex_b(sample).collect()),
            };
            for nal in nals.into_iter().flatten() {
                match nal.first().map_or(0, |b| b & 0x1f) {
                    1 | 5 => {
                        if let Some(size) = codec::h264_slice_pps(nal).and_then(|id| sets.size(id))
                        {
                            return Some(size);
                        }
                    }
                    _ => sets.learn(nal),
                }
            }
        }
        None
    }

    fn h265(&self) -> Option<Size> {
        let mut length_size = 4;
        if let Some(size) = hvcc(self.private, &mut length_size) {
            return Some(size);
        }
        self.samples.iter().find_map(|sample| {
            let nals = if self.private.is_empty() {
                annex_b(sample).collect()
            } else {
                prefixed(sample, length_size).unwrap_or_default()
            };
            nals.into_iter().find_map(codec::h265_sps)
        })
    }
}

#[derive(Default)]
struct H264Sets {
    sequence: Vec<(u32, Size)>,
    picture: Vec<(u32, u32)>,
}

impl H264Sets {
    fn learn(&mut self, nal: &[u8]) {
        if let Some((id, size)) = codec::h264_sps(nal) {
            self.sequence.retain(|known| known.0 != id);
            self.sequence.push((id, size));
        } else if let Some((id, sequence)) = codec::h264_pps(nal) {
            self.picture.retain(|known| known.0 != id);
            self.picture.push((id, sequence));
        }
        self.picture.truncate(256);
    }

    fn size(&self, picture: u32) -> Option<Size> {
        let sequence = self.picture.iter().find(|known| known.0 == picture)?.1;
        Some(self.sequence.iter().find(|known| known.0 == sequence)?.1)
    }

    fn read_avcc(&mut self, avcc: &[u8]) -> Option<()> {
        let mut at = 6;
        for _ in 0..avcc.get(5)? & 0x1f {
            at = self.one(avcc, at)?;
        }
        let pictures = *avcc.get(at)?;
        at += 1;
        for _ in 0..pictures {
            at = self.one(avcc, at)?;
        }
        Some(())
    }

    fn one(&mut self, avcc: &[u8], at: usize) -> Option<usize> {
        let end = at + 2 + codec::be16(avcc, at)? as usize;
        self.learn(avcc.get(at + 2..end)?);
        Some(end)
    }
}

fn hvcc(bytes: &[u8], length_size: &mut usize) -> Option<Size> {
    *length_size = usize::from(bytes.get(21)? & 3) + 1;
    let mut at = 23;
    for _ in 0..*bytes.get(22)? {
        let count = codec::be16(bytes, at + 1)?;
        at += 3;
        for _ in 0..count {
            let end = at + 2 + codec::be16(bytes, at)? as usize;
            if let Some(size) = codec::h265_sps(bytes.get(at + 2..end)?) {
                return Some(size);
            }
            at = end;
        }
    }
    None
}

/// NAL units with a length in front; `None` when a length does not fit, as a decoder refuses the sample.
fn prefixed(mut sample: &[u8], size: usize) -> Option<Vec<&[u8]>> {
    let mut nals = Vec::new();
    while sample.len() > size {
        let length = sample[..size]
            .iter()
            .fold(0usize, |sum, b| (sum << 8) | usize::from(*b));
        if length == 0 {
            return None;
        }
        nals.push(sample.get(size..size.checked_add(length)?)?);
        sample = &sample[size + length..];
    }
    Some(nals)
}

/// NAL units between start codes.
pub(crate) fn annex_b(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = next_start(bytes);
    std::iter::from_fn(move || {
        let begin = rest?;
        rest = next_start(begin);
        let end = rest.map_or(begin.len(), |next| begin.len() - next.len() - 3);
        begin.get(..end)
    })
}

fn next_start(bytes: &[u8]) -> Option<&[u8]> {
    let at = bytes.windows(3).position(|w| w == [0, 0, 1])?;
    bytes.get(at + 3..)
}
