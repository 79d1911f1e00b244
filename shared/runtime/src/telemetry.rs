//! Logs: to standard error, for a person or as JSON. Standard output belongs to results.

use crate::config::{LogFormat, LogSettings};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::TryInitError;
use tracing_subscriber::{fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// Why logs could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The level is neither a level nor a filter.
    #[error("reading the log filter {text:?}")]
    Filter {
        /// As given.
        text: String,
        /// Why.
        #[source]
        source: ParseError,
    },
    /// Somebody set up logs before.
    #[error("setting up logs a second time in one process")]
    Twice(#[source] TryInitError),
}

/// Crates below us that tell more than an operator wants at our own level. All that lapin has to tell comes to us as
/// an error as well, and is told there once.
const CHATTY: &str = "hyper=warn,hyper_util=warn,rustls=warn,h2=warn,aws_smithy_runtime=warn,\
aws_sdk_s3=warn,jsonrpsee=warn,subxt=warn,lapin=off,soketto=warn";

/// The filter for a level (`info`, any case; Python's names too) or a tracing filter (`info,nexis_worker=debug`).
pub fn filter(text: &str) -> Result<EnvFilter, TelemetryError> {
    let level = match text.to_ascii_lowercase().as_str() {
        "critical" | "fatal" | "error" => Some("error"),
        "warning" | "warn" => Some("warn"),
        "info" => Some("info"),
        "debug" => Some("debug"),
        "trace" => Some("trace"),
        "off" => Some("off"),
        _ => None,
    };
    let directives = level.map_or_else(|| text.to_owned(), |level| format!("{level},{CHATTY}"));
    EnvFilter::try_new(directives).map_err(|source| TelemetryError::Filter {
        text: text.to_owned(),
        source,
    })
}

/// Starts logging for this process.
pub fn init(settings: &LogSettings) -> Result<(), TelemetryError> {
    let registry = tracing_subscriber::registry().with(filter(&settings.level)?);
    match settings.format {
        LogFormat::Json => {
            let layer = fmt::layer()
                .json()
                .flatten_event(true)
                .with_writer(std::io::stderr);
            registry.with(layer).try_init()
        }
        LogFormat::Plain => {
            let layer = fmt::layer()
                .with_target(false)
                .with_ansi(std::io::stderr().is_terminal())
                .with_writer(std::io::stderr);
            registry.with(layer).try_init()
        }
    }
    .map_err(TelemetryError::Twice)
}

/// An error with all its sources, for the one place where it stops travelling.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{TelemetryError, chain, filter};

    #[test]
    fn levels_and_filters_are_read_and_nonsense_is_refused() {
        for text in ["INFO", "warning", "debug", "nexis_worker=debug,warn", "off"] {
            assert!(filter(text).is_ok(), "{text}");
        }
        assert!(matches!(
            filter("a=b=c"),
            Err(TelemetryError::Filter { .. })
        ));
    }

    #[test]
    fn the_chain_of_an_error_is_one_line() {
        let Err(error) = filter("a=b=c") else {
            panic!("refused")
        };
        let text = chain(&error);
        assert!(
            text.starts_with("reading the log filter \"a=b=c\": "),
            "{text}"
        );
    }
}
