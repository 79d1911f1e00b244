//! What every process needs around its work.
//!
//! *Owns*: settings ([`config`]), secrets ([`secret`]), exit codes ([`exit`]), tasks and their orderly end
//! ([`lifecycle`]), addresses and connections to servers ([`address`], [`tls`]), logs ([`telemetry`]), counters ([`metrics`]), the health page ([`health`]), pauses between
//! attempts ([`backoff`]) and calls that share round trips ([`batch`]).
//! *Never does*: know the protocol, the chain, a queue or a bucket.
//! *Start reading* at [`config`]: its table lists every setting there is.
//!
//! ```
//! use nexis_runtime::config::{Settings, Sources};
//!
//! let sources = Sources::empty().with_env("NEXIS_NETUD", "70").with_env("NEXIS_FETCH_BUDGET", "soon");
//! let refused = Settings::load(&sources).unwrap_err();
//! assert_eq!(refused.problems().len(), 2);
//! assert!(refused.to_string().contains("did you mean NEXIS_NETUID?"));
//! ```

pub mod address;
pub mod backoff;
pub mod batch;
pub mod config;
pub mod exit;
pub mod health;
pub mod lifecycle;
pub mod machine;
pub mod metrics;
pub mod redact;
pub mod secret;
pub mod telemetry;
pub mod tls;

pub use address::Address;
pub use config::{Settings, Sources};
pub use exit::Exit;
pub use lifecycle::Lifecycle;
pub use redact::Redactor;
pub use secret::Secret;
