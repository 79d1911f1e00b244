//! What can be wrong with settings, and where it came from.

use std::fmt;
use std::path::PathBuf;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// A TOML file.
    File {
        /// Its path.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
    },
    /// A `.env` file.
    DotEnv {
        /// Its path.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
    },
    /// The process environment.
    Environment,
    /// A command-line flag, spelled as the user typed it.
    Flag(String),
    /// No single place: values that do not fit each other, or a value that nobody gave.
    Settings,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { path, line } | Origin::DotEnv { path, line } => {
                write!(f, "{}:{line}", path.display())
            }
            Origin::Environment => f.write_str("environment"),
            Origin::Flag(flag) => f.write_str(flag),
            Origin::Settings => f.write_str("settings"),
        }
    }
}

/// What is wrong.
#[derive(Debug)]
#[non_exhaustive]
pub enum ProblemKind {
    /// Nobody knows this name.
    Unknown {
        /// The known name nearest to it.
        nearest: Option<String>,
    },
    /// The value cannot be read.
    Invalid {
        /// The value, unless it is a secret.
        value: Option<String>,
        /// What would be accepted.
        expected: String,
    },
    /// The command needs this setting and nobody gave it.
    Missing {
        /// What it is for.
        help: &'static str,
    },
    /// The same setting under two names in one place.
    Twice {
        /// The other name.
        other: String,
    },
    /// A file cannot be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    Syntax {
        /// What its parser says.
        message: String,
    },
    /// Values that are fine alone do not fit each other.
    Conflict {
        /// The rule, with the values in it.
        rule: String,
    },
}

/// One thing that is wrong.
#[derive(Debug)]
pub struct Problem {
    /// Where.
    pub origin: Origin,
    /// Which setting, as it was spelled there.
    pub name: String,
    /// What.
    pub kind: ProblemKind,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: ", self.origin, self.name)?;
        match &self.kind {
            ProblemKind::Unknown {
                nearest: Some(name),
            } => {
                write!(f, "no such setting; did you mean {name}?")
            }
            ProblemKind::Unknown { nearest: None } => {
                f.write_str("no such setting; `nexis config` lists all")
            }
            ProblemKind::Invalid {
                value: Some(value),
                expected,
            } => {
                write!(f, "cannot read {value:?}; expected {expected}")
            }
            ProblemKind::Invalid {
                value: None,
                expected,
            } => {
                write!(f, "cannot read its (secret) value; expected {expected}")
            }
            ProblemKind::Missing { help } => write!(f, "is needed and not set: {help}"),
            ProblemKind::Twice { other } => {
                write!(f, "is set here as {other} too; keep one of them")
            }
            ProblemKind::Unreadable { path, source } => {
                write!(f, "cannot read {}: {source}", path.display())
            }
            ProblemKind::Syntax { message } => f.write_str(message),
            ProblemKind::Conflict { rule } => f.write_str(rule),
        }
    }
}

/// Everything that is wrong with the settings. Never empty.
#[derive(Debug)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    pub(super) fn new(problems: Vec<Problem>) -> Self {
        debug_assert!(!problems.is_empty(), "an error without a problem");
        Self { problems }
    }

    /// The problems, in the order of the sources.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.problems.len() == 1 { "" } else { "s" };
        write!(
            f,
            "{} problem{plural} in the settings, nothing was started",
            self.problems.len()
        )?;
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Something the operator should know that does not stop the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Where.
    pub origin: Origin,
    /// Which setting.
    pub name: String,
    /// What about it.
    pub message: &'static str,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.origin, self.name, self.message)
    }
}
