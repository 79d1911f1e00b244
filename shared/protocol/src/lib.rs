//! The rules of the Nexisgen subnet, as plain functions of their arguments.
//!
//! Owns: everything that could be argued about with a miner (PROTOCOL.md §1–§14).
//! Never does: I/O, clocks, unseeded randomness, async.
//! Start reading at [`profile`] for the numbers, then [`arbitration`], [`checks`], [`decision`].
//!
//! ```
//! use nexis_protocol::{BlockNumber, calendar::Calendar, profile::Profile};
//!
//! let calendar = Calendar::of(&Profile::by_name("readme")?);
//! let newest = calendar.newest_eligible(BlockNumber::new(152));
//! assert_eq!(newest.map(|interval| interval.get()), Some(100));
//! # Ok::<(), nexis_protocol::profile::ProfileError>(())
//! ```

pub mod advisory;
pub mod arbitration;
pub mod auth;
pub mod bounded;
pub mod budget;
pub mod calendar;
pub mod candidates;
pub mod checks;
pub mod claim;
pub mod clip;
pub mod cpython_random;
pub mod credentials;
pub mod decision;
pub mod ids;
pub mod likeness;
pub mod manifest;
pub mod picture;
pub mod profile;
pub mod prune;
pub mod pyjson;
pub mod reason;
pub mod record_info;
pub mod row;
pub mod sampling;
pub mod score;
pub mod screen;
pub mod source;
pub mod spec;
pub mod text;
pub mod uri;
pub mod vision;
pub mod weights;

pub use ids::{
    BlockNumber, Digest, Hotkey, IdError, IntervalId, JobId, LeaderEpoch, Netuid, Uid, WeightEpoch,
};
