//! What libavformat makes of a clip: the library behind the ffprobe that other validators run, asked the way it asks.
//!
//! Called in a child of the pool only (the tests apart): this is C that reads hostile bytes. See docs/adr/0011.

use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::sync::Once;
use std::time::{Duration, Instant};

use ffmpeg_next as av;

mod memory;
pub(crate) mod pictures;
mod raw;

use memory::Watch;

use crate::facts::{Facts, MOST_SAMPLES};
use crate::probe::{ProbeError, Probed};
use crate::turn::Turn;

/// The name a clip has for other validators. It counts: a file that nothing else fits is tried as MP4 because of it.
const NAME: &str = "clip.mp4";

/// Loads what is set up at the first call, and keeps the library from writing to standard error.
pub(crate) fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| av::util::log::set_level(av::util::log::Level::Quiet));
}

/// A clip in memory. Every access is also a look whether memory has run short.
struct Source {
    bytes: Cursor<Vec<u8>>,
    memory: Watch,
}

impl Read for Source {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.memory.check();
        self.bytes.read(into)
    }
}

impl Seek for Source {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.memory.check();
        self.bytes.seek(to)
    }
}

/// Opens a clip and reads as much of it as ffprobe does to know its streams.
fn open(
    clip: &[u8],
    time: Duration,
    memory: &Watch,
) -> Result<av::format::context::Input, ProbeError> {
    init();
    let source = av::format::context::StreamIo::from_read_seek(Source {
        bytes: Cursor::new(clip.to_vec()),
        memory: memory.clone(),
    });
    let mut options = av::Dictionary::new();
    // No protocol has this name: whatever a clip names, playlists above all, cannot be opened.
    options.set("protocol_whitelist", "none");
    // As ffprobe does.
    options.set("scan_all_pmts", "1");
    let deadline = Instant::now() + time;
    let watch = memory.clone();
    let late = move || {
        watch.check();
        Instant::now() >= deadline
    };
    let opened = source.and_then(|source| {
        av::format::input_from_stream_with_interrupt(source, Some(NAME), Some(options), late)
    });
    memory.check();
    opened.map_err(|error| match error {
        av::Error::Exit => ProbeError::Deadline,
        _ => ProbeError::UnknownContainer,
    })
}

/// Size and codec of the first video stream.
///
/// libavformat goes on without what it had no memory for, and says something else then. So whatever it said counts
/// only when every allocation succeeded.
pub(crate) fn probe(clip: &[u8], time: Duration) -> Result<Probed, ProbeError> {
    let memory = Watch::begin();
    let found = probe_watched(clip, time, &memory);
    memory.check();
    if memory.ran_short() {
        return Err(ProbeError::Memory);
    }
    found
}

fn probe_watched(clip: &[u8], time: Duration, memory: &Watch) -> Result<Probed, ProbeError> {
    let input = open(clip, time, memory)?;
    let mut first = None;
    for stream in input.streams() {
        let parameters = stream.parameters();
        let codec = parameters.id();
        if first.is_none() && parameters.medium() == av::media::Type::Video {
            first = Some(size(parameters.clone()).ok_or(ProbeError::Decoder)?);
        }
        // ffprobe gives up when the decoder of any stream refuses its settings; where there is no decoder it goes on.
        if let Some(decoder) = av::codec::decoder::find(codec) {
            let context = av::codec::Context::from_parameters(parameters);
            let mut context = context.map_err(|_| ProbeError::Decoder)?.decoder();
            context.set_packet_time_base(stream.time_base());
            context.open_as(decoder).map_err(|_| ProbeError::Decoder)?;
            memory.check();
        }
    }
    first.ok_or(ProbeError::NoVideo)
}

/// How the pictures of the first video stream are turned before they are shown.
pub(crate) fn turn(clip: &[u8], time: Duration) -> Turn {
    let input = open(clip, time, &Watch::begin());
    input.map_or(Turn::default(), |input| turn_of(&input))
}

fn turn_of(input: &av::format::context::Input) -> Turn {
    let mut streams = input.streams();
    let video = streams.find(|stream| stream.parameters().medium() == av::media::Type::Video);
    let matrix = video.and_then(|video| {
        let mut all = video.side_data();
        let found =
            all.find(|data| data.kind() == av::codec::packet::side_data::Type::DisplayMatrix);
        found.map(|data| data.data().to_vec())
    });
    matrix.map_or(Turn::default(), |matrix| Turn::from_matrix(&matrix))
}

/// What the container's parameters say. Nothing is encoded: it is the one way to read them that needs no `unsafe`.
fn size(parameters: av::codec::Parameters) -> Option<Probed> {
    let codec = parameters.id().name().to_owned();
    let context = av::codec::Context::from_parameters(parameters).ok()?;
    let video = context.encoder().video().ok()?;
    Some(Probed {
        width: video.width(),
        height: video.height(),
        codec,
    })
}

/// What the packets say: their number, the time from the first to the last, and whether there is sound.
pub(crate) fn facts(clip: &[u8], time: Duration) -> Option<Facts> {
    let deadline = Instant::now() + time;
    let mut input = open(clip, time, &Watch::begin()).ok()?;
    let of = |kind| -> Vec<usize> {
        let streams = input.streams();
        let streams = streams.filter(|stream| stream.parameters().medium() == kind);
        streams.map(|stream| stream.index()).collect()
    };
    let video = *of(av::media::Type::Video).first()?;
    let sound = of(av::media::Type::Audio);
    let unit = f64::from(input.stream(video)?.time_base());
    let (mut frames, mut has_audio) = (0u64, false);
    let mut shown: Option<(i64, i64)> = None;
    let mut timed = true;
    // As ffprobe counts: the first error ends the file.
    loop {
        let mut packet = av::Packet::empty();
        if packet.read(&mut input).is_err() {
            break;
        }
        if frames >= MOST_SAMPLES || Instant::now() >= deadline {
            return None;
        }
        has_audio |= sound.contains(&packet.stream());
        if packet.stream() != video {
            continue;
        }
        frames += 1;
        match packet.pts().or(packet.dts()) {
            Some(at) => {
                let (begin, end) = shown.unwrap_or((at, at));
                shown = Some((begin.min(at), end.max(at)));
            }
            None => timed = false,
        }
    }
    let between = shown.filter(|_| timed && frames > 1);
    let between = between.map(|(begin, end)| end.saturating_sub(begin) as f64 * unit);
    let duration = between.map(|between| between * frames as f64 / (frames - 1) as f64);
    let duration = duration.filter(|length| *length > 0.0 && length.is_finite());
    Some(Facts {
        duration_sec: duration,
        fps: duration.map(|duration| frames as f64 / duration),
        frames: Some(frames),
        has_audio: Some(has_audio),
    })
}
