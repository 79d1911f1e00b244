//! SHA-256 while the bytes stream by.

use sha2::{Digest as _, Sha256};

/// A running SHA-256.
#[derive(Clone, Default)]
pub struct StreamDigest(Sha256);

impl StreamDigest {
    /// Takes the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The 32 bytes of the digest.
    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// SHA-256 of bytes that are already in memory.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
