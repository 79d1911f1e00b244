//! Settings: one table of names, one typed structure, all problems at once.
//!
//! Order of sources, later wins: built-in defaults, a TOML file, `.env`, the environment, command-line flags.
//! A name that nobody knows, or a value that cannot be read, stops the start ([`crate::Exit::Config`]); everything
//! that is wrong is reported together, each with where it came from and the nearest known name. See ADR 0004.
//!
//! To add a setting: one line in [`table`], one field in [`Settings`], and run the drift test, which
//! rewrites `docs/configuration.md` when `target/bless` exists.
//!
//! Only this module reads the process environment (a clippy rule bans it elsewhere).

mod dotenv;
mod nearest;
mod problem;
mod reader;
mod render;
mod rules;
mod service_links;
mod settings;
mod sources;
pub mod table;
mod toml_file;
pub mod units;

pub use nearest::nearest;
pub use problem::{ConfigError, Notice, Origin, Problem, ProblemKind};
pub use render::reference;
pub use settings::{
    AMQP_SCHEMES, ApiSettings, ChainSettings, EvidenceSettings, FleetSettings, Keys, LimitSettings,
    LogFormat, LogSettings, MinerSettings, OwnerSettings, PictureChecks, ProfileSettings,
    REDIS_SCHEMES, RecordInfoSettings, Sampling, Settings, StoreSettings, ValidatorSettings,
    VisionCheck, VisionSettings, WalletSettings,
};
pub use sources::{Flag, Sources};

#[cfg(test)]
mod tests;
