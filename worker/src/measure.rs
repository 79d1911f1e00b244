//! Measuring clips: in locked-up child processes, never in this one.

use nexis_media::{Asked, Budget, Look, Pool, PoolError, PoolOptions};
use nexis_protocol::clip;
use nexis_protocol::picture::{PictureChecks, Pictures};

/// What is wanted of a clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want {
    /// Up to six pictures for the model checks. Decoding is where the time goes.
    pub frames: bool,
    /// How much of the pictures is looked at for advisories.
    pub sight: PictureChecks,
}

/// What came out.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    /// What size and container say; `None` when there is no video stream.
    pub clip: Option<clip::Measured>,
    /// What was seen of the pictures.
    pub seen: Pictures,
    /// JPEGs.
    pub frames: Vec<Vec<u8>>,
}

/// Measures clips in a pool of child processes; a clip can hurt only the one that reads it. Undecodable input is an
/// ordinary answer.
#[derive(Debug)]
pub struct Prober(Pool);

/// Pictures per clip (PROTOCOL §10).
const FRAMES: u8 = 6;

impl Prober {
    /// Starts `permits` children of this program, whose `main` calls [`nexis_media::child_main`] first.
    pub fn sandboxed(permits: usize) -> Result<Self, PoolError> {
        Self::with(PoolOptions::new(permits))
    }

    /// Starts children as `options` say.
    pub fn with(options: PoolOptions) -> Result<Self, PoolError> {
        let permits = options.permits;
        let pool = Pool::start(options)?;
        let isolation = pool.isolation();
        if isolation.is_whole() {
            tracing::info!(?isolation, permits, "clips are read in locked-up processes");
        } else {
            tracing::warn!(
                ?isolation,
                permits,
                "this kernel does not grant every layer of isolation for the processes that read clips"
            );
        }
        Ok(Self(pool))
    }

    /// Measures one clip, and the picture that is said to show what it begins with. Blocks: call it off the async
    /// threads.
    ///
    /// `Err` means that we had nothing to measure it with, never that the clip is bad.
    pub fn measure(
        &self,
        clip: &[u8],
        first_frame: Option<&[u8]>,
        want: Want,
    ) -> Result<Measured, PoolError> {
        let look = self.0.look_at(Asked {
            clip,
            asset: first_frame,
            pictures: if want.frames { FRAMES } else { 0 },
            sight: want.sight,
            budget: Budget::default(),
        })?;
        Ok(Measured::from(look))
    }
}

impl From<Look> for Measured {
    fn from(look: Look) -> Self {
        let refused = look.size.as_ref().err().or(look.pictures.as_ref().err());
        if let Some(fault) = refused.or(look.lost.as_ref()) {
            tracing::debug!(%fault, "clip cannot be read");
        }
        let facts = look.facts;
        let frames = look.pictures.unwrap_or_default().into_iter();
        Self {
            clip: look.size.ok().map(|probed| clip::Measured {
                width_px: probed.width,
                height_px: probed.height,
                duration_sec: facts.duration_sec,
                fps: facts.fps,
                num_frames: facts.frames,
                has_audio: facts.has_audio,
            }),
            seen: look.seen,
            frames: frames.map(|frame| frame.jpeg).collect(),
        }
    }
}
