//! From settings to what every program of a validator needs alike.
//!
//! Owns: reading rules, buckets, the vision model and the fleet's connections out of [`nexis_runtime::Settings`],
//! with one sentence per setting that turns out to be wrong. It exists so that `nexis`, `nexis-scheduler` and
//! `nexis-worker` judge by the same rules from the same settings, without copies of this code in each.
//! Never does: touch the chain or a key. The worker links this crate, and a worker holds nothing that could sign.
//! Start reading at [`rules()`]; [`entry`] (feature `entry`) is how a program begins and
//! ends, [`fleet`] (feature `fleet`) the broker and the board.

#[cfg(feature = "entry")]
pub mod entry;
#[cfg(feature = "fleet")]
pub mod fleet;
mod rules;
mod stores;

pub use rules::{WrongSetting, profile, rules};
pub use stores::{bucket_store, own_bucket, package_bucket, record_info, vision};
