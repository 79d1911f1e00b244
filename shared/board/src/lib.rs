//! The board over Redis.
//!
//! Owns: the keys, the scripts in `scripts/`, the lease. Never does: decide what a round does next.
//! Start reading at [`RedisBoard`].
//!
//! # Keys
//!
//! Everything of one interval lies under one hash tag, `{nexis:NETUID:i:INTERVAL}`, and everything of the
//! subnet's leadership (lease, epoch, list of rounds, facts) under another, `{nexis:NETUID}`, so each
//! script works on one slot of a Redis Cluster. An address that turns out to be a node of a cluster is enough to
//! find the others. Sampled rows are bitmaps per miner, results one hash
//! per miner with the row as field: no id is written out per row.
//!
//! # Why a paused leader changes nothing
//!
//! A leader's epoch is checked where the write happens. Facts, and the listing that comes before a round
//! is opened, are written in the slot that holds the epoch itself: only the newest epoch passes. An
//! interval's slot cannot see that key, so it keeps the newest epoch it has heard of (`fence`). Whoever
//! wins a campaign first raises the epoch, then stamps it on every listed interval, and only then is told
//! that it leads. So by the time the new leader reads anything, each slot refuses the old one; and a round
//! that the old leader was about to open is either listed already, and then stamped, or is refused at the
//! listing. A write of the old leader that slips in between came before the new leader looked.
//!
//! Epochs are never below the server's clock in milliseconds, so a board that was emptied altogether still
//! gives out larger ones than before, and a leader from before is fenced rather than obeyed.

mod board;
mod clips;
mod hints;
mod keys;
mod leading;
mod link;
mod meter;
mod options;
mod reading;
mod ready;
mod script;

pub use board::RedisBoard;
pub use options::RedisOptions;
