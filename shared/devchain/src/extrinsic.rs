//! Signed extrinsics, version 4: reading, mortality, signature.

use crate::runtime::{Call, Runtime};
use parity_scale_codec::{Compact, Decode as _, Encode as _};
use sp_crypto_hashing::blake2_256;

/// Mortality of an extrinsic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Era {
    /// Valid for ever.
    Immortal,
    /// Valid for `period` blocks from the last one of its phase.
    Mortal {
        /// Blocks, a power of two.
        period: u64,
        /// Where in the period it was made.
        phase: u64,
    },
}

impl Era {
    /// The block from which it counts, seen from a block.
    pub fn birth(self, current: u64) -> u64 {
        match self {
            Self::Immortal => 0,
            Self::Mortal { period, phase } => {
                (current.max(phase) - phase) / period * period + phase
            }
        }
    }

    /// The first block in which it is no longer valid.
    pub fn death(self, current: u64) -> Option<u64> {
        match self {
            Self::Immortal => None,
            Self::Mortal { period, .. } => Some(self.birth(current).saturating_add(period)),
        }
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        let first = take(bytes, 1)?[0];
        if first == 0 {
            return Some(Self::Immortal);
        }
        let second = take(bytes, 1)?[0];
        let encoded = u64::from(first) | (u64::from(second) << 8);
        let period = 2_u64 << (encoded % 16);
        let quantize = (period >> 12).max(1);
        let phase = (encoded >> 4) * quantize;
        (period >= 4 && phase < period).then_some(Self::Mortal { period, phase })
    }
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(head)
}

/// A signed extrinsic, read but not yet believed.
#[derive(Debug, Clone)]
pub(crate) struct Signed {
    /// Whole bytes, length prefix included.
    pub bytes: Vec<u8>,
    /// blake2-256 of them.
    pub hash: [u8; 32],
    /// Who claims to have signed.
    pub signer: [u8; 32],
    signature: Signature,
    /// Mortality.
    pub era: Era,
    /// Number among the signer's transactions.
    pub nonce: u32,
    metadata_hash: bool,
    extra: Vec<u8>,
    call_bytes: Vec<u8>,
    /// What it asks for.
    pub call: Call,
}

#[derive(Debug, Clone)]
enum Signature {
    Sr25519([u8; 64]),
    Other,
}

/// Why bytes are no extrinsic that this chain takes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadFormat {
    #[error("the bytes end early")]
    Short,
    #[error("{0} bytes are left over")]
    Long(usize),
    #[error("only signed extrinsics of version 4 are taken, this one begins with {0:#04x}")]
    Version(u8),
    #[error("addresses other than an account id are not taken")]
    Address,
    #[error("the extension {0} cannot be read")]
    Extension(String),
    #[error(transparent)]
    Call(#[from] crate::runtime::NotACall),
}

/// Hashes that a signature covers although the extrinsic does not carry them.
pub(crate) struct Covered {
    /// Genesis block.
    pub genesis: [u8; 32],
    /// The block from which a mortal one counts.
    pub birth: [u8; 32],
}

impl Signed {
    /// Reads an extrinsic by a runtime's metadata.
    pub fn read(rt: &Runtime, bytes: &[u8]) -> Result<Self, BadFormat> {
        let mut rest = bytes;
        let length = Compact::<u32>::decode(&mut rest)
            .map_err(|_| BadFormat::Short)?
            .0;
        let length = usize::try_from(length).map_err(|_| BadFormat::Short)?;
        match rest.len().checked_sub(length) {
            None => return Err(BadFormat::Short),
            Some(0) => {}
            Some(more) => return Err(BadFormat::Long(more)),
        }
        let version = take(&mut rest, 1).ok_or(BadFormat::Short)?[0];
        if version != 0x84 {
            return Err(BadFormat::Version(version));
        }
        if take(&mut rest, 1).ok_or(BadFormat::Short)? != [0] {
            return Err(BadFormat::Address);
        }
        let signer = read_array(&mut rest)?;
        let signature = match take(&mut rest, 1).ok_or(BadFormat::Short)? {
            [1] => Signature::Sr25519(read_array(&mut rest)?),
            [0] => {
                take(&mut rest, 64).ok_or(BadFormat::Short)?;
                Signature::Other
            }
            _ => {
                take(&mut rest, 65).ok_or(BadFormat::Short)?;
                Signature::Other
            }
        };
        let (mut era, mut nonce, mut metadata_hash) = (Era::Immortal, 0, false);
        let before = rest;
        for extension in &rt.extensions {
            let broken = || BadFormat::Extension(extension.name.clone());
            match extension.name.as_str() {
                "CheckMortality" => era = Era::read(&mut rest).ok_or_else(broken)?,
                "CheckNonce" => {
                    nonce = Compact::<u32>::decode(&mut rest).map_err(|_| broken())?.0;
                }
                "CheckMetadataHash" => {
                    metadata_hash = take(&mut rest, 1).ok_or_else(broken)? != [0];
                }
                _ => rt.skip(&mut rest, extension.ty).map_err(|_| broken())?,
            }
        }
        let extra = before[..before.len() - rest.len()].to_vec();
        let call = rt.call(rest)?;
        Ok(Self {
            bytes: bytes.to_vec(),
            hash: blake2_256(bytes),
            signer,
            signature,
            era,
            nonce,
            metadata_hash,
            extra,
            call_bytes: rest.to_vec(),
            call,
        })
    }

    /// Whether the signature covers this extrinsic on this chain and runtime.
    ///
    /// A metadata hash is not checked, since the chain's metadata differs in its block time: signers must leave the
    /// mode off, as all known clients do.
    pub fn is_genuine(&self, rt: &Runtime, covered: &Covered) -> bool {
        let Signature::Sr25519(signature) = &self.signature else {
            return false;
        };
        if self.metadata_hash {
            return false;
        }
        let mut payload = self.call_bytes.clone();
        payload.extend(&self.extra);
        for extension in &rt.extensions {
            match extension.name.as_str() {
                "CheckSpecVersion" => payload.extend(rt.version.spec_version.encode()),
                "CheckTxVersion" => payload.extend(rt.version.transaction_version.encode()),
                "CheckGenesis" => payload.extend(covered.genesis),
                "CheckMortality" => payload.extend(covered.birth),
                "CheckMetadataHash" => payload.push(0),
                _ => rt.zero(extension.implicit, &mut payload, 0),
            }
        }
        let message = if payload.len() > 256 {
            blake2_256(&payload).to_vec()
        } else {
            payload
        };
        let (Ok(key), Ok(signature)) = (
            schnorrkel::PublicKey::from_bytes(&self.signer),
            schnorrkel::Signature::from_bytes(signature),
        ) else {
            return false;
        };
        key.verify_simple(b"substrate", &message, &signature)
            .is_ok()
    }
}

fn read_array<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], BadFormat> {
    let found = take(bytes, N).ok_or(BadFormat::Short)?;
    found.try_into().map_err(|_| BadFormat::Short)
}

/// The timestamp inherent with which each block begins.
pub(crate) fn timestamp(rt: &Runtime, milliseconds: u64) -> Vec<u8> {
    let now = scale_value::Value::u128(u128::from(milliseconds));
    let call = rt
        .encode_call("Timestamp", "set", vec![now])
        .unwrap_or_default();
    let mut body = vec![4_u8];
    body.extend(call);
    let mut bytes = Compact(u32::try_from(body.len()).unwrap_or(u32::MAX)).encode();
    bytes.extend(body);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mortality_counts_from_the_last_block_of_its_phase() {
        let era = Era::read(&mut [0xa5_u8, 0x02].as_slice()).expect("two bytes are an era");
        assert_eq!(
            era,
            Era::Mortal {
                period: 64,
                phase: 42
            }
        );
        assert_eq!(era.birth(42), 42);
        assert_eq!(era.birth(105), 42);
        assert_eq!(era.birth(106), 106);
        assert_eq!(era.death(42), Some(106));
    }

    #[test]
    fn a_phase_outside_its_period_is_no_era() {
        assert_eq!(Era::read(&mut [0xf1_u8, 0xff].as_slice()), None);
        assert_eq!(Era::read(&mut [].as_slice()), None);
    }
}
