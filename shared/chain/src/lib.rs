//! The chain as a validator needs it, over subxt.
//!
//! Owns: connections and fail-over, heads without gaps, snapshots of a subnet at one block,
//! commitments, hotkey wallets, and weights that are on the chain when we say so: preflight, plain
//! and timelocked submission, verification, resolution of unclear endings.
//!
//! Never does: decide who is on the subnet for how much. It reads what is there and writes what it
//! is told. Nothing is addressed by index; names are looked up in the metadata that the node serves
//! ([`selfcheck`]).
//!
//! Start reading at [`ChainClient`], then [`snapshot`], then [`submit`].
//!
//! ```
//! use nexis_chain::Network;
//!
//! let network: Network = "wss://one.example:443,wss://two.example:443".parse()?;
//! assert_eq!(network.endpoints.len(), 2);
//! # Ok::<(), nexis_chain::NetworkError>(())
//! ```

pub mod calls;
mod client;
mod clock;
pub mod commit_reveal;
pub mod commitments;
#[cfg(test)]
mod compatibility;
mod endpoint;
mod error;
mod heads;
mod port;
pub mod preflight;
mod refusal;
mod rpc;
pub mod selfcheck;
pub mod snapshot;
pub mod submit;
pub mod timelock;
pub mod wallet;
pub mod weights;

pub use client::{At, ChainClient, ConnectOptions, Head};
pub use clock::Clock;
pub use endpoint::{Endpoint, FINNEY_GENESIS, GenesisRule, Network, NetworkError};
pub use error::ChainError;
pub use heads::HeadStream;
pub use port::ChainPort;
pub use refusal::Refusal;
pub use rpc::{Backoffs, EndpointHealth, PoolOptions};
pub use snapshot::{Neuron, Snapshot};
pub use submit::{Inclusion, OnSigned, Outcome, PendingExtrinsic};
pub use wallet::{Wallet, verify};
