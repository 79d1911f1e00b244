//! A whole subnet on one machine, for trying, developing and testing.
//!
//! Owns: a dev chain with registered neurons, an S3 store with accounts, a vision stub, keys and wallets from one seed, really encoded clips, and miners
//! that are honest or wrong in one known way each.
//! Never does: touch anything beyond loopback and its work folder.
//! Start reading at [`Localnet::start`], then [`MinerKind`].

mod accept;
mod clips;
mod keys;
mod miner;
mod net;
mod package;
mod parquet;
mod publish;
mod store;
mod stub;

pub use clips::{Clip, ClipError, Clips};
pub use keys::DevKey;
pub use miner::{Expectation, MinerKind};
pub use net::{Localnet, LocalnetConfig, LocalnetError, Ports};
pub use package::{CATEGORY, Miner, Upload, indexed_source, miners, package};
pub use publish::PublishError;
pub use store::{Grant, S3Server, StoreStartError};
pub use stub::VisionStub;
