//! A fixed number of locked-up child processes that look at clips, one clip each at a time.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::facts::Facts;
use crate::frames::{Budget, Frame};
use crate::front;
use crate::probe::Probed;
use crate::sandbox::Isolation;
use nexis_protocol::picture::{PictureChecks, Pictures};

mod process;

use process::Process;

/// How many children there are, and what each may use.
#[derive(Clone, Debug)]
pub struct PoolOptions {
    /// Children, and so clips looked at at the same time.
    pub permits: usize,
    /// Address space of one child, bytes.
    pub address_space: u64,
    /// Address space of the child that a clip is looked at in once more when the other's did not suffice, bytes. There
    /// is one such child at a time.
    pub large_address_space: u64,
    /// Wall time of one clip, from the ask to the last answer. It is for a child that hangs; on a busy machine a clip
    /// must get the processor time that it may take.
    pub wall: Duration,
    /// CPU time of one clip over all threads of its child; whole seconds count.
    pub cpu: Duration,
    /// Clips after which a child is replaced anyway, so that nothing lingers in one for long.
    pub clips_per_child: u32,
    /// Wall time a child has to start.
    pub start: Duration,
    /// The program of the children; it calls [`crate::child_main`] first. This program when `None`.
    pub program: Option<PathBuf>,
    /// Further arguments for that program.
    pub arguments: Vec<OsString>,
}

impl PoolOptions {
    /// Sane limits for `permits` children of this same program.
    pub fn new(permits: usize) -> Self {
        Self {
            permits: permits.max(1),
            address_space: 2 << 30,
            large_address_space: 6 << 30,
            wall: Duration::from_secs(180),
            cpu: Duration::from_secs(60),
            clips_per_child: 1_000,
            start: Duration::from_secs(30),
            program: None,
            arguments: Vec::new(),
        }
    }
}

/// What is to be found out about a clip.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The clip.
    pub clip: &'a [u8],
    /// The picture that is said to show what it begins with; looked at when pictures are.
    pub asset: Option<&'a [u8]>,
    /// JPEGs wanted.
    pub pictures: u8,
    /// How much of the pictures is looked at.
    pub sight: PictureChecks,
    /// What decoding may cost.
    pub budget: Budget,
}

/// What a clip shows.
#[derive(Debug)]
pub struct Look {
    /// Coded size of the first video stream.
    pub size: Result<Probed, Undecodable>,
    /// JPEGs; empty when none were asked for.
    pub pictures: Result<Vec<Frame>, Undecodable>,
    /// What the container says.
    pub facts: Facts,
    /// What was seen of the pictures, as far as these were looked at.
    pub seen: Pictures,
    /// How the child was lost, when it was.
    pub lost: Option<Undecodable>,
}

impl Look {
    /// Nothing was answered.
    fn nothing(fault: Undecodable) -> Self {
        Self {
            size: Err(fault.clone()),
            pictures: Err(fault.clone()),
            facts: Facts::default(),
            seen: Pictures::default(),
            lost: Some(fault),
        }
    }
}

/// Why a clip gave no answer. An ordinary outcome: the clip's fault, not ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undecodable {
    /// The decoders refused it, in their words.
    #[error("{0}")]
    Refused(String),
    /// The child that looked at it was ended by a signal: it crashed, or used up its memory or CPU time.
    #[error("its decoder died of signal {0}")]
    Died(i32),
    /// The child that looked at it ended by itself.
    #[error("its decoder gave up")]
    GaveUp,
    /// No answer within the wall time.
    #[error("its decoder used up its time")]
    Deadline,
    /// An allocation failed also in the larger child, so nothing that was found is what ffprobe finds.
    #[error("it needs more memory than a decoder may have")]
    Memory,
    /// The child answered what cannot be an answer.
    #[error("its decoder answered nonsense")]
    Nonsense,
}

/// In which child a clip is looked at once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    /// One like the first.
    Fresh,
    /// One with more memory.
    Larger,
}

impl Look {
    /// Whether something else than the clip can be the reason for this outcome, which its child had looked at `alone`
    /// or after others. Time is counted for each clip anew.
    fn again(&self, alone: bool) -> Option<Again> {
        let lost = match (&self.size, &self.lost) {
            (Err(Undecodable::Memory), _) => return Some(Again::Larger),
            (_, None) => return None,
            (_, Some(lost)) => lost,
        };
        match lost {
            Undecodable::Died(libc::SIGKILL) => Some(Again::Fresh),
            // A failed allocation ends Rust code with SIGABRT, and careless C code with SIGSEGV.
            Undecodable::Died(libc::SIGABRT | libc::SIGSEGV | libc::SIGBUS)
                if self.size.is_err() =>
            {
                Some(Again::Larger)
            }
            Undecodable::Died(libc::SIGXCPU)
            | Undecodable::Refused(_)
            | Undecodable::Memory
            | Undecodable::Deadline => None,
            Undecodable::Died(_) | Undecodable::GaveUp | Undecodable::Nonsense => {
                (!alone).then_some(Again::Fresh)
            }
        }
    }
}

/// Why there is no child. Our fault, never the clip's.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// The process could not be started.
    #[error("could not start a clip decoder process")]
    Start(#[source] std::io::Error),
    /// The process did not say hello in time.
    #[error(
        "a clip decoder process did not come up: does its program call nexis_media::child_main first?"
    )]
    NoHello,
    /// GStreamer is not usable in it.
    #[error("a clip decoder process has no working GStreamer: {0}")]
    GStreamer(String),
    /// A clip could not be handed over.
    #[error("could not put a clip into memory for its decoder")]
    HandOver(#[source] std::io::Error),
}

/// Children that look at clips. Cheap to clone.
///
/// A child that crashes, hangs, uses too much or talks nonsense costs its own clip an [`Undecodable`] and is
/// replaced in the background; the others are not disturbed.
#[derive(Clone, Debug)]
pub struct Pool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: PoolOptions,
    isolation: Isolation,
    plugins: Vec<String>,
    /// Children at rest. `None` is a place whose child could not be started; its next taker tries again.
    idle: Mutex<Vec<Option<Process>>>,
    freed: Condvar,
    replaced: AtomicU64,
    /// Held by whoever uses the larger child.
    larger: Mutex<()>,
}

impl Pool {
    /// Starts all children and waits until each is ready and locked up.
    pub fn start(options: PoolOptions) -> Result<Self, PoolError> {
        let started: Vec<_> = (0..options.permits.max(1))
            .map(|_| Process::spawn(&options, options.address_space))
            .collect();
        let mut idle = Vec::new();
        let mut first = None;
        for process in started {
            let mut process = process?;
            let hello = process.ready(options.start)?;
            first.get_or_insert(hello);
            idle.push(Some(process));
        }
        let (isolation, plugins) = first.ok_or(PoolError::NoHello)?;
        Ok(Self(Arc::new(Inner {
            options,
            isolation,
            plugins,
            idle: Mutex::new(idle),
            freed: Condvar::new(),
            replaced: AtomicU64::new(0),
            larger: Mutex::new(()),
        })))
    }

    /// What holds the children on this machine.
    pub fn isolation(&self) -> Isolation {
        self.0.isolation
    }

    /// Names of the plugin files that the children have loaded.
    pub fn plugins(&self) -> &[String] {
        &self.0.plugins
    }

    /// Clips over which a child was lost so far, and replaced.
    pub fn replaced(&self) -> u64 {
        self.0.replaced.load(Ordering::Relaxed)
    }

    /// Looks at a clip: its size and up to `pictures` pictures.
    pub fn look(&self, clip: &[u8], pictures: u8, budget: Budget) -> Result<Look, PoolError> {
        self.look_at(Asked {
            clip,
            asset: None,
            pictures,
            sight: PictureChecks::Off,
            budget,
        })
    }

    /// Finds out what is asked about a clip. Blocks, first for a free child.
    ///
    /// A clip is looked at once more, in a fresh child and in what is left of its time, when the outcome need not be the
    /// clip's doing: other clips went before it, and what they left behind must decide nothing; the child was killed
    /// from outside (SIGKILL: an operator, the kernel short of memory); or the child ran out of memory, where ffprobe
    /// would not have. In the last case the fresh child has more.
    pub fn look_at(&self, asked: Asked<'_>) -> Result<Look, PoolError> {
        self.0.look_at(asked)
    }
}

impl Inner {
    fn look_at(self: &Arc<Self>, asked: Asked<'_>) -> Result<Look, PoolError> {
        // A child that somebody's clip has taken over has no say about ordinary clips of others.
        let settled = front::settled(asked.clip);
        let mut look = self.look_in_a_child(asked)?;
        if let Some(settled) = settled {
            look.size = Ok(settled);
        }
        Ok(look)
    }

    fn look_in_a_child(self: &Arc<Self>, asked: Asked<'_>) -> Result<Look, PoolError> {
        let mut held = self.take()?;
        let process = held.process.as_mut().ok_or(PoolError::NoHello)?;
        let (alone, began) = (process.clips == 0, Instant::now());
        let mut look = process.look(asked, began + self.options.wall, self.options.cpu)?;
        let again = look.again(alone);
        if look.lost.is_some() {
            self.replaced.fetch_add(1, Ordering::Relaxed);
            held.process = None;
        }
        let left = self.options.wall.saturating_sub(began.elapsed());
        match again {
            Some(Again::Fresh) => {
                let fresh = Process::begin(&self.options, self.options.address_space)?;
                let fresh = held.process.insert(fresh);
                look = fresh.look(asked, Instant::now() + left, self.options.cpu)?;
                if look.lost.is_some() {
                    held.process = None;
                }
            }
            Some(Again::Larger) => {
                let _one = self.larger.lock().unwrap_or_else(PoisonError::into_inner);
                let mut larger = Process::begin(&self.options, self.options.large_address_space)?;
                look = larger.look(asked, Instant::now() + left, self.options.cpu)?;
            }
            None => {}
        }
        let clips = held.process.as_ref().map_or(0, |process| process.clips);
        if clips >= self.options.clips_per_child {
            held.process = None;
        }
        Ok(look)
    }

    fn take(self: &Arc<Self>) -> Result<Held, PoolError> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let place = loop {
            match idle.pop() {
                Some(place) => break place,
                None => {
                    idle = self
                        .freed
                        .wait(idle)
                        .unwrap_or_else(PoisonError::into_inner);
                }
            }
        };
        drop(idle);
        // From here on the place goes back on every way out.
        let mut held = Held {
            pool: Arc::clone(self),
            process: place,
        };
        if held.process.is_none() {
            match Process::begin(&self.options, self.options.address_space) {
                Ok(process) => held.process = Some(process),
                Err(error) => {
                    held.give_up();
                    return Err(error);
                }
            }
        }
        Ok(held)
    }

    fn put(&self, place: Option<Process>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // Places without a child lie at the bottom, so that living children are taken first.
        if place.is_some() {
            idle.push(place);
        } else {
            idle.insert(0, place);
        }
        drop(idle);
        self.freed.notify_one();
    }
}

/// A child in use. When it is dropped with its child, the child rests; without, a new one is started.
struct Held {
    pool: Arc<Inner>,
    process: Option<Process>,
}

impl Held {
    /// Leaves the place empty: a child could not be started just now.
    fn give_up(self) {
        let pool = Arc::clone(&self.pool);
        std::mem::forget(self);
        pool.put(None);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            self.pool.put(Some(process));
            return;
        }
        let pool = Arc::clone(&self.pool);
        let started = std::thread::Builder::new()
            .name("clip decoder start".to_owned())
            .spawn(move || {
                let memory = pool.options.address_space;
                pool.put(Process::begin(&pool.options, memory).ok());
            });
        if started.is_err() {
            self.pool.put(None);
        }
    }
}
