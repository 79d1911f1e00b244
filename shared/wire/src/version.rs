//! Versions of the shapes that this program reads.

use std::fmt;

/// A version of the shapes. Each change that an older reader cannot read makes a new one; the shapes of the versions
/// before are kept in modules of their own and read for ever, since the archive keeps them for years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum WireVersion {
    /// Before the budgets per miner travelled with the jobs.
    V2 = 2,
    /// What this program writes.
    V3 = 3,
}

impl WireVersion {
    /// What this program writes.
    pub const CURRENT: Self = Self::V3;
    /// All that it reads, oldest first.
    pub const ALL: [Self; 2] = [Self::V2, Self::V3];

    /// As it stands in a message.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The version of this number, when this program reads it.
    pub fn of(number: u8) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|version| version.number() == number)
    }
}

impl fmt::Display for WireVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.number())
    }
}
