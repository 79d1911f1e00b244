//! GStreamer pipelines over bytes in memory: built in code from a closed list of elements.

use std::cell::Cell;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as app;

use crate::front::Container;

/// Elements that may be built; no other factory is ever asked for.
pub const ELEMENTS: &[&str] = &[
    "appsrc",
    "appsink",
    "capsfilter",
    "videoconvert",
    "jpegenc",
    "qtdemux",
    "matroskademux",
    "avidemux",
    "flvdemux",
    "tsdemux",
    "avdemux_gif",
    "avdec_gif",
    "h264parse",
    "h265parse",
    "vp9parse",
    "av1parse",
    "mpeg4videoparse",
    "mpegvideoparse",
    "jpegparse",
    "avdec_h264",
    "avdec_h265",
    "vp8dec",
    "vp9dec",
    "av1dec",
    "avdec_mpeg4",
    "avdec_mpeg2video",
    "jpegdec",
    "pngdec",
    "webpdec",
];

/// Why a pipeline gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// GStreamer could not be started.
    #[error("could not start GStreamer: install its core and base plugins")]
    Init(#[source] Arc<gst::glib::Error>),
    /// A plugin of the list is not installed.
    #[error("element {0} is missing: install the GStreamer good, bad and libav plugins")]
    Missing(&'static str),
    /// No element of the list handles the stream.
    #[error("no listed element handles {0}")]
    Unsupported(String),
    /// The elements refused the bytes.
    #[error("pipeline refused the bytes")]
    Refused,
    /// The wall clock budget was used up.
    #[error("pipeline used up its time")]
    Deadline,
    /// A picture is larger than the budget.
    #[error("picture of {0}x{1} is over the budget")]
    TooLarge(u32, u32),
}

impl PipelineError {
    /// Whether something else may read what the listed elements did not.
    pub(crate) fn may_be_read_otherwise(&self) -> bool {
        match self {
            Self::Unsupported(_) | Self::Refused => true,
            Self::Init(_) | Self::Missing(_) | Self::Deadline | Self::TooLarge(..) => false,
        }
    }
}

/// The plugin files that hold [`ELEMENTS`], as `libgst{name}.so`.
pub const PLUGINS: &[&str] = &[
    "coreelements",
    "app",
    "videoconvertscale",
    "jpeg",
    "isomp4",
    "matroska",
    "avi",
    "flv",
    "mpegtsdemux",
    "videoparsersbad",
    "jpegformat",
    "libav",
    "vpx",
    "aom",
    "png",
    "webp",
];

/// Where distributions keep GStreamer's plugins; the first that exists is used.
pub(crate) const PLUGIN_FOLDERS: &[&str] = &[
    "/usr/local/lib/gstreamer-1.0",
    "/usr/lib/x86_64-linux-gnu/gstreamer-1.0",
    "/usr/lib/aarch64-linux-gnu/gstreamer-1.0",
    "/usr/lib64/gstreamer-1.0",
    "/usr/lib/gstreamer-1.0",
];

/// Starts GStreamer once in this process, with the plugin registry of this process's environment.
///
/// GStreamer may then scan its plugin folders, fork its scanner and write its registry file, as in any
/// program. Only [`ELEMENTS`] are ever built here. The children of [`crate::Pool`] do not use this: they start
/// with an empty plugin path and load the files of [`PLUGINS`], nothing else.
pub fn init() -> Result<(), PipelineError> {
    static STARTED: OnceLock<Result<(), Arc<gst::glib::Error>>> = OnceLock::new();
    STARTED
        .get_or_init(|| gst::init().map_err(Arc::new))
        .clone()
        .map_err(PipelineError::Init)
}

/// Starts GStreamer and loads the files of [`PLUGINS`] by name.
///
/// Called where the environment has emptied the plugin path and switched the registry off, so that what is
/// loaded here is all there is. Fails when an element of the list is missing afterwards.
pub(crate) fn init_listed() -> Result<(), PipelineError> {
    init()?;
    let folder = PLUGIN_FOLDERS
        .iter()
        .map(Path::new)
        .find(|folder| folder.join("libgstcoreelements.so").is_file());
    if let Some(folder) = folder {
        for plugin in PLUGINS {
            // Some releases keep an element in another file of the list; what counts is checked below.
            gst::Plugin::load_file(folder.join(format!("libgst{plugin}.so"))).ok();
        }
    }
    for name in ELEMENTS {
        let factory = gst::ElementFactory::find(name).ok_or(PipelineError::Missing(name))?;
        factory.load().map_err(|_| PipelineError::Missing(name))?;
    }
    Ok(())
}

/// Names of the plugin files that GStreamer knows of, without the ones built into its core.
pub(crate) fn known_plugins() -> Vec<String> {
    gst::Registry::get()
        .plugins()
        .iter()
        .filter_map(gst::Plugin::filename)
        .filter_map(|file| {
            Some(
                file.file_stem()?
                    .to_str()?
                    .trim_start_matches("libgst")
                    .to_owned(),
            )
        })
        .collect()
}

/// Builds one element of [`ELEMENTS`].
pub(crate) fn element(name: &'static str) -> Result<gst::Element, PipelineError> {
    debug_assert!(ELEMENTS.contains(&name), "only listed elements are built");
    gst::ElementFactory::make(name)
        .build()
        .map_err(|_| PipelineError::Missing(name))
}

/// What makes I420 of any decoded picture.
pub(crate) fn to_i420() -> Result<[gst::Element; 2], PipelineError> {
    let filter = element("capsfilter")?;
    let caps = gst::Caps::builder("video/x-raw");
    filter.set_property("caps", caps.field("format", "I420").build());
    Ok([element("videoconvert")?, filter])
}

/// A pipeline that is set to null on every way out.
pub(crate) struct Running(pub(crate) gst::Pipeline);

impl Drop for Running {
    fn drop(&mut self) {
        // Nothing can be done about a failure, and the pipeline is dropped anyway.
        self.0.set_state(gst::State::Null).ok();
    }
}

impl Running {
    /// Fails when the bus holds an error.
    pub(crate) fn check(&self) -> Result<(), PipelineError> {
        let error = self
            .0
            .bus()
            .and_then(|bus| bus.pop_filtered(&[gst::MessageType::Error]));
        error.map_or(Ok(()), |_| Err(PipelineError::Refused))
    }
}

/// Most zeros that are served after the end of a clip that breaks off inside a fragment.
const MAX_MISSING_BYTES: usize = 16 << 20;

/// Bytes that are missing from the last box of a fragmented MP4 that breaks off. qtdemux gives none of a fragment's
/// pictures unless all of it is there, ffmpeg gives those before the break; with zeros in place of what is missing
/// qtdemux goes on, and the decoder refuses the pictures that are only zeros.
fn missing_bytes(clip: &[u8], container: Container) -> usize {
    if container != Container::Mp4 {
        return 0;
    }
    let (mut at, mut fragmented) = (0usize, false);
    while let Some(header) = clip.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let [a, b, c, d, kind @ ..] = *header;
        fragmented |= &kind == b"moof";
        let size = match u32::from_be_bytes([a, b, c, d]) {
            1 => match clip.get(at + 8..).and_then(|rest| rest.first_chunk::<8>()) {
                Some(large) => usize::try_from(u64::from_be_bytes(*large)).unwrap_or(usize::MAX),
                None => return 0,
            },
            size => size as usize,
        };
        if size < 8 {
            return 0; // To the end of the file, or nonsense.
        }
        at = at.saturating_add(size);
    }
    let missing = at.saturating_sub(clip.len());
    if fragmented && missing <= MAX_MISSING_BYTES {
        missing
    } else {
        0
    }
}

/// A source that serves `clip`, and `missing` zeros after it, at any offset.
fn source(clip: Arc<[u8]>, missing: usize) -> Result<gst::Element, PipelineError> {
    let element = element("appsrc")?;
    let source = element
        .clone()
        .downcast::<app::AppSrc>()
        .map_err(|_| PipelineError::Missing("appsrc"))?;
    source.set_stream_type(app::AppStreamType::RandomAccess);
    let length = clip.len() + missing;
    source.set_size(i64::try_from(length).map_err(|_| PipelineError::Refused)?);
    source.set_format(gst::Format::Bytes);
    let place = Arc::new(AtomicUsize::new(0));
    let seek_place = Arc::clone(&place);
    source.set_callbacks(
        app::AppSrcCallbacks::builder()
            .need_data(move |source, wanted| {
                let at = place.load(Ordering::SeqCst);
                // A demuxer that pulls must get exactly what it asks for; `u32::MAX` is one that is fed.
                let wanted = if wanted == u32::MAX {
                    65_536
                } else {
                    wanted.max(1) as usize
                };
                let end = at.saturating_add(wanted).min(length);
                // A refused push means that the pipeline is being stopped.
                if at >= end {
                    source.end_of_stream().ok();
                } else {
                    place.store(end, Ordering::SeqCst);
                    let mut piece = clip
                        .get(at..end.min(clip.len()))
                        .unwrap_or_default()
                        .to_vec();
                    piece.resize(end - at, 0);
                    let mut buffer = gst::Buffer::from_slice(piece);
                    if let Some(buffer) = buffer.get_mut() {
                        buffer.set_offset(at as u64);
                    }
                    source.push_buffer(buffer).ok();
                }
            })
            .seek_data(move |_, offset| {
                let at = usize::try_from(offset).unwrap_or(usize::MAX);
                seek_place.store(at, Ordering::SeqCst);
                at <= length
            })
            .build(),
    );
    Ok(element)
}

fn demuxer(container: Container) -> Result<gst::Element, PipelineError> {
    element(match container {
        Container::Mp4 => "qtdemux",
        Container::Matroska => "matroskademux",
        Container::Avi => "avidemux",
        Container::Flv => "flvdemux",
        Container::Transport => "tsdemux",
        Container::Gif => "avdemux_gif",
    })
}

/// Parser and decoder for the caps of a demuxed stream.
fn chain(caps: &gst::StructureRef) -> Option<(Option<&'static str>, &'static str)> {
    Some(match caps.name().as_str() {
        "video/x-h264" => (Some("h264parse"), "avdec_h264"),
        "video/x-h265" => (Some("h265parse"), "avdec_h265"),
        "video/x-vp8" => (None, "vp8dec"),
        "video/x-vp9" => (Some("vp9parse"), "vp9dec"),
        "video/x-av1" => (Some("av1parse"), "av1dec"),
        "image/jpeg" => (Some("jpegparse"), "jpegdec"),
        "image/gst-libav-gif" => (None, "avdec_gif"),
        "video/mpeg" => match caps.get::<i32>("mpegversion") {
            Ok(4) => (Some("mpeg4videoparse"), "avdec_mpeg4"),
            _ => (Some("mpegvideoparse"), "avdec_mpeg2video"),
        },
        "video/x-divx" => (Some("mpeg4videoparse"), "avdec_mpeg4"),
        _ => return None,
    })
}

/// The first video stream of a clip on its way into a sink.
pub(crate) struct Opened {
    _running: Running,
    sink: app::AppSink,
    /// How linking the video stream ended, once there is one.
    linked: Receiver<Result<(), PipelineError>>,
    /// There is a video stream, and it is linked to the sink.
    flows: Cell<bool>,
    /// The pads whose tasks drive everything: the demuxer's when it pulls, the source's when the demuxer is fed.
    drivers: [gst::Pad; 2],
}

/// How far the first video stream is taken.
pub(crate) enum Stage {
    /// Parsed into whole coded pictures of this kind; a stream of another kind is refused.
    Parsed(&'static str),
    /// Decoded, all of it.
    Decoded,
    /// Decoded as far as a plan says.
    Chosen(Gate),
}

/// What a decoder is fed, and what is taken from it.
pub(crate) struct Gate {
    /// Whether each coded picture is fed to the decoder; behind the last one the stream ends.
    pub(crate) feed: Vec<bool>,
    /// Nanoseconds at which the pictures that are taken are shown.
    pub(crate) show: Vec<u64>,
}

impl Gate {
    /// Stands before and behind `decoder`.
    fn put_around(self, decoder: &gst::Element) -> Option<()> {
        let place = AtomicUsize::new(0);
        let Self { feed, show } = self;
        let before = decoder.static_pad("sink")?;
        before.add_probe(gst::PadProbeType::BUFFER, move |pad, _| {
            let place = place.fetch_add(1, Ordering::Relaxed);
            if place == feed.len() {
                // The decoder gives what it holds; upstream learns from the next refused buffer that this is all.
                pad.send_event(gst::event::Eos::new());
            }
            match feed.get(place) {
                Some(true) => gst::PadProbeReturn::Ok,
                _ => gst::PadProbeReturn::Drop,
            }
        })?;
        let segment = Mutex::new(None);
        let behind = decoder.static_pad("src")?;
        let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
        behind.add_probe(kinds, move |_, info| {
            let mut segment = segment.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(gst::EventView::Segment(event)) = info.event().map(|event| event.view()) {
                *segment = event.segment().downcast_ref::<gst::ClockTime>().cloned();
            }
            let Some(buffer) = info.buffer() else {
                return gst::PadProbeReturn::Ok;
            };
            let at = segment
                .as_ref()
                .and_then(|s| s.to_running_time(buffer.pts()?));
            if at.is_some_and(|at| show.contains(&at.nseconds())) {
                gst::PadProbeReturn::Ok
            } else {
                gst::PadProbeReturn::Drop
            }
        })?;
        Some(())
    }
}

/// Builds source, demuxer, parser and (but for [`Stage::Parsed`]) decoder; the pipeline plays when this returns.
pub(crate) fn open(
    clip: &[u8],
    container: Container,
    stage: Stage,
) -> Result<Opened, PipelineError> {
    init()?;
    let pipeline = gst::Pipeline::new();
    let running = Running(pipeline.clone());
    let missing = missing_bytes(clip, container);
    let (source, demux) = (source(Arc::from(clip), missing)?, demuxer(container)?);
    let sink = app::AppSink::builder().sync(false).max_buffers(2).build();
    if let Stage::Parsed(kind) = stage {
        let whole = gst::Caps::builder(kind).field("alignment", "au");
        sink.set_caps(Some(&whole.build()));
    }
    let refused = |_| PipelineError::Refused;
    pipeline
        .add_many([&source, &demux, sink.upcast_ref()])
        .map_err(refused)?;
    source.link(&demux).map_err(refused)?;
    let driver =
        |element: &gst::Element, name| element.static_pad(name).ok_or(PipelineError::Refused);
    let drivers = [driver(&source, "src")?, driver(&demux, "sink")?];
    let (told, linked) = sync_channel(1);
    let (weak, target) = (pipeline.downgrade(), sink.clone());
    let stage = Mutex::new(Some(stage));
    demux.connect_pad_added(move |_, pad| {
        let Some(pipeline) = weak.upgrade() else {
            return;
        };
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let Some(caps) = caps.structure(0) else {
            return;
        };
        let video = caps.name().starts_with("video/") || caps.name().starts_with("image/");
        if !video {
            return;
        }
        let first = stage.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(stage) = first else {
            return;
        };
        // The channel has room for the one answer; a second never comes.
        told.try_send(link(&pipeline, pad, caps, target.upcast_ref(), stage))
            .ok();
    });
    pipeline
        .set_state(gst::State::Playing)
        .map_err(|_| PipelineError::Refused)?;
    Ok(Opened {
        _running: running,
        sink,
        linked,
        flows: Cell::new(false),
        drivers,
    })
}

fn link(
    pipeline: &gst::Pipeline,
    pad: &gst::Pad,
    caps: &gst::StructureRef,
    sink: &gst::Element,
    stage: Stage,
) -> Result<(), PipelineError> {
    let unsupported = || PipelineError::Unsupported(caps.name().to_string());
    let (parser, decoder) = chain(caps).ok_or_else(unsupported)?;
    let mut elements = Vec::new();
    if let Some(parser) = parser {
        elements.push(element(parser)?);
    }
    if !matches!(stage, Stage::Parsed(_)) {
        let decoder = element(decoder)?;
        if decoder.has_property("max-threads") {
            decoder.set_property_from_str("max-threads", "1");
        }
        if let Stage::Chosen(gate) = stage {
            gate.put_around(&decoder).ok_or(PipelineError::Refused)?;
        }
        elements.push(decoder);
        elements.extend(to_i420()?);
    }
    let refused = |_| PipelineError::Refused;
    pipeline.add_many(&elements).map_err(refused)?;
    elements.push(sink.clone());
    gst::Element::link_many(&elements).map_err(refused)?;
    for element in &elements {
        element.sync_state_with_parent().map_err(refused)?;
    }
    let first = elements
        .first()
        .and_then(|e| e.static_pad("sink"))
        .ok_or(PipelineError::Refused)?;
    pad.link(&first).map_err(|_| PipelineError::Refused)?;
    Ok(())
}

/// How often the state of a pipeline is looked at.
const TURN: gst::ClockTime = gst::ClockTime::from_mseconds(20);
/// A task is marked as halted before its last turn is over, in which decoders give what they still hold. This long a
/// picture of that may take.
const LAST_TURN: gst::ClockTime = gst::ClockTime::from_mseconds(500);

impl Opened {
    /// Nothing drives the pipeline any more. So a demuxer that gives up without a word, and a clip without a video
    /// stream, hold nobody up for long.
    fn run_dry(&self) -> bool {
        let started = |pad: &gst::Pad| pad.task_state() == gst::TaskState::Started;
        !self.drivers.iter().any(started)
    }

    /// The next sample; `None` at the end of the stream.
    pub(crate) fn next(&self, deadline: Instant) -> Result<Option<gst::Sample>, PipelineError> {
        loop {
            // Looked at first: the sink is asked once more after everything has come to a halt.
            let dry = self.run_dry();
            match self.linked.try_recv() {
                Ok(Ok(())) => self.flows.set(true),
                Ok(Err(unlinked)) => return Err(unlinked),
                Err(_) => {}
            }
            if dry && !self.flows.get() {
                return Err(PipelineError::Refused);
            }
            let wait = if dry { LAST_TURN } else { TURN };
            if let Some(sample) = self.sink.try_pull_sample(wait) {
                return Ok(Some(sample));
            }
            if self.sink.is_eos() {
                return Ok(None);
            }
            if dry {
                return Err(PipelineError::Refused);
            }
            if Instant::now() >= deadline {
                return Err(PipelineError::Deadline);
            }
        }
    }
}

/// What becomes of one buffer that passes through `elements`.
pub(crate) fn pass(
    caps: gst::Caps,
    buffer: gst::Buffer,
    elements: Vec<gst::Element>,
    deadline: Instant,
) -> Result<gst::Sample, PipelineError> {
    let pipeline = gst::Pipeline::new();
    let running = Running(pipeline.clone());
    let source = app::AppSrc::builder().format(gst::Format::Time).build();
    source.set_caps(Some(&caps));
    let sink = app::AppSink::builder().sync(false).max_buffers(1).build();
    let mut parts = vec![source.clone().upcast()];
    parts.extend(elements);
    parts.push(sink.clone().upcast());
    let refused = |_| PipelineError::Refused;
    pipeline.add_many(&parts).map_err(refused)?;
    gst::Element::link_many(&parts).map_err(refused)?;
    pipeline
        .set_state(gst::State::Playing)
        .map_err(|_| PipelineError::Refused)?;
    source
        .push_buffer(buffer)
        .map_err(|_| PipelineError::Refused)?;
    source.end_of_stream().map_err(|_| PipelineError::Refused)?;
    loop {
        if let Some(sample) = sink.try_pull_sample(gst::ClockTime::from_mseconds(20)) {
            return Ok(sample);
        }
        running.check()?;
        if sink.is_eos() || Instant::now() >= deadline {
            return Err(PipelineError::Deadline);
        }
    }
}
