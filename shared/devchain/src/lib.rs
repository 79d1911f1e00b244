//! A development chain: it answers JSON-RPC as a subtensor node does, with the real runtime's metadata, so that subxt,
//! async-substrate-interface and the Bittensor SDK talk to it as to the real one.
//!
//! It owns blocks, storage, a transaction pool and the few pallets that a validator meets (weights, commitments,
//! timelocked commits with a beacon of its own). It is no consensus and keeps nothing on disk, and it listens on
//! loopback addresses only: signatures are checked, but whoever reaches it may steer it through the `dev_` calls.
//!
//! Which client's timelocked commits open here: those sealed with the key in `Drand.BeaconConfig`, as ours are. The
//! Bittensor SDK (11.1) has quicknet's key compiled into its core, and neither a parameter nor the chain's state changes
//! it: its commits are taken, kept for their epoch and dropped in silence, as the real chain drops what it cannot open. With
//! [`Beacon::Quicknet`] the chain serves that key, and opens them as far as it is given the real signatures.
//!
//! Start reading at [`DevChain::start`]; a block comes about in `chain.rs`.
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! use nexis_devchain::{DevChain, DevChainConfig, Mode};
//! let config = DevChainConfig { mode: Mode::Manual, start_block: 1_000, ..DevChainConfig::default() };
//! let chain = DevChain::start(config).await.unwrap();
//! assert_eq!(chain.new_block().number, 1_001);
//! chain.stop().await;
//! # });
//! ```

mod apis;
mod chain;
mod config;
mod extrinsic;
mod faults;
mod handle;
mod header;
mod pallets;
mod rpc;
mod runtime;
mod spec;
mod state;
mod store;

pub use config::{Beacon, DevChainConfig, GenesisNeuron, Mode, Permits};
pub use faults::Fault;
pub use handle::{DevChain, DevChainHandle, DevHead, StartError, WeightChange};
pub use spec::{Spec, SpecError};
