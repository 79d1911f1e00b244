//! What an operator asks of the broker, beside running a scheduler.

use clap::{Args, Subcommand, ValueEnum};
use nexis_ports::Route;

/// Does one thing and ends.
#[derive(Subcommand)]
pub enum Command {
    /// The queues and exchanges of this subnet on the broker.
    #[command(subcommand)]
    Topology(Topology),
    /// Messages that nobody could make use of.
    #[command(subcommand)]
    Dead(Dead),
}

#[derive(Subcommand, Clone, Copy)]
pub enum Topology {
    /// Declare everything; may be repeated.
    Apply,
    /// Check that everything is there; changes nothing.
    Verify,
}

#[derive(Subcommand, Clone, Copy)]
pub enum Dead {
    /// Show queue, id, size and reason of each, oldest first; changes nothing.
    List(Which),
    /// Publish them again, oldest first.
    Replay(Which),
    /// Throw all of them away.
    Purge {
        /// Of one queue only.
        #[arg(long)]
        queue: Option<QueueName>,
    },
}

#[derive(Args, Clone, Copy)]
pub struct Which {
    /// Of one queue only.
    #[arg(long)]
    pub queue: Option<QueueName>,
    /// At most so many of each queue.
    #[arg(long, default_value_t = 100)]
    pub limit: u32,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum QueueName {
    /// Jobs per miner.
    Miner,
    /// Jobs per clip.
    Clip,
}

/// One queue, or all.
pub fn routes(queue: Option<QueueName>) -> Vec<Route> {
    match queue {
        None => Route::ALL.to_vec(),
        Some(QueueName::Miner) => vec![Route::Miner],
        Some(QueueName::Clip) => vec![Route::Clip],
    }
}
