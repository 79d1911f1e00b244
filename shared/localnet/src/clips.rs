//! Really encoded clips: 5 s of H.264 and AAC in MP4, made once by GStreamer and kept in a folder.

use bytes::{BufMut as _, Bytes, BytesMut};
use gst::prelude::*;
use gstreamer as gst;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Moving test pictures; what they show does not matter, that they differ does, and that none is black or a still.
const PATTERNS: [&str; 4] = [
    "pinwheel horizontal-speed=2",
    "spokes horizontal-speed=2",
    "colors horizontal-speed=3",
    "smpte horizontal-speed=4",
];
const FRAMES: i32 = 150;
/// Far more than encoding takes; a pipeline that hangs must not hang localnet.
const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(120);

/// Clips could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ClipError {
    /// GStreamer does not start.
    #[error("starting GStreamer")]
    Start(#[source] gst::glib::Error),
    /// An element is not installed or cannot be linked.
    #[error(
        "building the encoding pipeline '{pipeline}': {source}; install gstreamer1.0-plugins-base, -good, -bad, -ugly and -libav"
    )]
    Build {
        /// Which one.
        pipeline: String,
        /// Cause.
        #[source]
        source: gst::glib::Error,
    },
    /// It ran and failed.
    #[error("encoding a clip: {0}")]
    Encode(String),
    /// The folder for finished clips.
    #[error("keeping clips in {}", .folder.display())]
    Keep {
        /// The folder.
        folder: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
}

/// One encoded clip and its first frame.
#[derive(Debug, Clone)]
pub struct Clip {
    /// MP4 of 5 s at 30 fps.
    pub mp4: Bytes,
    /// The first frame as JPEG.
    pub frame: Bytes,
    /// Coded width, px.
    pub width: u32,
    /// Coded height, px.
    pub height: u32,
}

impl Clip {
    /// The same pictures in a file of its own: a `free` box with `mark` at the end, which players skip, and a
    /// JPEG comment.
    pub fn marked(&self, mark: &[u8; 32]) -> Self {
        let mut mp4 = BytesMut::with_capacity(self.mp4.len() + 40);
        mp4.extend_from_slice(&self.mp4);
        mp4.put_u32(40);
        mp4.extend_from_slice(b"free");
        mp4.extend_from_slice(mark);
        let mut frame = BytesMut::with_capacity(self.frame.len() + 36);
        let (start, rest) = self.frame.split_at(self.frame.len().min(2));
        frame.extend_from_slice(start);
        frame.extend_from_slice(&[0xff, 0xfe]);
        frame.put_u16(34);
        frame.extend_from_slice(mark);
        frame.extend_from_slice(rest);
        Self {
            mp4: mp4.freeze(),
            frame: frame.freeze(),
            ..self.clone()
        }
    }
}

/// What the clips of miners show that are wrong only to the eye; no other miner's clips show it.
const ODD_PATTERNS: [&str; 3] = ["bar horizontal-speed=5", "gradient", "black"];

/// The clips that miners draw from.
#[derive(Debug, Clone)]
pub struct Clips {
    /// 1280 × 720.
    pub good: Vec<Clip>,
    /// 640 × 360.
    pub small: Clip,
    /// Nothing of the good ones.
    pub odd: Clip,
    /// A still.
    pub frozen: Clip,
    /// Nothing but black.
    pub black: Clip,
}

impl Clips {
    /// Takes the clips kept in `folder`, encoding those that are not there yet. Blocks for some seconds, and as long as
    /// another process does the same: no two encodings are alike, and two subnets of one folder shall have the same.
    pub fn prepare(folder: &Path) -> Result<Self, ClipError> {
        gst::init().map_err(ClipError::Start)?;
        std::fs::create_dir_all(folder).map_err(|source| ClipError::Keep {
            folder: folder.to_owned(),
            source,
        })?;
        let turn = folder.join("lock");
        let turn = File::create(&turn).and_then(|lock| lock.lock().map(|()| lock));
        let _turn = turn.map_err(|source| ClipError::Keep {
            folder: folder.to_owned(),
            source,
        })?;
        let good = PATTERNS
            .iter()
            .map(|pattern| kept(folder, pattern, 1280, 720))
            .collect::<Result<_, _>>()?;
        let [odd, frozen, black] = ODD_PATTERNS;
        let full_size = |pattern| kept(folder, pattern, 1280, 720);
        Ok(Self {
            good,
            small: kept(folder, PATTERNS[3], 640, 360)?,
            odd: full_size(odd)?,
            frozen: full_size(frozen)?,
            black: full_size(black)?,
        })
    }
}

fn kept(folder: &Path, pattern: &str, width: u32, height: u32) -> Result<Clip, ClipError> {
    let broken = |source| ClipError::Keep {
        folder: folder.to_owned(),
        source,
    };
    let shown = pattern.replace([' ', '='], "-");
    let name = format!("{shown}-{width}x{height}");
    let mp4 = folder.join(format!("{name}.mp4"));
    let jpeg = folder.join(format!("{name}.jpg"));
    let picture = format!("videotestsrc pattern={pattern}");
    // A part off the centre: symmetric pictures lack half of what a perceptual hash looks at.
    let size = format!(
        "video/x-raw,width={},height={},framerate=30/1 ! videocrop left={} top={}",
        width * 9 / 8,
        height * 9 / 8,
        width / 8,
        height / 8
    );
    if !mp4.exists() {
        encode(
            &format!(
                "{picture} num-buffers={FRAMES} ! {size} ! videoconvert ! \
                 x264enc speed-preset=ultrafast bitrate=600 key-int-max=30 ! h264parse ! mux. \
                 audiotestsrc num-buffers=215 samplesperbuffer=1024 volume=0.2 ! \
                 audio/x-raw,rate=44100,channels=1 ! audioconvert ! avenc_aac ! aacparse ! mux. \
                 mp4mux name=mux ! filesink name=out"
            ),
            &mp4,
        )?;
    }
    if !jpeg.exists() {
        encode(
            &format!(
                "{picture} num-buffers=1 ! {size} ! videoconvert ! jpegenc ! filesink name=out"
            ),
            &jpeg,
        )?;
    }
    Ok(Clip {
        mp4: std::fs::read(&mp4).map_err(broken)?.into(),
        frame: std::fs::read(&jpeg).map_err(broken)?.into(),
        width,
        height,
    })
}

/// Runs a pipeline of ours to its end; the result appears under its name only when complete.
fn encode(description: &str, to: &Path) -> Result<(), ClipError> {
    let draft = to.with_extension(format!("draft-{}", std::process::id()));
    let build = |source| ClipError::Build {
        pipeline: description.to_owned(),
        source,
    };
    let element = gst::parse::launch(description).map_err(build)?;
    let running = Running(element);
    let out = running
        .0
        .downcast_ref::<gst::Bin>()
        .and_then(|bin| bin.by_name("out"));
    let out = out.ok_or_else(|| ClipError::Encode("the pipeline has no sink".to_owned()))?;
    let location = draft.to_str();
    let location =
        location.ok_or_else(|| ClipError::Encode("the folder's name is not UTF-8".to_owned()))?;
    out.set_property("location", location);
    let started = running.0.set_state(gst::State::Playing);
    started.map_err(|error| ClipError::Encode(error.to_string()))?;
    let bus = running.0.bus();
    let bus = bus.ok_or_else(|| ClipError::Encode("the pipeline has no bus".to_owned()))?;
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    match bus.timed_pop_filtered(PATIENCE, &kinds) {
        Some(message) => {
            if let gst::MessageView::Error(error) = message.view() {
                return Err(ClipError::Encode(format!(
                    "{} ({:?})",
                    error.error(),
                    error.debug()
                )));
            }
        }
        None => return Err(ClipError::Encode(format!("not done after {PATIENCE}"))),
    }
    drop(running);
    std::fs::rename(&draft, to).map_err(|source| ClipError::Keep {
        folder: to.parent().unwrap_or(to).to_owned(),
        source,
    })
}

/// Stops its pipeline on every path.
struct Running(gst::Element);

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.set_state(gst::State::Null).is_err() {
            tracing::warn!("an encoding pipeline did not stop");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn clips_are_real_video_of_the_promised_size_marked_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let clips = Clips::prepare(folder.path()).unwrap();
        let one = clips.good[0].marked(&[1; 32]);
        let two = clips.good[0].marked(&[2; 32]);
        assert_ne!(one.mp4, two.mp4);
        for (clip, size) in [
            (&one, "1280,720"),
            (&two, "1280,720"),
            (&clips.small, "640,360"),
        ] {
            let path = folder.path().join("probe.mp4");
            std::fs::write(&path, &clip.mp4).unwrap();
            let probed = Command::new("ffprobe")
                .args(["-v", "error", "-count_frames", "-show_entries"])
                .args([
                    "stream=codec_name,width,height,nb_read_frames",
                    "-of",
                    "csv=p=0",
                ])
                .arg(&path)
                .output()
                .unwrap();
            let text = String::from_utf8(probed.stdout).unwrap();
            assert!(text.contains(&format!("h264,{size},150")), "{text}");
            assert!(text.contains("aac"), "{text}");
            assert!(clip.mp4.len() < 2_000_000, "{}", clip.mp4.len());
        }
        let path = folder.path().join("frame.jpg");
        std::fs::write(&path, &one.frame).unwrap();
        let ok = Command::new("ffprobe")
            .args(["-v", "error"])
            .arg(&path)
            .output()
            .unwrap();
        assert!(ok.status.success() && ok.stderr.is_empty(), "{ok:?}");
    }
}
