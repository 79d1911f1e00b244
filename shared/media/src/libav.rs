//! What libavformat makes of a clip: the library behind the ffprobe that other validators run, asked the way it asks.
//!
//! Called in a child of the pool only (the tests apart): this is C that reads hostile bytes. See docs/adr/0011.

use std::io::Cursor;
use std::sync::Once;
use std::time::{Duration, Instant};

use ffmpeg_next as av;

use crate::facts::{Facts, MOST_SAMPLES};
use crate::probe::{ProbeError, Probed};

/// The name a clip has for other validators. It counts: a file that nothing else fits is tried as MP4 because of it.
const NAME: &str = "clip.mp4";

/// Loads what is set up at the first call, and keeps the library from writing to standard error.
pub(crate) fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| av::util::log::set_level(av::util::log::Level::Quiet));
}

/// Opens a clip and reads as much of it as ffprobe does to know its streams.
fn open(clip: &[u8], time: Duration) -> Result<av::format::context::Input, ProbeError> {
    init();
    let bytes = Cursor::new(clip.to_vec());
    let source = av::format::context::StreamIo::from_read_seek(bytes);
    let mut options = av::Dictionary::new();
    // No protocol has this name: whatever a clip names, playlists above all, cannot be opened.
    options.set("protocol_whitelist", "none");
    // As ffprobe does.
    options.set("scan_all_pmts", "1");
    let deadline = Instant::now() + time;
    let late = move || Instant::now() >= deadline;
    source
        .and_then(|source| {
            av::format::input_from_stream_with_interrupt(source, Some(NAME), Some(options), late)
        })
        .map_err(|error| match error {
            av::Error::Exit => ProbeError::Deadline,
            _ => ProbeError::UnknownContainer,
        })
}

/// Size and codec of the first video stream.
pub(crate) fn probe(clip: &[u8], time: Duration) -> Result<Probed, ProbeError> {
    let input = open(clip, time)?;
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
        }
    }
    first.ok_or(ProbeError::NoVideo)
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
    let mut input = open(clip, time).ok()?;
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
