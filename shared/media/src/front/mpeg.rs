//! MPEG transport and program streams: the first video stream's bytes, taken out of their packets.

use super::codec::be16;
use super::raw;
use super::stream::Codec;

/// Bytes of a file that are looked at, as ffprobe does by default.
const LOOKED_AT: usize = 5_000_000;

/// A video stream without its container.
pub(crate) struct Elementary {
    /// `None` when the container does not say.
    pub(crate) codec: Option<Codec>,
    pub(crate) bytes: Vec<u8>,
}

/// Packet length and where the sync byte lies in each packet, for the three spellings of transport streams.
const LAYOUTS: [(usize, usize); 3] = [(188, 0), (192, 4), (204, 0)];

/// How a transport stream's packets lie, when the file is one.
pub(crate) fn transport_layout(file: &[u8]) -> Option<(usize, usize)> {
    LAYOUTS.into_iter().find(|(length, sync)| {
        file.len() >= length * 5 && (0..5).all(|n| file.get(n * length + sync) == Some(&0x47))
    })
}

struct Packet<'a> {
    id: u16,
    begins: bool,
    payload: &'a [u8],
}

fn packets(file: &[u8], (length, sync): (usize, usize)) -> impl Iterator<Item = Packet<'_>> {
    file.chunks(length).filter_map(move |chunk| {
        let packet = chunk.get(sync..chunk.len().min(sync + 188))?;
        let head: [u8; 4] = packet.get(..4)?.try_into().ok()?;
        if head[0] != 0x47 || head[3] & 0x10 == 0 {
            return None;
        }
        let adaptation = if head[3] & 0x20 == 0 {
            0
        } else {
            1 + usize::from(*packet.get(4)?)
        };
        Some(Packet {
            id: u16::from_be_bytes([head[1] & 0x1f, head[2]]),
            begins: head[1] & 0x40 != 0,
            payload: packet.get(4 + adaptation..)?,
        })
    })
}

/// The first video stream of a transport stream.
pub(crate) fn transport(file: &[u8], layout: (usize, usize)) -> Option<Elementary> {
    let file = &file[..file.len().min(LOOKED_AT)];
    let mut programs = None;
    let mut stream = None;
    for packet in packets(file, layout).filter(|packet| packet.begins) {
        if packet.id == 0 {
            programs = programs.or_else(|| first_program(packet.payload));
        } else if Some(packet.id) == programs {
            stream = first_stream(packet.payload);
        }
        if stream.is_some() {
            break;
        }
    }
    let (id, codec) = stream?;
    let mut bytes = Vec::new();
    for packet in packets(file, layout).filter(|packet| packet.id == id) {
        let payload = if packet.begins {
            after_header(packet.payload)
        } else {
            packet.payload
        };
        bytes.extend_from_slice(payload);
    }
    Some(Elementary {
        codec: Some(codec),
        bytes,
    })
}

/// The body of a table that begins in this packet.
fn table(payload: &[u8]) -> Option<&[u8]> {
    let section = payload.get(1 + usize::from(*payload.first()?)..)?;
    let length = be16(section, 1)? as usize & 0x0fff;
    let end = (3 + length).checked_sub(4)?.min(section.len());
    section.get(8..end)
}

fn first_program(payload: &[u8]) -> Option<u16> {
    table(payload)?.chunks_exact(4).find_map(|entry| {
        let program = be16(entry, 0)?;
        let id = u16::try_from(be16(entry, 2)? & 0x1fff).ok()?;
        (program != 0).then_some(id)
    })
}

fn first_stream(payload: &[u8]) -> Option<(u16, Codec)> {
    let table = table(payload)?;
    let mut at = 4 + (be16(table, 2)? as usize & 0x0fff);
    while let Some(&kind) = table.get(at) {
        let id = u16::try_from(be16(table, at + 1)? & 0x1fff).ok()?;
        let codec = match kind {
            0x01 | 0x02 => Some(Codec::Mpeg2),
            0x10 => Some(Codec::Mpeg4),
            0x1b => Some(Codec::H264),
            0x24 => Some(Codec::H265),
            _ => None,
        };
        if let Some(codec) = codec {
            return Some((id, codec));
        }
        at += 5 + (be16(table, at + 3)? as usize & 0x0fff);
    }
    None
}

/// What follows the header of a packetised elementary stream.
fn after_header(payload: &[u8]) -> &[u8] {
    let length = payload.get(8).map_or(usize::MAX, |n| 9 + usize::from(*n));
    payload.get(length..).unwrap_or_default()
}

/// The first video stream of a program stream.
pub(crate) fn program(file: &[u8]) -> Option<Elementary> {
    let file = &file[..file.len().min(LOOKED_AT)];
    let mut stream = None;
    let mut bytes = Vec::new();
    let mut at = 0;
    while let Some(rest) = file.get(at..) {
        let Some(code) = rest.strip_prefix(&[0, 0, 1]).and_then(<[u8]>::first) else {
            // Out of step: on to the next start code.
            let Some(next) = raw::next_start(rest.get(1..).unwrap_or_default()) else {
                break;
            };
            at = file.len() - next.len() - 3;
            continue;
        };
        let length = be16(rest, 4).map_or(usize::MAX, |n| 6 + n as usize);
        at = match code {
            0xba if rest.get(4).is_some_and(|b| b >> 6 == 1) => {
                at.saturating_add(14 + usize::from(rest.get(13).map_or(0, |b| b & 7)))
            }
            0xba => at + 12,
            0xb9 => at + 4,
            0xbb..=0xff => at.saturating_add(length),
            _ => at + 1,
        };
        if (0xe0..=0xef).contains(code) && *stream.get_or_insert(*code) == *code {
            let body = rest.get(6..length.min(rest.len())).unwrap_or_default();
            bytes.extend_from_slice(pack_payload(body));
        }
    }
    stream?;
    Some(Elementary { codec: None, bytes })
}

/// A packet's payload after the header of MPEG-2, or after the stuffing and time stamps of MPEG-1.
fn pack_payload(body: &[u8]) -> &[u8] {
    if body.first().is_some_and(|b| b & 0xc0 == 0x80) {
        let length = body.get(2).map_or(usize::MAX, |n| 3 + usize::from(*n));
        return body.get(length..).unwrap_or_default();
    }
    let stuffing = body.iter().take_while(|b| **b == 0xff).count();
    let mut rest = &body[stuffing..];
    if rest.first().is_some_and(|b| b & 0xc0 == 0x40) {
        rest = rest.get(2..).unwrap_or_default();
    }
    let stamps = match rest.first().map(|b| b >> 4) {
        Some(2) => 5,
        Some(3) => 10,
        _ => 1,
    };
    rest.get(stamps..).unwrap_or_default()
}
