//! Measuring clips: in locked-up child processes, never in this one.

use nexis_media::{Budget, Frame, Look, Pool, PoolError, PoolOptions};

/// What is wanted of a clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want {
    /// Up to six pictures for the model checks. Decoding is where the time goes.
    pub frames: bool,
}

/// What came out.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    /// Coded width and height of the first video stream, pixels; `None` when there is none.
    pub size_px: Option<(u32, u32)>,
    /// JPEGs.
    pub frames: Vec<Vec<u8>>,
    /// Why the size or the pictures are missing, for the logs.
    pub fault: Option<String>,
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

    /// Measures one clip. Blocks: call it off the async threads.
    ///
    /// `Err` means that we had nothing to measure it with, never that the clip is bad.
    pub fn measure(&self, clip: &[u8], want: Want) -> Result<Measured, PoolError> {
        let pictures = if want.frames { FRAMES } else { 0 };
        let look = self.0.look(clip, pictures, Budget::default())?;
        Ok(Measured::from(look))
    }
}

impl From<Look> for Measured {
    fn from(look: Look) -> Self {
        let fault = look.size.as_ref().err().or(look.pictures.as_ref().err());
        let fault = fault.map(ToString::to_string);
        if let Some(fault) = &fault {
            tracing::debug!(fault, "clip cannot be read");
        }
        let jpeg = |frame: Frame| frame.jpeg;
        Self {
            size_px: look.size.ok().map(|probed| (probed.width, probed.height)),
            frames: look
                .pictures
                .unwrap_or_default()
                .into_iter()
                .map(jpeg)
                .collect(),
            fault,
        }
    }
}
