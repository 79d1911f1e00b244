//! What is known of a clip in safe Rust, without a demuxer in C: its container by its first bytes, and the size of an
//! ordinary MP4.

mod bits;
pub(crate) mod codec;
pub(crate) mod matroska;
pub(crate) mod mp4;
mod ordinary;
#[cfg(test)]
mod tests;
mod units;

use crate::probe::Probed;

pub(crate) use units::{annex_b, prefixed};

/// Containers that pictures and facts are read from, told apart by their first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Container {
    Mp4,
    Matroska,
    Avi,
    Flv,
    Transport,
    Gif,
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
    if file.starts_with(b"FLV\x01") {
        return Some(Container::Flv);
    }
    if file.starts_with(b"RIFF") && file.get(8..11) == Some(b"AVI") {
        return Some(Container::Avi);
    }
    if file.starts_with(b"GIF87a") || file.starts_with(b"GIF89a") {
        return Some(Container::Gif);
    }
    is_transport(file).then_some(Container::Transport)
}

/// Packet length and where the sync byte lies in each packet, for the three spellings of transport streams.
const LAYOUTS: [(usize, usize); 3] = [(188, 0), (192, 4), (204, 0)];

fn is_transport(file: &[u8]) -> bool {
    LAYOUTS.into_iter().any(|(length, sync)| {
        file.len() >= length * 5 && (0..5).all(|n| file.get(n * length + sync) == Some(&0x47))
    })
}

/// The first video stream of an ordinary MP4; `None` for all other files.
pub(crate) fn settled(file: &[u8]) -> Option<Probed> {
    let (width, height) = ordinary::size(file)?;
    Some(Probed {
        width,
        height,
        codec: "h264".to_owned(),
    })
}
