//! One video stream as its container describes it, and the size ffprobe would report for it.

use super::codec::{self, Size};
use super::raw;
use crate::probe::Probed;

/// How many samples are looked at before the container's word is taken.
pub(crate) const SAMPLES: usize = 48;

/// What a container's reader made of a file.
pub(crate) enum Found<'a> {
    /// Its first video stream.
    Stream(VideoStream<'a>),
    /// A whole container without a video stream.
    NoVideo,
    /// Broken before its streams are described.
    Unsettled,
}

/// The codecs that the front parser knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    H264,
    H265,
    Vp8,
    Vp9,
    Av1,
    Mpeg4,
    /// Also MPEG-1: its sequence header is the same.
    Mpeg2,
    H263,
    Flv1,
    FlashScreen,
    FlashScreen2,
    Mjpeg,
    Png,
    /// One that is not looked into: what the container says counts. ffprobe's name of it, where it is known.
    Stated(&'static str),
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
            Self::Mpeg2 => "mpeg2video",
            Self::H263 => "h263",
            Self::Flv1 => "flv1",
            Self::FlashScreen => "flashsv",
            Self::FlashScreen2 => "flashsv2",
            Self::Mjpeg => "mjpeg",
            Self::Png => "png",
            Self::Stated(name) => name,
        }
    }

    /// The codec of a bitmap header's four letters (AVI, ASF, Matroska).
    pub(crate) fn of_bitmap(mut tag: [u8; 4]) -> Self {
        tag.make_ascii_uppercase();
        match &tag {
            b"H264" | b"X264" | b"AVC1" | b"DAVC" => Self::H264,
            b"H265" | b"X265" | b"HEVC" => Self::H265,
            b"FMP4" | b"XVID" | b"DIVX" | b"DX50" | b"MP4V" | b"M4S2" | b"MP4S" | b"3IV2" => {
                Self::Mpeg4
            }
            b"MPG1" | b"MPG2" | b"MPEG" | b"\x01\0\0\x10" | b"\x02\0\0\x10" => Self::Mpeg2,
            b"MJPG" | b"AVRN" => Self::Mjpeg,
            b"VP80" => Self::Vp8,
            b"VP90" => Self::Vp9,
            b"AV01" => Self::Av1,
            b"H263" | b"U263" => Self::H263,
            b"FLV1" => Self::Flv1,
            b"MPNG" => Self::Png,
            b"WMV1" => Self::Stated("wmv1"),
            b"WMV2" => Self::Stated("wmv2"),
            b"WMV3" => Self::Stated("wmv3"),
            b"MP42" => Self::Stated("msmpeg4v2"),
            b"MP43" | b"DIV3" => Self::Stated("msmpeg4v3"),
            _ => Self::Stated("unknown"),
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
    /// What ffprobe reports.
    pub(crate) fn probed(&self) -> Probed {
        let (width, height) = self.size();
        let codec = match self.codec {
            Codec::Mpeg2 if self.mpeg2().is_some_and(|found| !found.1) => "mpeg1video",
            codec => codec.name(),
        };
        Probed {
            width,
            height,
            codec: codec.to_owned(),
        }
    }

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
            Codec::Mpeg4 => {
                let begun = self.samples.iter().any(|s| s.starts_with(&[0, 0, 1]));
                codec::mpeg4_vol(self.private)
                    .or_else(|| samples.find_map(codec::mpeg4_vol))
                    .filter(|_| begun)
                    .unwrap_or(self.stated)
            }
            Codec::Mpeg2 => self.mpeg2().map_or(self.stated, |found| found.0),
            Codec::H263 => samples.find_map(codec::h263_picture).unwrap_or(self.stated),
            Codec::Flv1 => samples.find_map(codec::flv1_picture).unwrap_or(self.stated),
            Codec::FlashScreen => samples.find_map(codec::flash_screen).unwrap_or(self.stated),
            Codec::FlashScreen2 => samples.find_map(codec::flash_screen).unwrap_or(self.stated),
            Codec::Stated(_) => self.stated,
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
        let mut read = |nal: &[u8]| match nal.first().map_or(0, |b| b & 0x1f) {
            1 | 5 => codec::h264_slice_pps(nal).and_then(|id| sets.size(id)),
            _ => {
                sets.learn(nal);
                None
            }
        };
        self.samples.iter().find_map(|sample| match length_size {
            Some(size) => prefixed(sample, size)
                .into_iter()
                .flatten()
                .find_map(&mut read),
            None => annex_b(sample).find_map(&mut read),
        })
    }

    /// Size, and whether it is MPEG-2 and not MPEG-1.
    fn mpeg2(&self) -> Option<(Size, bool)> {
        let samples = self.samples.iter().copied();
        std::iter::once(self.private)
            .chain(samples)
            .find_map(raw::mpeg2_sequence)
    }

    fn h265(&self) -> Option<Size> {
        let mut length_size = 4;
        if let Some(size) = hvcc(self.private, &mut length_size) {
            return Some(size);
        }
        self.samples.iter().find_map(|sample| {
            if self.private.is_empty() {
                annex_b(sample).find_map(codec::h265_sps)
            } else {
                prefixed(sample, length_size)?
                    .into_iter()
                    .find_map(codec::h265_sps)
            }
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
pub(crate) fn prefixed(mut sample: &[u8], size: usize) -> Option<Vec<&[u8]>> {
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
    let mut rest = raw::next_start(bytes);
    std::iter::from_fn(move || {
        let begin = rest?;
        rest = raw::next_start(begin);
        let end = rest.map_or(begin.len(), |next| begin.len() - next.len() - 3);
        begin.get(..end)
    })
}
