//! The front parser: containers and parameter sets in safe Rust, without a pipeline.
//!
//! It alone says what size a clip has; no decoder and no demuxer in C has a part in that.

mod asf;
mod avi;
mod bits;
pub(crate) mod codec;
mod flv;
pub(crate) mod matroska;
pub(crate) mod mp4;
mod mpeg;
mod ogg;
mod raw;
mod stream;

use crate::probe::Probed;
use stream::{Codec, Found, VideoStream};

pub(crate) use stream::{annex_b, prefixed};

/// What the front parser says about a file.
pub(crate) enum Front {
    /// Settled.
    Video(Probed),
    /// A container that was read whole and has no video stream.
    NoVideo,
    /// Nothing that is known.
    Unknown,
}

/// Containers told apart by their first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Container {
    Mp4,
    Matroska,
    Avi,
    Flv,
    Asf,
    Ogg,
    /// Packet length, and where the sync byte lies in a packet.
    Transport(usize, usize),
    Program,
    Ivf,
    Y4m,
    Av1Units,
    /// A stream of start codes without a container.
    Elementary(Codec),
    Gif,
    Picture,
}

/// Names the container by its first bytes; the file's name plays no part.
pub(crate) fn sniff(file: &[u8]) -> Option<Container> {
    let kind = file.get(4..8);
    let mp4: [&[u8]; 9] = [
        b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"moof", b"styp", b"pnot",
    ];
    if kind.is_some_and(|kind| mp4.contains(&kind)) {
        return Some(Container::Mp4);
    }
    let magic: [(&[u8], Container); 7] = [
        (&[0x1a, 0x45, 0xdf, 0xa3], Container::Matroska),
        (b"FLV\x01", Container::Flv),
        (&asf::MAGIC, Container::Asf),
        (b"OggS", Container::Ogg),
        (b"DKIF", Container::Ivf),
        (b"YUV4MPEG2 ", Container::Y4m),
        (&[0, 0, 1, 0xba], Container::Program),
    ];
    if let Some(found) = magic.iter().find(|found| file.starts_with(found.0)) {
        return Some(found.1);
    }
    if file.starts_with(b"RIFF") && file.get(8..11) == Some(b"AVI") {
        return Some(Container::Avi);
    }
    if codec::gif(file).is_some() {
        return Some(Container::Gif);
    }
    if codec::jpeg(file).is_some() || codec::is_png(file) {
        return Some(Container::Picture);
    }
    if let Some((length, sync)) = mpeg::transport_layout(file) {
        return Some(Container::Transport(length, sync));
    }
    if raw::obu(file).is_some() {
        return Some(Container::Av1Units);
    }
    raw::kind(file).map(Container::Elementary)
}

/// Reads a whole file.
pub(crate) fn read(file: &[u8]) -> Front {
    let Some(container) = sniff(file) else {
        return Front::Unknown;
    };
    let found = match container {
        Container::Mp4 => mp4::first_video(file),
        Container::Matroska => matroska::first_video(file),
        Container::Avi => avi::first_video(file),
        Container::Flv => flv::first_video(file),
        Container::Asf => asf::first_video(file),
        Container::Ogg => ogg::first_video(file),
        Container::Transport(length, sync) => {
            return elementary(mpeg::transport(file, (length, sync)));
        }
        Container::Program => return elementary(mpeg::program(file)),
        Container::Ivf => settled(raw::ivf(file)),
        Container::Y4m => settled(raw::y4m(file)),
        Container::Av1Units => settled(raw::obu(file)),
        Container::Elementary(codec) => Found::Stream(raw::stream(codec, file)),
        Container::Gif => return picture(codec::gif(file), "gif"),
        Container::Picture => {
            return match codec::jpeg(file) {
                Some(size) => picture(Some(size), "mjpeg"),
                None => picture(codec::png(file).or(Some((0, 0))), "png"),
            };
        }
    };
    match found {
        Found::Stream(stream) => Front::Video(stream.probed()),
        Found::NoVideo => Front::NoVideo,
        Found::Unsettled => Front::Unknown,
    }
}

fn settled(stream: Option<VideoStream<'_>>) -> Found<'_> {
    stream.map_or(Found::Unsettled, Found::Stream)
}

/// A stream out of MPEG packets; where the container does not name it, it is named by its start codes.
fn elementary(stream: Option<mpeg::Elementary>) -> Front {
    let Some(stream) = stream else {
        return Front::NoVideo;
    };
    match stream.codec.or_else(|| raw::kind(&stream.bytes)) {
        Some(codec) => Front::Video(raw::stream(codec, &stream.bytes).probed()),
        None => Front::NoVideo,
    }
}

fn picture(size: Option<codec::Size>, name: &str) -> Front {
    size.map_or(Front::Unknown, |(width, height)| {
        Front::Video(Probed {
            width,
            height,
            codec: name.to_owned(),
        })
    })
}
