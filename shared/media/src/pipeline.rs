//! GStreamer pipelines over bytes in memory: built in code from a closed list of elements.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as app;

use crate::front::Container;
use crate::probe::Probed;

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
        Container::Ts => "tsdemux",
        Container::Gif => "avdemux_gif",
        Container::Picture => {
            return Err(PipelineError::Unsupported("single pictures".to_owned()));
        }
    })
}

/// Parser, decoder and ffprobe's name for the caps of a demuxed stream.
fn chain(caps: &gst::StructureRef) -> Option<(Option<&'static str>, &'static str, &'static str)> {
    Some(match caps.name().as_str() {
        "video/x-h264" => (Some("h264parse"), "avdec_h264", "h264"),
        "video/x-h265" => (Some("h265parse"), "avdec_h265", "hevc"),
        "video/x-vp8" => (None, "vp8dec", "vp8"),
        "video/x-vp9" => (Some("vp9parse"), "vp9dec", "vp9"),
        "video/x-av1" => (Some("av1parse"), "av1dec", "av1"),
        "image/jpeg" => (Some("jpegparse"), "jpegdec", "mjpeg"),
        "image/gst-libav-gif" => (None, "avdec_gif", "gif"),
        "video/mpeg" => match caps.get::<i32>("mpegversion") {
            Ok(4) => (Some("mpeg4videoparse"), "avdec_mpeg4", "mpeg4"),
            _ => (Some("mpegvideoparse"), "avdec_mpeg2video", "mpeg2video"),
        },
        "video/x-divx" => (Some("mpeg4videoparse"), "avdec_mpeg4", "mpeg4"),
        _ => return None,
    })
}

/// The first video stream of a clip on its way into a sink.
pub(crate) struct Opened {
    pub(crate) running: Running,
    pub(crate) sink: app::AppSink,
    /// Told once: the codec's name, or that the stream cannot be handled.
    pub(crate) linked: Receiver<Result<&'static str, PipelineError>>,
    /// Set once an element has given up: what is still in the pipeline is drained, no more.
    failed: AtomicBool,
}

/// How long a sample may take to come out of a pipeline whose demuxer has given up.
const DRAIN: Duration = Duration::from_millis(300);

/// Builds source, demuxer, parser and (when `decode`) decoder; the pipeline plays when this returns.
pub(crate) fn open(
    clip: &[u8],
    container: Container,
    decode: bool,
) -> Result<Opened, PipelineError> {
    init()?;
    let pipeline = gst::Pipeline::new();
    let running = Running(pipeline.clone());
    let missing = missing_bytes(clip, container);
    let (source, demux) = (source(Arc::from(clip), missing)?, demuxer(container)?);
    let sink = app::AppSink::builder().sync(false).max_buffers(2).build();
    let refused = |_| PipelineError::Refused;
    pipeline
        .add_many([&source, &demux, sink.upcast_ref()])
        .map_err(refused)?;
    source.link(&demux).map_err(refused)?;
    let (told, linked) = sync_channel(1);
    let (weak, target) = (pipeline.downgrade(), sink.clone());
    let taken = AtomicBool::new(false);
    demux.connect_pad_added(move |_, pad| {
        let Some(pipeline) = weak.upgrade() else {
            return;
        };
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let Some(caps) = caps.structure(0) else {
            return;
        };
        let video = caps.name().starts_with("video/") || caps.name().starts_with("image/");
        if !video || taken.swap(true, Ordering::SeqCst) {
            return;
        }
        // The channel has room for the one answer; a second never comes.
        told.try_send(link(&pipeline, pad, caps, target.upcast_ref(), decode))
            .ok();
    });
    pipeline
        .set_state(gst::State::Playing)
        .map_err(|_| PipelineError::Refused)?;
    Ok(Opened {
        running,
        sink,
        linked,
        failed: AtomicBool::new(false),
    })
}

fn link(
    pipeline: &gst::Pipeline,
    pad: &gst::Pad,
    caps: &gst::StructureRef,
    sink: &gst::Element,
    decode: bool,
) -> Result<&'static str, PipelineError> {
    let unsupported = || PipelineError::Unsupported(caps.name().to_string());
    let (parser, decoder, name) = chain(caps).ok_or_else(unsupported)?;
    let mut elements = Vec::new();
    if let Some(parser) = parser {
        elements.push(element(parser)?);
    }
    if decode {
        let decoder = element(decoder)?;
        if decoder.has_property("max-threads") {
            decoder.set_property_from_str("max-threads", "1");
        }
        let convert = element("videoconvert")?;
        let filter = element("capsfilter")?;
        filter.set_property(
            "caps",
            gst::Caps::builder("video/x-raw")
                .field("format", "I420")
                .build(),
        );
        elements.extend([decoder, convert, filter]);
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
    Ok(name)
}

impl Opened {
    /// The next sample; `None` at the end of the stream.
    pub(crate) fn next(&self, deadline: Instant) -> Result<Option<gst::Sample>, PipelineError> {
        loop {
            let failed = self.failed.load(Ordering::Relaxed);
            let wait = if failed {
                DRAIN
            } else {
                Duration::from_millis(20)
            };
            if let Some(sample) = self
                .sink
                .try_pull_sample(gst::ClockTime::try_from(wait).ok())
            {
                return Ok(Some(sample));
            }
            if self.sink.is_eos() {
                return Ok(None);
            }
            if failed {
                return Err(PipelineError::Refused);
            }
            // A clip that breaks off: pictures from before the break are still on their way.
            self.failed
                .store(self.running.check().is_err(), Ordering::Relaxed);
            if Instant::now() >= deadline {
                return Err(PipelineError::Deadline);
            }
        }
    }
}

/// The size in the parser's caps of the first video stream.
pub(crate) fn size(clip: &[u8], container: Container) -> Result<Probed, PipelineError> {
    let opened = open(clip, container, false)?;
    let sample = opened.next(Instant::now() + Duration::from_secs(10))?;
    let sample = sample.ok_or(PipelineError::Refused)?;
    let codec = opened
        .linked
        .try_recv()
        .map_err(|_| PipelineError::Refused)??;
    let caps = sample
        .caps()
        .and_then(|caps| caps.structure(0))
        .ok_or(PipelineError::Refused)?;
    let side = |name| {
        let value = caps.get::<i32>(name).map_err(|_| PipelineError::Refused)?;
        u32::try_from(value).map_err(|_| PipelineError::Refused)
    };
    Ok(Probed {
        width: side("width")?,
        height: side("height")?,
        codec: codec.to_owned(),
    })
}
