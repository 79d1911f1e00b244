//! Tasks and their orderly end. `tokio::spawn` is called here only (the architecture test looks).
//!
//! Two tokens: *soft* (take no new work, finish what is held) and *hard* (drop it). The first signal is soft; a
//! second one, or the end of the grace period, is hard. What still runs after that is aborted.

use crate::{Exit, telemetry};
use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Why a task ended badly, and how the process should end for it.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    source: Box<dyn Error + Send + Sync>,
}

impl Failure {
    /// A failure with another exit code than [`Exit::TaskDied`].
    pub fn with_exit(exit: Exit, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            exit,
            source: source.into(),
        }
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self {
            exit: Exit::TaskDied,
            source: Box::new(error),
        }
    }
}

/// What the end of a task means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Importance {
    /// Its good end is the purpose of the process (`--once`).
    Goal,
    /// It must not end before it is asked to.
    Essential,
    /// Its end is logged; its owner starts it again if it matters.
    Background,
    /// As in the background, and nobody waits for it: it goes when all others have ended.
    Attendant,
}

/// Both tokens, for tasks.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Take no new work, finish what is held.
    pub soft: CancellationToken,
    /// Drop everything.
    pub hard: CancellationToken,
}

struct Ended {
    name: &'static str,
    importance: Importance,
    outcome: Outcome,
}

enum Outcome {
    Finished(Result<(), Failure>),
    Panicked,
    Dropped,
}

/// Starts tasks; can be handed to tasks that start others.
#[derive(Clone)]
pub struct Spawner {
    stop: Stop,
    ended: mpsc::UnboundedSender<Ended>,
    running: Arc<AtomicUsize>,
}

impl Spawner {
    /// The tokens.
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// A task whose good end ends the process with 0.
    pub fn goal<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        self.spawn(name, Importance::Goal, task);
    }

    /// A task that must not end before it is asked to; when it does, the process ends with its exit code.
    pub fn essential<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        self.spawn(name, Importance::Essential, task);
    }

    /// A task whose end is only logged.
    pub fn background<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        self.spawn(name, Importance::Background, task);
    }

    /// A task that attends to the others until the last of them has ended (the health page): the process does not
    /// live on for it.
    pub fn attendant<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        self.spawn(name, Importance::Attendant, task);
    }

    fn spawn<F>(&self, name: &'static str, importance: Importance, task: F)
    where
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        if importance != Importance::Attendant {
            self.running.fetch_add(1, Ordering::AcqRel);
        }
        let (hard, ended) = (self.stop.hard.clone(), self.ended.clone());
        // Two spawns, so that a panic is seen as such and the end is told in every case.
        let mut inner = tokio::spawn(task);
        tokio::spawn(async move {
            let joined = tokio::select! {
                joined = &mut inner => joined,
                () = hard.cancelled() => {
                    inner.abort();
                    inner.await
                }
            };
            let outcome = match joined {
                Ok(result) => Outcome::Finished(result),
                Err(error) if error.is_panic() => Outcome::Panicked,
                Err(_) => Outcome::Dropped,
            };
            // Nobody listens any more when the process has given up on us.
            ended
                .send(Ended {
                    name,
                    importance,
                    outcome,
                })
                .ok();
        });
    }
}

/// The tasks of a process.
pub struct Lifecycle {
    spawner: Spawner,
    ended: mpsc::UnboundedReceiver<Ended>,
    grace: Duration,
}

/// How long dropped tasks have to notice; then the process ends without them.
const AFTER_HARD: Duration = Duration::from_secs(5);

impl Lifecycle {
    /// No tasks yet. `grace` is the time from the soft stop to the hard one.
    pub fn new(grace: Duration) -> Self {
        let (sender, ended) = mpsc::unbounded_channel();
        let stop = Stop {
            soft: CancellationToken::new(),
            hard: CancellationToken::new(),
        };
        let spawner = Spawner {
            stop,
            ended: sender,
            running: Arc::new(AtomicUsize::new(0)),
        };
        Self {
            spawner,
            ended,
            grace,
        }
    }

    /// Starts tasks.
    pub fn spawner(&self) -> Spawner {
        self.spawner.clone()
    }

    /// The tokens.
    pub fn stop(&self) -> Stop {
        self.spawner.stop()
    }

    /// Runs until all tasks ended, with Ctrl-C and SIGTERM as signals.
    pub async fn run(self) -> Exit {
        let (sender, signals) = mpsc::channel(4);
        match Signals::new() {
            Ok(listening) => self
                .spawner()
                .background("signals", listening.forward(sender)),
            Err(error) => {
                tracing::error!(error = %error, "cannot listen for signals");
                return Exit::TaskDied;
            }
        }
        // The listener itself is one task that never ends by itself.
        self.run_until(signals, 1).await
    }

    /// As [`Lifecycle::run`] with signals from a channel; `idle` tasks do not keep the process alive.
    async fn run_until(mut self, mut signals: mpsc::Receiver<()>, idle: usize) -> Exit {
        let stop = self.spawner.stop();
        let mut exit = Exit::Asked;
        let mut hard_at: Option<tokio::time::Instant> = None;
        let mut gone_at: Option<tokio::time::Instant> = None;
        while self.spawner.running.load(Ordering::Acquire) > idle {
            let next = gone_at.or(hard_at);
            tokio::select! {
                Some(()) = signals.recv() => {
                    if stop.soft.is_cancelled() {
                        tracing::warn!("second signal: dropping what is held");
                        stop.hard.cancel();
                    } else {
                        tracing::info!(grace = ?self.grace, "stopping: finishing what is held");
                        stop.soft.cancel();
                    }
                }
                Some(ended) = self.ended.recv() => {
                    if ended.importance != Importance::Attendant {
                        self.spawner.running.fetch_sub(1, Ordering::AcqRel);
                    }
                    let verdict = judge(&ended, stop.soft.is_cancelled());
                    if let Some(verdict) = verdict {
                        if exit == Exit::Asked {
                            exit = verdict;
                        }
                        stop.soft.cancel();
                    }
                }
                () = stop.soft.cancelled(), if hard_at.is_none() => {}
                () = stop.hard.cancelled(), if gone_at.is_none() => {}
                () = until(next), if next.is_some() => {
                    if gone_at.is_some() {
                        tracing::error!("tasks do not end; leaving them behind");
                        return if exit == Exit::Asked { Exit::TaskDied } else { exit };
                    }
                    tracing::warn!("grace period is over: dropping what is held");
                    stop.hard.cancel();
                }
            }
            let now = tokio::time::Instant::now();
            if stop.soft.is_cancelled() && hard_at.is_none() {
                hard_at = Some(now + self.grace);
            }
            if stop.hard.is_cancelled() && gone_at.is_none() {
                stop.soft.cancel();
                gone_at = Some(now + AFTER_HARD);
            }
        }
        stop.soft.cancel();
        stop.hard.cancel();
        exit
    }
}

async fn until(instant: Option<tokio::time::Instant>) {
    if let Some(instant) = instant {
        tokio::time::sleep_until(instant).await;
    }
}

/// Logs the end of a task; `Some` when the process has to end for it.
fn judge(ended: &Ended, stopping: bool) -> Option<Exit> {
    let Ended {
        name: task,
        importance,
        outcome,
    } = ended;
    match (importance, outcome) {
        (_, Outcome::Dropped) => {
            tracing::debug!(task, "task dropped");
            None
        }
        (Importance::Goal, Outcome::Finished(Ok(()))) => Some(Exit::Asked),
        (Importance::Essential, Outcome::Finished(Ok(()))) if !stopping => {
            tracing::error!(task, "task ended by itself");
            Some(Exit::TaskDied)
        }
        (_, Outcome::Finished(Ok(()))) => None,
        (Importance::Background | Importance::Attendant, Outcome::Finished(Err(failure))) => {
            tracing::warn!(
                task,
                error = telemetry::chain(failure.source.as_ref()),
                "task failed"
            );
            None
        }
        (_, Outcome::Finished(Err(failure))) => {
            tracing::error!(
                task,
                error = telemetry::chain(failure.source.as_ref()),
                "task failed"
            );
            Some(failure.exit)
        }
        (Importance::Background | Importance::Attendant, Outcome::Panicked) => {
            tracing::error!(task, "background task panicked");
            None
        }
        (_, Outcome::Panicked) => {
            tracing::error!(task, "task panicked");
            Some(Exit::TaskDied)
        }
    }
}

struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn forward(mut self, sender: mpsc::Sender<()>) -> Result<(), Failure> {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => {}
                _ = self.terminate.recv() => {}
            }
            // Full means that four signals wait already: more say nothing new.
            sender.try_send(()).ok();
        }
    }
}

#[cfg(test)]
mod tests;
