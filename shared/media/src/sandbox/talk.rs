//! What parent and child say to each other: postcard in frames of limited length over a socket pair.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nexis_protocol::picture::{Mark, PictureChecks, Sight};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::restrict::Isolation;
use crate::facts::Facts;
use crate::frames::{Budget, Frame};
use crate::probe::Probed;

/// First words of a child.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) isolation: Isolation,
    /// Plugin files in use, or why GStreamer could not be started.
    pub(crate) plugins: Result<Vec<String>, String>,
}

/// What is asked about the clip in the memfd that comes along.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Ask {
    /// Repeated in the answers.
    pub(crate) id: u64,
    /// Bytes of the clip.
    pub(crate) length: u64,
    /// Bytes of the first-frame asset, which follows the clip.
    pub(crate) asset: u64,
    /// How much of the pictures is looked at.
    pub(crate) sight: PictureChecks,
    /// Pictures wanted; with 0 only the size is answered.
    pub(crate) pictures: u8,
    /// Frames decoded at most.
    pub(crate) frames: u32,
    /// Pixels of one picture at most.
    pub(crate) pixels: u64,
    /// Milliseconds of decoding at most.
    pub(crate) time_ms: u64,
}

impl Ask {
    /// Pictures that have to be decoded.
    pub(crate) fn wanted(&self) -> usize {
        let looked_at = if self.sight == PictureChecks::All {
            ALL_PICTURES
        } else {
            0
        };
        usize::from(self.pictures.max(looked_at))
    }

    /// What decoding may cost.
    pub(crate) fn budget(&self) -> Budget {
        Budget {
            frames: self.frames,
            pixels: self.pixels,
            time: Duration::from_millis(self.time_ms),
        }
    }
}

/// Pictures that are looked at when all are: as many as a model sees (PROTOCOL §10).
const ALL_PICTURES: u8 = 6;

/// The answers to one ask, in this order: pictures only when they were asked for, sights only when these are looked at.
/// What no verdict depends on comes last, so that a child that dies of it has answered all else.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Size(u64, Result<Probed, NoSize>),
    Pictures(u64, Result<Vec<Frame>, String>),
    Facts(u64, Facts),
    /// The clip's first picture, and those from all over it as far as they were decoded.
    Sight(u64, Sight, Vec<Mark>),
    /// The first-frame asset.
    Asset(u64, Sight),
}

/// Why a clip has no size.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum NoSize {
    /// An allocation failed: with more memory there may be one.
    Memory,
    /// The decoders' words.
    Refused(String),
}

/// Why a frame could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TalkError {
    #[error("the other side has hung up")]
    Ended,
    #[error("the deadline has passed")]
    Deadline,
    #[error("the frame is longer than allowed")]
    TooLong,
    #[error("the frame makes no sense")]
    Garbled,
    #[error("could not read a frame")]
    Read(#[source] io::Error),
}

/// Reads one frame of at most `limit` bytes before `deadline`. Memory grows only with bytes that have come.
pub(crate) fn read_frame<T: DeserializeOwned>(
    stream: &mut UnixStream,
    limit: usize,
    deadline: Option<Instant>,
) -> Result<T, TalkError> {
    let mut prefix = Vec::new();
    fill(stream, &mut prefix, 4, deadline)?;
    let prefix: [u8; 4] = prefix.try_into().map_err(|_| TalkError::Garbled)?;
    let length = usize::try_from(u32::from_le_bytes(prefix)).map_err(|_| TalkError::TooLong)?;
    if length > limit {
        return Err(TalkError::TooLong);
    }
    let mut body = Vec::new();
    fill(stream, &mut body, length, deadline)?;
    match postcard::take_from_bytes(&body) {
        Ok((value, [])) => Ok(value),
        _ => Err(TalkError::Garbled),
    }
}

fn fill(
    stream: &mut UnixStream,
    into: &mut Vec<u8>,
    length: usize,
    deadline: Option<Instant>,
) -> Result<(), TalkError> {
    let mut piece = vec![0; length.min(256 * 1024)];
    while into.len() < length {
        if let Some(deadline) = deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(TalkError::Deadline);
            }
            stream
                .set_read_timeout(Some(left))
                .map_err(TalkError::Read)?;
        }
        let room = piece.len().min(length - into.len());
        match stream.read(&mut piece[..room]) {
            Ok(0) => return Err(TalkError::Ended),
            Ok(count) => into.extend_from_slice(&piece[..count]),
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                    return Err(TalkError::Deadline);
                }
                io::ErrorKind::ConnectionReset => return Err(TalkError::Ended),
                _ => return Err(TalkError::Read(error)),
            },
        }
    }
    Ok(())
}

fn framed<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    let body = postcard::to_stdvec(value).map_err(io::Error::other)?;
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    Ok([&length.to_le_bytes()[..], &body].concat())
}

/// Writes one frame.
pub(crate) fn write_frame<T: Serialize>(stream: &mut UnixStream, value: &T) -> io::Result<()> {
    stream.write_all(&framed(value)?)
}

/// Sends an ask and its clip. It is far smaller than a socket's buffer, so it goes in one piece or fails.
pub(crate) fn send_ask(stream: &UnixStream, ask: Ask, clip: &OwnedFd) -> io::Result<()> {
    let message = framed(&ask)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [clip.as_fd()];
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    let sent = rustix::net::sendmsg(
        stream,
        &[IoSlice::new(&message)],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    if sent == message.len() {
        Ok(())
    } else {
        Err(io::ErrorKind::WriteZero.into())
    }
}

/// Longest ask, bytes.
const ASK_LIMIT: usize = 256;

/// Waits for the next ask; `None` when the parent has hung up.
pub(crate) fn receive_ask(stream: &mut UnixStream) -> Result<Option<(Ask, OwnedFd)>, TalkError> {
    let mut first = [0; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = rustix::net::recvmsg(
        &*stream,
        &mut [IoSliceMut::new(&mut first)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )
    .map_err(|error| TalkError::Read(error.into()))?;
    if got.bytes == 0 {
        return Ok(None);
    }
    let mut clip = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            clip = descriptors.last().or(clip);
        }
    }
    let length = u32::from_le_bytes(first) as usize;
    if got.bytes != first.len() || length > ASK_LIMIT {
        return Err(TalkError::Garbled);
    }
    let mut body = Vec::new();
    fill(stream, &mut body, length, None)?;
    let ask = postcard::from_bytes(&body).map_err(|_| TalkError::Garbled)?;
    let clip = clip.ok_or(TalkError::Garbled)?;
    Ok(Some((ask, clip)))
}
