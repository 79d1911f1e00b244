//! Block headers: bytes, hash and JSON.

use parity_scale_codec::{Compact, Encode as _};
use serde_json::{Value, json};
use sp_crypto_hashing::blake2_256;
use std::time::Duration;

/// A block header.
#[derive(Debug, Clone, Default)]
pub(crate) struct Header {
    pub parent: [u8; 32],
    pub number: u64,
    pub state_root: [u8; 32],
    pub extrinsics_root: [u8; 32],
    /// Digest items, encoded.
    pub logs: Vec<Vec<u8>>,
}

/// Digest item: a consensus engine's message made before the block ran.
const PRE_RUNTIME: u8 = 6;
/// Digest item of no engine.
const OTHER: u8 = 0;

impl Header {
    /// The header of block 0, the same for every dev chain.
    pub fn first() -> Self {
        Self {
            state_root: blake2_256(b"genesis of the nexis dev chain"),
            ..Self::default()
        }
    }

    /// Adds the slot, as Aura does, and the number of the fork, so that no two forks have a hash in common.
    pub fn seal(&mut self, milliseconds: u64, block_time: Duration, fork: u64) {
        let length = u64::try_from(block_time.as_millis())
            .unwrap_or(u64::MAX)
            .max(1);
        let slot = (milliseconds / length).encode();
        let mut item = vec![PRE_RUNTIME];
        item.extend(b"aura");
        slot.encode_to(&mut item);
        self.logs.push(item);
        if fork > 0 {
            let mut item = vec![OTHER];
            fork.encode().encode_to(&mut item);
            self.logs.push(item);
        }
    }

    /// The digest as SCALE writes it.
    pub fn logs_encoded(&self) -> Digest<'_> {
        Digest(&self.logs)
    }

    /// Its hash: blake2-256 of its SCALE bytes.
    pub fn hash(&self) -> [u8; 32] {
        let mut bytes = self.parent.to_vec();
        Compact(self.number).encode_to(&mut bytes);
        bytes.extend(self.state_root);
        bytes.extend(self.extrinsics_root);
        self.logs_encoded().encode_to(&mut bytes);
        blake2_256(&bytes)
    }

    /// As JSON-RPC shows it.
    pub fn json(&self) -> Value {
        let logs: Vec<String> = self.logs.iter().map(|log| hexed(log)).collect();
        json!({
            "parentHash": hexed(&self.parent),
            "number": format!("{:#x}", self.number),
            "stateRoot": hexed(&self.state_root),
            "extrinsicsRoot": hexed(&self.extrinsics_root),
            "digest": { "logs": logs },
        })
    }
}

/// Digest items one after the other: they are encoded already.
pub(crate) struct Digest<'a>(&'a [Vec<u8>]);

impl parity_scale_codec::Encode for Digest<'_> {
    fn encode_to<W: parity_scale_codec::Output + ?Sized>(&self, out: &mut W) {
        Compact(u32::try_from(self.0.len()).unwrap_or(u32::MAX)).encode_to(out);
        for item in self.0 {
            out.write(item);
        }
    }
}

/// Hex with 0x.
pub(crate) fn hexed(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}
