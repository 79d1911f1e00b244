//! Questions to a vision model: does a caption fit a clip's frames, do frames show nature (PROTOCOL §11, §12).
//!
//! Owns: the prompts, the call, its limits, and telling a passing fault from a failed call.
//! Never does: decide. Answers are read and judged by `nexis_protocol::vision`.
//! Start reading at [`VisionClient`].
//!
//! ```
//! use nexis_vision::{VisionClient, VisionSettings};
//!
//! let settings = VisionSettings::openai("sk-…".to_owned());
//! let client = VisionClient::new(&settings)?;
//! assert_eq!(client.model(), "gpt-4o");
//! # Ok::<(), nexis_vision::SettingsError>(())
//! ```

mod call;
mod client;
mod prompt;
mod settings;

pub use client::{CaptionAnswer, CategoryAnswer, GateAnswer, VisionClient};
pub use settings::{SettingsError, VisionSettings};
