//! How a process ends, by name. The numbers follow `sysexits.h`; docs/operations.md says what to do at each.

use std::process::{ExitCode, Termination};

/// Exit code of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use]
pub enum Exit {
    /// 0: the work is done, or we were asked to stop and did.
    Asked,
    /// 64: the command line makes no sense.
    Usage,
    /// 70: a task that must not end has ended.
    TaskDied,
    /// 75: the outside is not ready; start again later.
    TryAgain,
    /// 78: the settings are wrong; nothing was started.
    Config,
}

impl Exit {
    /// Every way to end, for tables and tests.
    pub const ALL: [Exit; 5] = [
        Exit::Asked,
        Exit::Usage,
        Exit::TaskDied,
        Exit::TryAgain,
        Exit::Config,
    ];

    /// The number that the parent process sees.
    pub const fn code(self) -> u8 {
        match self {
            Exit::Asked => 0,
            Exit::Usage => 64,
            Exit::TaskDied => 70,
            Exit::TryAgain => 75,
            Exit::Config => 78,
        }
    }

    /// One clause for a person.
    pub const fn meaning(self) -> &'static str {
        match self {
            Exit::Asked => "done, or asked to stop",
            Exit::Usage => "the command line makes no sense",
            Exit::TaskDied => "a task that must not end has ended",
            Exit::TryAgain => "the outside is not ready, try again later",
            Exit::Config => "the settings are wrong, nothing was started",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        self.into()
    }
}

#[cfg(test)]
mod tests {
    use super::Exit;

    #[test]
    fn codes_are_the_promised_ones_and_differ() {
        let codes: Vec<u8> = Exit::ALL.iter().map(|exit| exit.code()).collect();
        assert_eq!(codes, [0, 64, 70, 75, 78]);
    }
}
