//! The randomness beacon: one of the chain's own, with real signatures under a key that it publishes in
//! `Drand.BeaconConfig`, so that timelocked commits open without the internet; or quicknet's, as far as it is known.

use crate::config::Beacon;
use crate::state::State;
use ark_bls12_381::{Fr, G1Projective, G2Projective};
use ark_ec::PrimeGroup as _;
use ark_serialize::{CanonicalDeserialize as _, CanonicalSerialize as _};
use parity_scale_codec::{Decode as _, Encode as _};
use scale_value::Value;
use sha2::{Digest as _, Sha256};
use std::sync::OnceLock;
use timelock::block_ciphers::AESGCMBlockCipherProvider;
use timelock::engines::drand::TinyBLS381;
use timelock::ibe::fullident::Identity;
use timelock::tlock::{TLECiphertext, tld};

/// Seconds between two rounds, as on drand's quicknet.
pub(crate) const PERIOD_SECONDS: u64 = 3;
/// Unix time of round 1, as on drand's quicknet.
pub(crate) const GENESIS_SECONDS: u64 = 1_692_803_367;
/// Bytes of `U`; after them, and after `V`, the chain's ciphertexts state the length of what follows.
const U_BYTES: usize = 96;
/// Bytes of `V` and of `W`.
const HASH_BYTES: usize = 32;
/// SCALE bytes that state a pulse: round, two short byte strings.
type Pulse = (u64, Vec<u8>, Vec<u8>);

fn secret() -> Fr {
    let mut bytes: [u8; 32] = Sha256::digest(b"beacon of the nexis dev chain").into();
    bytes[31] = 0;
    Fr::deserialize_compressed(bytes.as_slice()).expect("31 bytes are below the group order")
}

/// The beacon's public key, compressed (96 bytes in G2).
fn public_key() -> &'static [u8] {
    static KEY: OnceLock<Vec<u8>> = OnceLock::new();
    KEY.get_or_init(|| {
        let mut bytes = Vec::new();
        (G2Projective::generator() * secret())
            .serialize_compressed(&mut bytes)
            .expect("a vector takes any bytes");
        bytes
    })
}

/// Writes the beacon's description. Quicknet's is what the runtime takes when there is none.
pub(crate) fn genesis(state: &mut State<'_>, beacon: &Beacon) {
    if *beacon != Beacon::Own {
        return;
    }
    let bytes = |b: &[u8]| Value::unnamed_composite([Value::from_bytes(b)]);
    let text = |t: &str| bytes(t.as_bytes());
    let config = Value::named_composite([
        ("public_key", bytes(public_key())),
        ("period", Value::u128(u128::from(PERIOD_SECONDS))),
        ("genesis_time", Value::u128(u128::from(GENESIS_SECONDS))),
        ("hash", bytes(&Sha256::digest(public_key()))),
        ("group_hash", bytes(&Sha256::digest(b"nexis dev chain"))),
        ("scheme_id", text("bls-unchained-g1-rfc9380")),
        (
            "metadata",
            Value::named_composite([("beacon_id", text("devchain"))]),
        ),
    ]);
    if let Some(value) = state.rt.storage_value("Drand", "BeaconConfig", &config) {
        state.write(state.rt.key("Drand", "BeaconConfig", &[]), Some(value));
    } else {
        tracing::error!("the beacon's description does not fit the metadata");
    }
}

/// Moves the beacon to a chain time. Signatures are made when they are needed.
pub(crate) fn on_block(state: &mut State<'_>, milliseconds: u64) {
    let elapsed = (milliseconds / 1_000).saturating_sub(GENESIS_SECONDS);
    let round = elapsed / PERIOD_SECONDS + 1;
    let last: u64 = state
        .get("Drand", "LastStoredRound", &[])
        .unwrap_or_default();
    if round > last {
        state.put("Drand", "LastStoredRound", &[], &round);
        if last == 0 {
            state.put("Drand", "OldestStoredRound", &[], &round);
        }
    }
}

/// The signature of a round that has come, storing its pulse; `None` while it lies in the future.
pub(crate) fn signature(state: &mut State<'_>, beacon: &Beacon, round: u64) -> Option<Vec<u8>> {
    let key = round.encode();
    if let Some((_, _, signature)) = state.get::<Pulse>("Drand", "Pulses", &[&key]) {
        return Some(signature);
    }
    let last: u64 = state
        .get("Drand", "LastStoredRound", &[])
        .unwrap_or_default();
    if round == 0 || round > last {
        return None;
    }
    let signature = match beacon {
        Beacon::Own => own_signature(round)?,
        Beacon::Quicknet { signatures } => {
            let known = signatures.iter().find(|(known, _)| *known == round);
            known?.1.clone()
        }
    };
    let pulse: Pulse = (
        round,
        Sha256::digest(&signature).to_vec(),
        signature.clone(),
    );
    state.put("Drand", "Pulses", &[&key], &pulse);
    Some(signature)
}

fn own_signature(round: u64) -> Option<Vec<u8>> {
    let mut signature = Vec::new();
    identity(round)
        .extract::<TinyBLS381>(secret())
        .0
        .serialize_compressed(&mut signature)
        .ok()?;
    Some(signature)
}

fn identity(round: u64) -> Identity {
    Identity::new(b"", &Sha256::digest(round.to_be_bytes()))
}

/// Opens a ciphertext in the layout of the chain (CHAIN.md §2.D) with a round's signature.
pub(crate) fn decrypt(ciphertext: &[u8], signature: &[u8]) -> Option<Vec<u8>> {
    let signature = G1Projective::deserialize_compressed(signature).ok()?;
    let mut plain_layout = Vec::with_capacity(ciphertext.len());
    let (u, rest) = ciphertext.split_at_checked(U_BYTES)?;
    plain_layout.extend(u);
    let mut rest = rest;
    for _ in 0..2 {
        let (length, after) = rest.split_at_checked(8)?;
        if u64::decode(&mut &*length).ok()? != u64::try_from(HASH_BYTES).ok()? {
            return None;
        }
        let (hash, after) = after.split_at_checked(HASH_BYTES)?;
        plain_layout.extend(hash);
        rest = after;
    }
    // Two byte strings follow; a stated length beyond the bytes would make the reader reserve that much.
    let mut ahead = rest;
    for _ in 0..2 {
        let (length, after) = ahead.split_at_checked(8)?;
        let length = usize::try_from(u64::decode(&mut &*length).ok()?).ok()?;
        ahead = after.split_at_checked(length)?.1;
    }
    plain_layout.extend(rest);
    let read = TLECiphertext::<TinyBLS381>::deserialize_compressed(plain_layout.as_slice()).ok()?;
    let inner = u64::decode(&mut read.body.get(..8)?).ok()?;
    if usize::try_from(inner).ok()? > read.body.len() {
        return None;
    }
    tld::<TinyBLS381, AESGCMBlockCipherProvider>(read, signature).ok()
}
