//! The child's side: lock up, say hello, answer until the parent hangs up.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nexis_protocol::picture::{PictureChecks, Sight};

use rustix::buffer::spare_capacity;

use super::CHILD_ARGUMENT;
use super::restrict::{self, Layers};
use super::talk::{Answer, Ask, Hello, NoSize, receive_ask, write_frame};
use crate::facts;
use crate::frames;
use crate::libav;
use crate::pipeline;
use crate::probe::{ProbeError, probe};
use crate::sight;

/// Runs this process as a child of a [`crate::Pool`] when it was started as one, and gives its exit code.
///
/// The first thing `main` does in every program that starts a pool: a child must not look at anything else.
pub fn child_main() -> Option<i32> {
    child_main_with(Layers::default(), &mut |_, _| false)
}

/// [`child_main`] for tests: `before` sees each clip and the wire, and says whether it has dealt with it.
#[doc(hidden)]
pub fn child_main_with(
    layers: Layers,
    before: &mut dyn FnMut(&[u8], &mut UnixStream) -> bool,
) -> Option<i32> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().as_deref() != Some(OsStr::new(CHILD_ARGUMENT)) {
        return None;
    }
    let address_space = arguments
        .next()
        .and_then(|word| word.to_str()?.parse().ok());
    let served = address_space.map(|bytes| serve(layers, bytes, before));
    Some(i32::from(!matches!(served, Some(Ok(())))))
}

fn serve(
    layers: Layers,
    address_space: u64,
    before: &mut dyn FnMut(&[u8], &mut UnixStream) -> bool,
) -> io::Result<()> {
    let mut stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let lifeline = UnixStream::from(io::stdout().as_fd().try_clone_to_owned()?);
    // Decoding gives way to the worker's own tasks, which must not miss a broker's or a board's heartbeat.
    rustix::process::nice(5).ok();
    let mut isolation = restrict::before_plugins(layers);
    die_with_parent(lifeline)?;
    libav::init();
    let plugins = pipeline::init_listed()
        .map(|()| pipeline::known_plugins())
        .map_err(|error| in_words(&error));
    restrict::before_input(layers, address_space, &mut isolation);
    write_frame(&mut stream, &Hello { isolation, plugins })?;
    while let Some((ask, clip)) = receive_ask(&mut stream).map_err(io::Error::other)? {
        let bytes = read_clip(&clip, ask.length.saturating_add(ask.asset))?;
        let (clip, asset) = bytes.split_at(usize::try_from(ask.length).map_err(io::Error::other)?);
        if !before(clip, &mut stream) {
            let asset_wanted = answer(&mut stream, ask, clip)?;
            if asset_wanted && !before(asset, &mut stream) {
                let seen = sight::asset(asset, ask.budget());
                write_frame(&mut stream, &Answer::Asset(ask.id, seen))?;
            }
        }
    }
    Ok(())
}

/// Wall time that finding a size may take. It is long because the size decides, and must not be another one where the
/// machine is busy: what ends a clip that takes too much is the bound on processor time.
const SIZE_TIME: Duration = Duration::from_secs(150);

/// Answers all that is asked about the clip itself, and says whether the asset is to be looked at.
fn answer(stream: &mut UnixStream, ask: Ask, clip: &[u8]) -> io::Result<bool> {
    let budget = ask.budget();
    let size = probe(clip, SIZE_TIME).map_err(|error| match error {
        ProbeError::Memory => NoSize::Memory,
        other => NoSize::Refused(in_words(&other)),
    });
    let readable = size.is_ok();
    write_frame(stream, &Answer::Size(ask.id, size))?;
    let wanted = ask.wanted();
    let picked = if wanted > 0 {
        frames::picked(clip, wanted, budget, readable)
    } else {
        Ok(Vec::new())
    };
    if ask.pictures > 0 {
        let found = match &picked {
            Ok(picked) => frames::encode(picked, budget).map_err(|error| in_words(&error)),
            Err(error) => Err(in_words(error)),
        };
        write_frame(stream, &Answer::Pictures(ask.id, found))?;
    }
    write_frame(
        stream,
        &Answer::Facts(ask.id, facts::all(clip, readable, budget.time)),
    )?;
    if ask.sight == PictureChecks::Off {
        return Ok(false);
    }
    let marks = sight::marks(&picked.unwrap_or_default());
    let first = if readable {
        sight::first(clip, budget)
    } else {
        Sight::NotLooked
    };
    write_frame(stream, &Answer::Sight(ask.id, first, marks))?;
    Ok(ask.asset > 0)
}

/// Copies the clip out of its memfd, so that nothing outside can change it under the decoders.
fn read_clip(file: &OwnedFd, length: u64) -> io::Result<Vec<u8>> {
    let length = usize::try_from(length).map_err(io::Error::other)?;
    let mut clip = Vec::with_capacity(length);
    while clip.len() < length {
        let at = clip.len() as u64;
        // What the file has beyond the length that was told is not looked at.
        match rustix::io::pread(file, spare_capacity(&mut clip), at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    clip.truncate(length);
    Ok(clip)
}

/// Ends this process as soon as the parent's end of `lifeline` is closed, whatever is being decoded.
fn die_with_parent(mut lifeline: UnixStream) -> io::Result<()> {
    std::thread::Builder::new()
        .name("lifeline".to_owned())
        .spawn(move || {
            // Nothing is ever sent: any return means that the parent is gone.
            lifeline.read_exact(&mut [0]).ok();
            std::process::abort();
        })?;
    Ok(())
}

/// An error and its sources in one line.
fn in_words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    words
}
