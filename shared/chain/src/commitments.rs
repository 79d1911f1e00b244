//! What miners publish: `Commitments.CommitmentOf`, decoded by hand.
//!
//! The value is hostile input of up to a few kilobytes. Layout (CHAIN.md §2.C):
//! `deposit u64 LE | block u32 LE | compact n | n × Data`, where a `Data` starts with a tag byte:
//! 0 none, 1..=129 raw bytes (tag − 1 of them, no length), 130..=133 a 32-byte hash,
//! 134 timelock-encrypted, 135 a flag, 136 long raw bytes, 137 a failed reveal.

use serde::{Deserialize, Serialize};

/// Most bytes of a plain commitment (`Raw128`).
pub const MAX_RAW_BYTES: usize = 128;
/// Most bytes of a `BigRaw` field.
const MAX_BIG_RAW_BYTES: usize = 512;
/// Most fields of a commitment.
const MAX_FIELDS: usize = 3;

/// A commitment of one hotkey.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commitment {
    /// Block at which it was published.
    pub block: u32,
    /// Its first plain field; `None` when there is none (a hash, a timelock, empty).
    #[serde(with = "hex_bytes")]
    pub data: Option<Vec<u8>>,
}

impl Commitment {
    /// The data as text, when it is plain UTF-8.
    pub fn text(&self) -> Option<&str> {
        self.data
            .as_deref()
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
    }
}

/// Why the bytes are not a commitment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitmentError {
    /// They end in the middle of something.
    #[error("it ends inside {0}")]
    Short(&'static str),
    /// More fields than the chain allows.
    #[error("it claims {0} fields, the chain allows {MAX_FIELDS}")]
    TooManyFields(usize),
    /// A field longer than the chain allows.
    #[error("a field claims {0} bytes")]
    TooLong(usize),
    /// A kind of field this program does not know.
    #[error("it has a field of unknown kind {0}")]
    UnknownKind(u8),
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], CommitmentError> {
        let (head, tail) = self
            .0
            .split_at_checked(count)
            .ok_or(CommitmentError::Short(what))?;
        self.0 = tail;
        Ok(head)
    }

    fn byte(&mut self, what: &'static str) -> Result<u8, CommitmentError> {
        Ok(self.take(1, what)?[0])
    }

    fn compact(&mut self, what: &'static str) -> Result<usize, CommitmentError> {
        let first = self.byte(what)?;
        let rest = match first & 0b11 {
            0 => return Ok(usize::from(first >> 2)),
            1 => 1,
            2 => 3,
            _ => return Err(CommitmentError::TooLong(usize::MAX)),
        };
        let more = self.take(rest, what)?;
        let mut value = usize::from(first);
        for (i, byte) in more.iter().enumerate() {
            value |= usize::from(*byte) << (8 * (i + 1));
        }
        Ok(value >> 2)
    }
}

/// Decodes the storage value of `CommitmentOf`.
pub fn decode_commitment(bytes: &[u8]) -> Result<Commitment, CommitmentError> {
    let mut reader = Reader(bytes);
    reader.take(8, "the deposit")?;
    let block = reader.take(4, "the block")?;
    let block = u32::from_le_bytes([block[0], block[1], block[2], block[3]]);
    let fields = reader.compact("the number of fields")?;
    if fields > MAX_FIELDS {
        return Err(CommitmentError::TooManyFields(fields));
    }
    for _ in 0..fields {
        let data = match reader.byte("a field's kind")? {
            0 | 135 => None,
            tag @ 1..=129 => Some(reader.take(usize::from(tag) - 1, "a field")?.to_vec()),
            130..=133 => {
                reader.take(32, "a hash")?;
                None
            }
            134 => {
                let length = reader.compact("a timelocked field")?;
                if length > 1024 {
                    return Err(CommitmentError::TooLong(length));
                }
                reader.take(length + 8, "a timelocked field")?;
                None
            }
            136 => {
                let length = reader.compact("a long field")?;
                if length > MAX_BIG_RAW_BYTES {
                    return Err(CommitmentError::TooLong(length));
                }
                Some(reader.take(length, "a long field")?.to_vec())
            }
            // A reveal that failed on the chain (since 446) has a length we do not know, and
            // nothing behind it could be a plain field of ours.
            137 => return Ok(Commitment { block, data: None }),
            other => return Err(CommitmentError::UnknownKind(other)),
        };
        if data.is_some() {
            return Ok(Commitment { block, data });
        }
    }
    Ok(Commitment { block, data: None })
}

mod hex_bytes {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    #[expect(
        clippy::ref_option,
        reason = "serde's `with` hands a reference to the field"
    )]
    pub fn serialize<S: Serializer>(data: &Option<Vec<u8>>, to: S) -> Result<S::Ok, S::Error> {
        data.as_ref().map(hex::encode).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<u8>>, D::Error> {
        Option::<String>::deserialize(from)?
            .map(|text| hex::decode(text).map_err(serde::de::Error::custom))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(head: &str, rest: &[u8]) -> Vec<u8> {
        let mut bytes = hex::decode(head).unwrap();
        bytes.extend_from_slice(rest);
        bytes
    }

    #[test]
    fn a_full_raw_field_is_read() {
        let found =
            decode_commitment(&bytes("0000000000000000cd0000000481", &[b'a'; 128])).unwrap();
        assert_eq!(found.block, 205);
        assert_eq!(found.text().unwrap().len(), 128);
        let json = serde_json::to_string(&found).unwrap();
        assert_eq!(serde_json::from_str::<Commitment>(&json).unwrap(), found);
    }

    #[test]
    fn the_first_plain_field_counts() {
        let mut value = bytes("0000000000000000010000000c82", &[7; 32]);
        value.extend_from_slice(&[0, 4, b'a', b'b', b'c']);
        assert_eq!(decode_commitment(&value).unwrap().text(), Some("abc"));
    }

    #[test]
    fn long_raw_and_timelocked_fields_are_measured() {
        let mut value = bytes("00000000000000000100000008", &[134, 8, 1, 2]);
        value.extend_from_slice(&9u64.to_le_bytes());
        value.extend_from_slice(&[136, 0x01, 0x02]);
        value.extend_from_slice(&[b'x'; 128]);
        assert_eq!(decode_commitment(&value).unwrap().data.unwrap().len(), 128);
    }

    #[test]
    fn every_cut_of_a_commitment_is_refused_and_never_panics() {
        let whole = bytes("0000000000000000cd0000000481", &[b'a'; 128]);
        for end in 0..whole.len() {
            assert!(decode_commitment(&whole[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn lies_about_lengths_are_refused() {
        let head = "000000000000000001000000";
        assert_eq!(
            decode_commitment(&bytes(head, &[0x10])),
            Err(CommitmentError::TooManyFields(4))
        );
        assert!(decode_commitment(&bytes(head, &[4, 136, 0x02, 0x00, 0x01, 0x00])).is_err());
        assert!(decode_commitment(&bytes(head, &[4, 136, 0x03])).is_err());
        assert_eq!(
            decode_commitment(&bytes(head, &[4, 200])),
            Err(CommitmentError::UnknownKind(200))
        );
    }
}
