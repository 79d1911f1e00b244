//! Sealing weights until a beacon round (CHAIN.md §2.D, §4).
//!
//! The chain reads ciphertexts in the layout of an older release of the same library, which puts an
//! eight-byte length in front of two 32-byte fields: [`seal`] inserts those, [`open`] takes them out.

use crate::ChainError;
use ark_serialize::{CanonicalDeserialize as _, CanonicalSerialize as _};
use parity_scale_codec::{Decode, Encode};
use rand_core::{OsRng, RngCore as _};
use sha2::{Digest as _, Sha256};
use timelock::block_ciphers::AESGCMBlockCipherProvider;
use timelock::engines::EngineBLS;
use timelock::engines::drand::TinyBLS381;
use timelock::ibe::fullident::Identity;
use timelock::tlock::{TLECiphertext, tld, tle};
use zeroize::Zeroizing;

/// Public key of drand's quicknet, the beacon of finney (96 bytes, compressed).
pub const QUICKNET_KEY: &str = "83cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c8c4b450b6a0a6c3ac6a5776a2d1064510d1fec758c921cc22b0e17e63aaf4bcb5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76eae8991ef5ece45a";
/// First second of quicknet, unix time.
pub const QUICKNET_GENESIS: u64 = 1_692_803_367;
/// Seconds between rounds of quicknet.
pub const QUICKNET_PERIOD: u64 = 3;

/// Length of a 32-byte field as the chain's layout writes it.
const FIELD_LENGTH: [u8; 8] = [32, 0, 0, 0, 0, 0, 0, 0];
/// Where V starts in the library's own layout, behind U.
const V_AT: usize = 96;
/// Where W starts in the library's own layout.
const W_AT: usize = 128;

/// What is sealed: version 4 of the chain's scheme.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WeightsPayload {
    /// Public key of the committer; the chain drops the commit when it differs.
    pub hotkey: Vec<u8>,
    /// Slots.
    pub uids: Vec<u16>,
    /// Shares.
    pub values: Vec<u16>,
    /// Version key.
    pub version_key: u64,
}

/// The identity that a round's signature opens: SHA-256 of the number, big-endian.
fn identity(round: u64) -> Identity {
    Identity::new(b"", &Sha256::digest(round.to_be_bytes()))
}

fn broken(detail: &str) -> ChainError {
    ChainError::Invalid {
        what: "timelocked weights".into(),
        detail: detail.into(),
    }
}

/// Seals bytes so that the beacon's signature of `round` opens them. Takes 3 to 9 ms when optimised.
pub fn seal(plain: &[u8], round: u64, beacon_key: &[u8]) -> Result<Vec<u8>, ChainError> {
    let key = <TinyBLS381 as EngineBLS>::PublicKeyGroup::deserialize_compressed(beacon_key)
        .map_err(|_| broken("the beacon's public key is not a point of its curve"))?;
    let mut secret = Zeroizing::new([0u8; 32]);
    OsRng.fill_bytes(secret.as_mut());
    let sealed: TLECiphertext<TinyBLS381> = tle::<TinyBLS381, AESGCMBlockCipherProvider, _>(
        key,
        *secret,
        plain,
        identity(round),
        OsRng,
    )
    .map_err(|e| broken(&format!("sealing: {e:?}")))?;
    let mut bytes = Vec::new();
    sealed
        .serialize_compressed(&mut bytes)
        .map_err(|e| broken(&e.to_string()))?;
    bytes.splice(W_AT..W_AT, FIELD_LENGTH);
    bytes.splice(V_AT..V_AT, FIELD_LENGTH);
    Ok(bytes)
}

/// Opens what [`seal`] (or the Python tools) sealed, with the beacon's signature (48 bytes).
pub fn open(sealed: &[u8], signature: &[u8]) -> Result<Vec<u8>, ChainError> {
    let mut bytes = sealed.to_vec();
    for at in [V_AT, W_AT] {
        if bytes.get(at..at + 8) != Some(&FIELD_LENGTH[..]) {
            return Err(broken("the ciphertext has not the chain's layout"));
        }
        bytes.drain(at..at + 8);
    }
    let sealed = TLECiphertext::<TinyBLS381>::deserialize_compressed(&*bytes)
        .map_err(|e| broken(&e.to_string()))?;
    let signature = <TinyBLS381 as EngineBLS>::SignatureGroup::deserialize_compressed(signature)
        .map_err(|_| broken("the signature is not a point of its curve"))?;
    tld::<TinyBLS381, AESGCMBlockCipherProvider>(sealed, signature)
        .map_err(|e| broken(&format!("opening: {e:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND_1000: &str = "b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125e342b73a8dd2bacbe47e4b6b63ed5e39";

    #[test]
    fn what_is_sealed_for_a_known_quicknet_round_opens_with_its_signature() {
        let key = hex::decode(QUICKNET_KEY).unwrap();
        let plain = b"fifteen bytes!!";
        let sealed = seal(plain, 1000, &key).unwrap();
        assert_eq!(sealed.len(), 244 + plain.len());
        assert_eq!(sealed[96..104], FIELD_LENGTH);
        assert_eq!(sealed[136..144], FIELD_LENGTH);
        assert!(sealed.ends_with(b"\x08\0\0\0\0\0\0\0AES_GCM_"));
        let signature = hex::decode(ROUND_1000).unwrap();
        assert_eq!(open(&sealed, &signature).unwrap(), plain);
        let other = seal(plain, 1001, &key).unwrap();
        assert!(
            open(&other, &signature).is_err(),
            "another round's signature opens nothing"
        );
    }

    #[test]
    fn a_full_subnets_payload_has_the_size_the_chain_expects() {
        let payload = WeightsPayload {
            hotkey: vec![1; 32],
            uids: (0..256).collect(),
            values: vec![7; 256],
            version_key: 1,
        };
        let bytes = payload.encode();
        assert_eq!(bytes.len(), 1069);
        assert_eq!(bytes[0], 0x80, "the hotkey carries its length");
        let key = hex::decode(QUICKNET_KEY).unwrap();
        assert_eq!(seal(&bytes, 1000, &key).unwrap().len(), 1313);
    }

    #[test]
    fn damaged_ciphertexts_and_keys_are_refused() {
        assert!(seal(b"x", 1, &[0; 96]).is_err());
        assert!(seal(b"x", 1, &[]).is_err());
        let signature = hex::decode(ROUND_1000).unwrap();
        assert!(open(&[], &signature).is_err());
        assert!(open(&[0; 400], &signature).is_err());
    }
}
