//! The front parser: containers and parameter sets in safe Rust, without a pipeline.
//!
//! It settles MP4/QuickTime, Matroska/WebM and single pictures. It wins whenever it answers; only what it
//! leaves open goes to the GStreamer path of [`crate::probe()`].

mod bits;
mod codec;
mod matroska;
mod mp4;
mod stream;

use crate::probe::Probed;

/// What the front parser says about a file.
pub(crate) enum Front {
    /// Settled.
    Video(Probed),
    /// A container that was read whole and has no video stream.
    NoVideo,
    /// A container that another demuxer has to open.
    Other(Container),
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
    Ts,
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
    if file.starts_with(&[0x1a, 0x45, 0xdf, 0xa3]) {
        return Some(Container::Matroska);
    }
    if file.starts_with(b"RIFF") && file.get(8..11) == Some(b"AVI") {
        return Some(Container::Avi);
    }
    if file.starts_with(b"FLV\x01") {
        return Some(Container::Flv);
    }
    if codec::gif(file).is_some() {
        return Some(Container::Gif);
    }
    if codec::jpeg(file).is_some() || codec::png(file).is_some() {
        return Some(Container::Picture);
    }
    if file.len() >= 188 * 5 && (0..5).all(|n| file.get(n * 188) == Some(&0x47)) {
        return Some(Container::Ts);
    }
    None
}

/// Reads a whole file.
pub(crate) fn read(file: &[u8]) -> Front {
    let Some(container) = sniff(file) else {
        return Front::Unknown;
    };
    let found = match container {
        Container::Mp4 => mp4::first_video(file),
        Container::Matroska => matroska::first_video(file),
        Container::Gif => return picture(codec::gif(file), "gif"),
        Container::Picture => {
            return match codec::jpeg(file) {
                Some(size) => picture(Some(size), "mjpeg"),
                None => picture(codec::png(file), "png"),
            };
        }
        Container::Avi | Container::Flv | Container::Ts => return Front::Other(container),
    };
    match found {
        mp4::Found::Stream(stream) => {
            let (width, height) = stream.size();
            Front::Video(Probed {
                width,
                height,
                codec: stream.codec.name().to_owned(),
            })
        }
        mp4::Found::NoVideo => Front::NoVideo,
        mp4::Found::Unsettled => Front::Other(container),
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
