//! Video without a container, and the two thin wrappers IVF and YUV4MPEG2.

use super::codec::{self, le16};
use super::stream::{Codec, VideoStream, annex_b};

/// What follows the next start code.
pub(crate) fn next_start(bytes: &[u8]) -> Option<&[u8]> {
    let at = bytes.windows(3).position(|w| w == [0, 0, 1])?;
    bytes.get(at + 3..)
}

/// Start codes that are counted before a stream is named.
const COUNTED: usize = 4_000;

/// Names a stream of start codes. As ffmpeg does, parameter sets and pictures must both be there.
pub(crate) fn kind(bytes: &[u8]) -> Option<Codec> {
    if !bytes.starts_with(&[0, 0, 1]) && !bytes.starts_with(&[0, 0, 0, 1]) {
        return None;
    }
    let mut seen = Seen::default();
    let mut rest = next_start(bytes);
    for _ in 0..COUNTED {
        let Some(unit) = rest else { break };
        if let Some(codec) = seen.learn(unit) {
            return Some(codec);
        }
        rest = next_start(unit);
    }
    None
}

#[derive(Default)]
struct Seen {
    h264: [u32; 3],
    h265: [u32; 4],
    mpeg2: [u32; 2],
    mpeg4: [u32; 2],
}

impl Seen {
    fn learn(&mut self, unit: &[u8]) -> Option<Codec> {
        let (first, second) = (*unit.first()?, unit.get(1).copied().unwrap_or(0));
        if first & 0x80 == 0 {
            match first & 0x1f {
                7 if codec::h264_sps(unit).is_some() => self.h264[0] += 1,
                8 => self.h264[1] += 1,
                5 => self.h264[2] += 4,
                1 => self.h264[2] += 1,
                _ => {}
            }
            match (first >> 1) & 0x3f {
                32 if second == 1 => self.h265[0] += 1,
                33 if codec::h265_sps(unit).is_some() => self.h265[1] += 1,
                34 if second == 1 => self.h265[2] += 1,
                16..=21 if second & 7 == 1 => self.h265[3] += 1,
                _ => {}
            }
        }
        match first {
            // In MPEG-4 the same code is a group of pictures.
            0xb3 if self.mpeg4[0] == 0 => self.mpeg2[0] += 1,
            0x00 => self.mpeg2[1] += 1,
            0x20..=0x2f => self.mpeg4[0] += 1,
            0xb6 => self.mpeg4[1] += 1,
            _ => {}
        }
        if self.mpeg2.iter().all(|n| *n > 0) {
            Some(Codec::Mpeg2)
        } else if self.mpeg4.iter().all(|n| *n > 0) {
            Some(Codec::Mpeg4)
        } else if self.h265.iter().all(|n| *n > 0) {
            Some(Codec::H265)
        } else if self.h264[0] > 0 && self.h264[1] > 0 && self.h264[2] > 3 {
            Some(Codec::H264)
        } else {
            None
        }
    }
}

/// A stream of start codes as one sample.
pub(crate) fn stream(codec: Codec, bytes: &[u8]) -> VideoStream<'_> {
    VideoStream {
        codec,
        private: &[],
        stated: (0, 0),
        samples: vec![bytes],
    }
}

/// A stream of AV1 units: begins with an empty temporal delimiter.
pub(crate) fn obu(bytes: &[u8]) -> Option<VideoStream<'_>> {
    bytes.strip_prefix(&[0x12, 0])?;
    codec::av1_obus(bytes)?;
    // Without a whole picture ffmpeg knows the stream and not its size.
    let codec = if codec::av1_picture(bytes) {
        Codec::Av1
    } else {
        Codec::Stated("av1")
    };
    Some(stream(codec, bytes))
}

/// IVF: a header that names codec and size, and frames with their lengths.
pub(crate) fn ivf(file: &[u8]) -> Option<VideoStream<'_>> {
    file.strip_prefix(b"DKIF\0\0")?;
    let codec = match file.get(8..12)? {
        b"VP80" => Codec::Vp8,
        b"VP90" => Codec::Vp9,
        b"AV01" => Codec::Av1,
        _ => Codec::Stated("unknown"),
    };
    let first = file.get(le16(file, 6)? as usize + 12..);
    if codec == Codec::Av1 && !first.is_some_and(codec::av1_picture) {
        return None;
    }
    Some(VideoStream {
        codec,
        private: &[],
        stated: (le16(file, 12)?, le16(file, 14)?),
        samples: first.into_iter().collect(),
    })
}

/// YUV4MPEG2: words in one line, `W` and `H` among them.
pub(crate) fn y4m(file: &[u8]) -> Option<VideoStream<'_>> {
    let words = file.strip_prefix(b"YUV4MPEG2 ")?;
    let line = words.split(|byte| *byte == b'\n').next()?;
    let side = |letter: u8| {
        line.split(|byte| *byte == b' ')
            .find_map(|word| word.strip_prefix(&[letter]))
            .and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok())
    };
    Some(VideoStream {
        codec: Codec::Stated("rawvideo"),
        private: &[],
        stated: (side(b'W')?, side(b'H')?),
        samples: Vec::new(),
    })
}

/// The size of an MPEG-1 or MPEG-2 sequence, and whether it is MPEG-2: the sequence header, then its extension.
pub(crate) fn mpeg2_sequence(bytes: &[u8]) -> Option<(codec::Size, bool)> {
    let mut found = None;
    for unit in annex_b(bytes) {
        match unit.first()? {
            0xb3 => {
                let (a, b, c) = (*unit.get(1)?, *unit.get(2)?, *unit.get(3)?);
                let width = u32::from(a) << 4 | u32::from(b) >> 4;
                let height = u32::from(b & 15) << 8 | u32::from(c);
                found = Some((width, height));
            }
            0xb5 if unit.get(1)? >> 4 == 1 => {
                let (width, height) = found?;
                let (a, b) = (*unit.get(2)?, *unit.get(3)?);
                let wide = u32::from(a & 1) << 1 | u32::from(b) >> 7;
                let high = u32::from(b >> 5 & 3);
                return Some(((width | wide << 12, height | high << 12), true));
            }
            _ if found.is_some() => break,
            _ => {}
        }
    }
    found.map(|size| (size, false))
}
