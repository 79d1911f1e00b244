use crate::FaultClass;
use async_trait::async_trait;

/// An archive's failure.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The store is unavailable.
    #[error("reaching the archive: {0}")]
    Unavailable(String),
    /// The store refused us, or the name is not one we may use.
    #[error("the archive refused us: {0}")]
    Refused(String),
}

impl ArchiveError {
    /// What a caller may do about it.
    pub const fn class(&self) -> FaultClass {
        match self {
            Self::Unavailable(_) => FaultClass::Transient,
            Self::Refused(_) => FaultClass::Permanent,
        }
    }
}

/// Evidence that outlives a round: what was seen and decided, one object per interval and kind.
/// Writes are atomic: a reader sees the old object or the new one, never half.
#[async_trait]
pub trait Archive: Send + Sync {
    /// Stores an object, replacing one of the same name.
    async fn put(&self, name: &str, bytes: &[u8]) -> Result<(), ArchiveError>;
    /// Stores an object unless one of that name is there; whoever was first wins, and what is there never changes.
    /// True when this call stored it.
    async fn create(&self, name: &str, bytes: &[u8]) -> Result<bool, ArchiveError>;
    /// Reads an object.
    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, ArchiveError>;
    /// Removes an object; true when there was one.
    async fn remove(&self, name: &str) -> Result<bool, ArchiveError>;
    /// At most `limit` names that start with `prefix` and do not come before `start`, ascending: one page of a
    /// listing. It costs what the prefix holds, however much the rest of the archive holds.
    async fn list_from(
        &self,
        prefix: &str,
        start: &str,
        limit: usize,
    ) -> Result<Vec<String>, ArchiveError>;
    /// Names that start with `prefix`, ascending.
    async fn list(&self, prefix: &str) -> Result<Vec<String>, ArchiveError> {
        self.list_from(prefix, "", usize::MAX).await
    }
}
