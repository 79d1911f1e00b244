//! Identifiers. Each is a newtype with a private field, so that a block cannot be passed where
//! an interval is meant, and `Display`/`FromStr` round-trip.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Why a text is not the identifier it was read as.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not a decimal number.
    #[error("'{0}' is not a whole number")]
    NotANumber(String),
    /// Not an SS58 address: wrong alphabet, length or checksum.
    #[error("'{text}' is not an SS58 address: {reason}")]
    NotAnAddress {
        /// What was given.
        text: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// Not 64 lower-case hex digits.
    #[error("'{0}' is not a SHA-256 digest of 64 lower-case hex digits")]
    NotADigest(String),
    /// A job id that does not follow `miner/{interval}/{hotkey}` or `clip/{interval}/{hotkey}/{row}`.
    #[error("'{0}' is not a job id")]
    NotAJob(String),
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
        #[serde(transparent)]
        pub struct $name($inner);

        impl $name {
            /// Wraps a number.
            pub const fn new(value: $inner) -> Self {
                Self(value)
            }
            /// The number inside.
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                text.parse().map(Self).map_err(|_| IdError::NotANumber(text.to_owned()))
            }
        }
    };
}

number_id!(
    /// Height of a block.
    BlockNumber,
    u64
);
number_id!(
    /// An interval, named by the height of its first block (PROTOCOL §2).
    IntervalId,
    u64
);
number_id!(
    /// Number of a weight epoch: block height div submission period (PROTOCOL §2).
    WeightEpoch,
    u64
);
number_id!(
    /// Fencing token of a leader: grows with each change of leadership, older ones are refused.
    LeaderEpoch,
    u64
);
number_id!(
    /// A neuron's slot on the subnet. Slots are reused: never a key of stored state.
    Uid,
    u16
);
number_id!(
    /// A subnet's number on the chain.
    Netuid,
    u16
);

/// A hotkey: the SS58 spelling of a 32-byte public key, checked.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hotkey(Arc<str>);

impl Hotkey {
    /// The address of a public key with prefix 42, the one that Bittensor uses.
    pub fn from_public_key(key: &[u8; 32]) -> Self {
        let mut bytes = Vec::with_capacity(35);
        bytes.push(42);
        bytes.extend_from_slice(key);
        let check = ss58_checksum(&bytes);
        bytes.extend_from_slice(&check[..2]);
        Self(base58_encode(&bytes).into())
    }

    /// The spelling.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The 32 bytes that the address spells.
    pub fn public_key(&self) -> [u8; 32] {
        decode_ss58(&self.0).expect("checked when the hotkey was made")
    }

    /// The miner's bucket: its hotkey in lower case (PROTOCOL §3).
    pub fn bucket_name(&self) -> String {
        self.0.to_lowercase()
    }
}

impl fmt::Display for Hotkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Hotkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Hotkey {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for Hotkey {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        decode_ss58(text)
            .map(|_| Self(text.into()))
            .map_err(|reason| IdError::NotAnAddress {
                text: text.to_owned(),
                reason,
            })
    }
}

impl TryFrom<String> for Hotkey {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<Hotkey> for String {
    fn from(key: Hotkey) -> Self {
        key.0.as_ref().to_owned()
    }
}

const BASE58: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

fn base58_encode(bytes: &[u8]) -> String {
    let mut digits: Vec<u8> = Vec::with_capacity(bytes.len() * 2);
    for &byte in bytes {
        let mut carry = u32::from(byte);
        for digit in &mut digits {
            carry += u32::from(*digit) << 8;
            *digit = (carry % 58) as u8;
            carry /= 58;
        }
        while carry > 0 {
            digits.push((carry % 58) as u8);
            carry /= 58;
        }
    }
    let zeros = bytes.iter().take_while(|b| **b == 0).count();
    let mut text = "1".repeat(zeros);
    text.extend(
        digits
            .iter()
            .rev()
            .map(|d| char::from(BASE58[usize::from(*d)])),
    );
    text
}

/// The digit that each ASCII character stands for; 58: none.
const BASE58_DIGITS: [u8; 128] = {
    let mut digits = [58; 128];
    let mut digit = 0;
    while digit < 58 {
        digits[BASE58[digit as usize] as usize] = digit;
        digit += 1;
    }
    digits
};

fn base58_decode(text: &str) -> Option<Vec<u8>> {
    // In words of 32 bits, the lowest first: every message that travels has an address in it.
    let mut words: Vec<u32> = Vec::with_capacity(text.len() / 5 + 1);
    for c in text.bytes() {
        let digit = BASE58_DIGITS
            .get(usize::from(c))
            .filter(|digit| **digit < 58)?;
        let mut carry = u64::from(*digit);
        for word in &mut words {
            carry += u64::from(*word) * 58;
            *word = (carry & 0xffff_ffff) as u32;
            carry >>= 32;
        }
        if carry > 0 {
            words.push((carry & 0xffff_ffff) as u32);
        }
    }
    let mut bytes: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    let zeros = text.bytes().take_while(|b| *b == b'1').count();
    bytes.extend(std::iter::repeat_n(0, zeros));
    bytes.reverse();
    Some(bytes)
}

fn ss58_checksum(bytes: &[u8]) -> [u8; 64] {
    use blake2::{Blake2b512, Digest as _};
    let mut hasher = Blake2b512::new();
    hasher.update(b"SS58PRE");
    hasher.update(bytes);
    hasher.finalize().into()
}

/// Reads the public key out of an SS58 address with any prefix.
fn decode_ss58(text: &str) -> Result<[u8; 32], &'static str> {
    if text.len() > 64 {
        return Err("it is longer than 64 characters");
    }
    let bytes = base58_decode(text).ok_or("it has a character outside the base58 alphabet")?;
    let prefix_len = match bytes.first() {
        Some(0..=63) => 1,
        Some(64..=127) => 2,
        _ => return Err("its network prefix is not valid"),
    };
    if bytes.len() != prefix_len + 34 {
        return Err("it does not hold 32 bytes of key");
    }
    let (body, check) = bytes.split_at(prefix_len + 32);
    if ss58_checksum(body)[..2] != *check {
        return Err("its checksum does not match: a letter is wrong");
    }
    let mut key = [0; 32];
    key.copy_from_slice(&body[prefix_len..]);
    Ok(key)
}

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Wraps the 32 bytes of a digest.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
    /// Hashes bytes held in memory.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let bad = || IdError::NotADigest(text.to_owned());
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(bad());
        }
        let bytes = hex::decode(text).map_err(|_| bad())?;
        bytes.try_into().map(Self).map_err(|_| bad())
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?
                .parse()
                .map_err(serde::de::Error::custom)
        } else {
            <[u8; 32]>::deserialize(deserializer).map(Self)
        }
    }
}

/// A job's id. Computed from what the job is about, never drawn, so that doing it twice is harmless.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum JobId {
    /// Read and screen one miner's package.
    Miner {
        /// The interval of the package.
        interval: IntervalId,
        /// The miner.
        hotkey: Hotkey,
    },
    /// Check the assets of one row.
    Clip {
        /// The interval of the package.
        interval: IntervalId,
        /// The miner.
        hotkey: Hotkey,
        /// Index of the row in the data set as published.
        row: u32,
    },
}

impl JobId {
    /// The interval that the job belongs to.
    pub const fn interval(&self) -> IntervalId {
        match self {
            Self::Miner { interval, .. } | Self::Clip { interval, .. } => *interval,
        }
    }
    /// The miner whose data the job reads.
    pub const fn hotkey(&self) -> &Hotkey {
        match self {
            Self::Miner { hotkey, .. } | Self::Clip { hotkey, .. } => hotkey,
        }
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Miner { interval, hotkey } => write!(f, "miner/{interval}/{hotkey}"),
            Self::Clip {
                interval,
                hotkey,
                row,
            } => write!(f, "clip/{interval}/{hotkey}/{row}"),
        }
    }
}

impl FromStr for JobId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let bad = || IdError::NotAJob(text.to_owned());
        let parts: Vec<&str> = text.split('/').collect();
        match parts.as_slice() {
            ["miner", interval, hotkey] => Ok(Self::Miner {
                interval: interval.parse()?,
                hotkey: hotkey.parse()?,
            }),
            ["clip", interval, hotkey, row] => Ok(Self::Clip {
                interval: interval.parse()?,
                hotkey: hotkey.parse()?,
                row: row.parse().map_err(|_| bad())?,
            }),
            _ => Err(bad()),
        }
    }
}

impl TryFrom<String> for JobId {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: &str = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";

    #[test]
    fn an_address_and_its_key_round_trip() {
        let key: Hotkey = ALICE.parse().unwrap();
        assert_eq!(hex::encode(key.public_key())[..8], *"d43593c7");
        assert_eq!(Hotkey::from_public_key(&key.public_key()), key);
    }

    #[test]
    fn base58_reads_back_whatever_it_wrote() {
        let mut bytes = Vec::new();
        for n in 0_u32..200 {
            let text = base58_encode(&bytes);
            assert_eq!(base58_decode(&text), Some(bytes.clone()), "{text}");
            let next = u8::try_from(n * n % 256).unwrap();
            // Leading zeros and zeros in between, too.
            bytes.push(if n % 5 < 2 { 0 } else { next });
        }
        for foreign in ["0", "O", "I", "l", "5Grw vaEF", "é", "\u{7f}"] {
            assert_eq!(base58_decode(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn an_address_with_one_wrong_letter_is_refused() {
        let wrong = ALICE.replace("utQY", "utQZ");
        assert!(wrong.parse::<Hotkey>().is_err());
    }

    #[test]
    fn job_ids_round_trip_through_their_text() {
        for text in [format!("miner/50/{ALICE}"), format!("clip/100/{ALICE}/7")] {
            assert_eq!(text.parse::<JobId>().unwrap().to_string(), text);
        }
        assert!("clip/100/x/7".parse::<JobId>().is_err());
    }
}
