//! The rules of the Nexisgen subnet, as plain functions of their arguments.
//!
//! Owns: everything that could be argued about with a miner (PROTOCOL.md §1–§14).
//! Never does: I/O, clocks, unseeded randomness, async.
//! Start reading at [`profile`] for the numbers, then [`screen`], [`arbitration`], [`decision`].

pub mod ids;

pub use ids::{
    BlockNumber, Digest, Hotkey, IdError, IntervalId, JobId, LeaderEpoch, Netuid, Uid, WeightEpoch,
};
