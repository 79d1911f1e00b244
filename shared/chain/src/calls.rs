//! The calls we sign, by name. Plain integers and tuples encode to the same bytes on every runtime
//! since 240, whatever newtypes it wraps them in (CHAIN.md §1).

use crate::ChainError;
use crate::commitments::MAX_RAW_BYTES;
use crate::selfcheck::Need;
use nexis_protocol::Netuid;
use scale_value::{Composite, Value};
use subxt::dynamic;
use subxt::transactions::DynamicPayload;

/// A call to sign and submit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// `SubtensorModule.set_weights`, or `set_mechanism_weights` when a mechanism is named.
    SetWeights {
        /// The subnet.
        netuid: Netuid,
        /// The mechanism; none is the first one, by the plain call.
        mechanism: Option<u8>,
        /// Slots.
        uids: Vec<u16>,
        /// Shares, the largest being `u16::MAX`.
        values: Vec<u16>,
        /// Our version key.
        version_key: u64,
    },
    /// `SubtensorModule.commit_timelocked_weights` or `commit_timelocked_mechanism_weights`.
    CommitWeights {
        /// The subnet.
        netuid: Netuid,
        /// The mechanism; none is the first one, by the plain call.
        mechanism: Option<u8>,
        /// The sealed weights.
        sealed: Vec<u8>,
        /// Beacon round that opens them.
        reveal_round: u64,
        /// Version of the scheme, as the chain states it.
        version: u16,
    },
    /// `Commitments.set_commitment` with one plain field.
    SetCommitment {
        /// The subnet.
        netuid: Netuid,
        /// At most 128 bytes.
        data: Vec<u8>,
    },
}

impl Call {
    /// What the runtime must offer for it.
    pub const fn need(&self) -> Need {
        match self {
            Self::SetWeights { .. } => Need::SetWeights,
            Self::CommitWeights { .. } => Need::CommitWeights,
            Self::SetCommitment { .. } => Need::Commitment,
        }
    }

    /// Its name for logs and errors.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::SetWeights {
                mechanism: None, ..
            } => "set_weights",
            Self::SetWeights { .. } => "set_mechanism_weights",
            Self::CommitWeights {
                mechanism: None, ..
            } => "commit_timelocked_weights",
            Self::CommitWeights { .. } => "commit_timelocked_mechanism_weights",
            Self::SetCommitment { .. } => "set_commitment",
        }
    }

    /// For subxt.
    pub(crate) fn payload(&self) -> Result<DynamicPayload<Composite<()>>, ChainError> {
        let number = |n: u64| Value::u128(u128::from(n));
        let list = |of: &[u16]| Value::unnamed_composite(of.iter().map(|n| number(u64::from(*n))));
        let mut fields = vec![];
        match self {
            Self::SetWeights {
                netuid,
                mechanism,
                uids,
                values,
                version_key,
            } => {
                if uids.len() != values.len() {
                    return Err(self.invalid("as many slots as shares are needed"));
                }
                fields.push(number(u64::from(netuid.get())));
                fields.extend(mechanism.map(|m| number(u64::from(m))));
                fields.extend([list(uids), list(values), number(*version_key)]);
            }
            Self::CommitWeights {
                netuid,
                mechanism,
                sealed,
                reveal_round,
                version,
            } => {
                fields.push(number(u64::from(netuid.get())));
                fields.extend(mechanism.map(|m| number(u64::from(m))));
                fields.push(Value::from_bytes(sealed));
                fields.extend([number(*reveal_round), number(u64::from(*version))]);
            }
            Self::SetCommitment { netuid, data } => {
                if data.len() > MAX_RAW_BYTES {
                    return Err(self.invalid("a commitment has at most 128 bytes"));
                }
                let raw =
                    Value::unnamed_variant(format!("Raw{}", data.len()), [Value::from_bytes(data)]);
                let list = Value::unnamed_composite([raw]);
                fields.push(number(u64::from(netuid.get())));
                fields.push(Value::named_composite([("fields", list)]));
            }
        }
        let pallet = match self {
            Self::SetCommitment { .. } => "Commitments",
            _ => "SubtensorModule",
        };
        Ok(dynamic::transaction(
            pallet,
            self.name(),
            Composite::unnamed(fields),
        ))
    }

    fn invalid(&self, detail: &str) -> ChainError {
        ChainError::Invalid {
            what: self.name().to_owned(),
            detail: detail.to_owned(),
        }
    }
}
