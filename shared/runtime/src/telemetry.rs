//! Logs: to standard error, for a person or as JSON. Standard output belongs to results.

use crate::Redactor;
use crate::config::{LogFormat, LogSettings};
use std::io::{self, IsTerminal, Write};
use tracing::Metadata;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{ParseError, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
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

/// Drivers that write credentials of others into their finer lines: a miner's access key, the handshake with a broker.
/// No filter of the operator's lets these through.
const TALKATIVE: [&str; 6] = [
    "aws_",
    "lapin",
    "amq_protocol",
    "tcp_stream",
    "redis",
    "rustls",
];

fn is_discreet(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    *metadata.level() <= LevelFilter::INFO
        || !TALKATIVE.iter().any(|prefix| target.starts_with(prefix))
}

/// Where lines go, with secrets taken out of each.
struct Discreet<M> {
    redactor: Redactor,
    to: M,
}

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for Discreet<M> {
    type Writer = DiscreetLine<'a, M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        DiscreetLine {
            redactor: &self.redactor,
            to: self.to.make_writer(),
        }
    }
}

/// The subscriber writes one event with one call.
struct DiscreetLine<'a, W> {
    redactor: &'a Redactor,
    to: W,
}

impl<W: Write> Write for DiscreetLine<'_, W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        self.to.write_all(self.redactor.apply(&text).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

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

/// Starts logging for this process; what the redactor hides is in no line.
pub fn init(settings: &LogSettings, redactor: Redactor) -> Result<(), TelemetryError> {
    let registry = tracing_subscriber::registry()
        .with(filter(&settings.level)?)
        .with(filter_fn(is_discreet));
    let writer = Discreet {
        redactor,
        to: io::stderr,
    };
    match settings.format {
        LogFormat::Json => {
            let layer = fmt::layer().json().flatten_event(true).with_writer(writer);
            registry.with(layer).try_init()
        }
        LogFormat::Plain => {
            let layer = fmt::layer()
                .with_target(false)
                .with_ansi(std::io::stderr().is_terminal())
                .with_writer(writer);
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
    use super::{Discreet, TelemetryError, chain, filter, is_discreet};
    use crate::redact::Words;
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::filter::filter_fn;
    use tracing_subscriber::{fmt, layer::SubscriberExt};

    /// Keeps what is written.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("nobody panicked").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn no_line_has_a_secret_and_drivers_are_quiet_below_info_whatever_the_filter_says() {
        let kept = Kept::default();
        let to = kept.clone();
        let mut words = Words::default();
        words.secret("Pa55-w0rd");
        let writer = Discreet {
            redactor: words.into(),
            to: move || to.clone(),
        };
        let subscriber = tracing_subscriber::registry()
            .with(filter("trace,aws_sigv4=trace").expect("a filter"))
            .with(filter_fn(is_discreet))
            .with(fmt::layer().json().with_writer(writer));
        tracing::subscriber::with_default(subscriber, || {
            tracing::trace!(target: "nexis_worker", user = "Pa55-w0rd", "connecting as Pa55-w0rd");
            tracing::trace!(target: "aws_sigv4::sign", access_key_id = "bf93", "signing");
            tracing::debug!(target: "lapin::channel", uri = "amqp://x", "connecting");
            tracing::info!(target: "aws_config", "loaded");
        });
        let lines = String::from_utf8(kept.0.lock().expect("nobody panicked").clone());
        let lines = lines.expect("text");
        assert_eq!(lines.lines().count(), 2, "{lines}");
        assert!(
            lines.contains("connecting as (hidden)") && lines.contains("loaded"),
            "{lines}"
        );
        assert!(
            !lines.contains("Pa55") && !lines.contains("bf93"),
            "{lines}"
        );
    }

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
