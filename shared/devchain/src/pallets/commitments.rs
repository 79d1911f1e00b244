//! Commitments: a few bytes that a hotkey publishes on a subnet (CHAIN.md §2.C).

use super::epoch;
use super::subnet::{number, uid_of};
use crate::runtime::Call;
use crate::state::{DispatchError, State, account};
use parity_scale_codec::Encode as _;
use scale_decode::DecodeAsType;
use scale_value::{Composite, Value, ValueDef};

/// Fields in one commitment.
const MOST_FIELDS: usize = 3;
/// Bytes that a commitment counts at least.
const LEAST_SPACE: u64 = 100;
/// Bytes that a hotkey may commit per epoch where the chain states no other number.
const SPACE_PER_EPOCH: u64 = 3_100;

const fn refused(names: &'static [&'static str]) -> DispatchError {
    DispatchError {
        pallet: "Commitments",
        names,
    }
}

#[derive(DecodeAsType)]
struct Netuid {
    netuid: u16,
}

/// Carries out `set_commitment`.
pub(crate) fn set(state: &mut State<'_>, who: &[u8; 32], call: &Call) -> Result<(), DispatchError> {
    let malformed = refused(&["AccountNotAllowedCommit"]);
    let Netuid { netuid } = state.rt.arguments(call).ok_or(malformed)?;
    let info = state.rt.argument(call, "info").ok_or(malformed)?;
    let id = netuid.encode();
    let parts: [&[u8]; 2] = [&id, who];
    uid_of(state, netuid, who).ok_or(malformed)?;
    let fields = data_fields(&info);
    if fields.len() > MOST_FIELDS {
        return Err(refused(&["TooManyFieldsInCommitmentInfo"]));
    }
    let needed = fields
        .iter()
        .map(|f| data_length(f))
        .sum::<u64>()
        .max(LEAST_SPACE);
    let epoch = epoch::index(state, netuid);
    let (last_epoch, used): (u64, u64) = state
        .get("Commitments", "UsedSpaceOf", &parts)
        .unwrap_or_default();
    let used = if last_epoch == epoch { used } else { 0 };
    let most = state
        .get::<u32>("Commitments", "MaxSpace", &[])
        .map_or(SPACE_PER_EPOCH, u64::from);
    if used.saturating_add(needed) > most {
        return Err(refused(&[
            "SpaceLimitExceeded",
            "CommitmentSetRateLimitExceeded",
        ]));
    }
    state.put(
        "Commitments",
        "UsedSpaceOf",
        &parts,
        &(epoch, used + needed),
    );
    let registration = Value::named_composite([
        ("deposit", Value::u128(0)),
        ("block", Value::u128(u128::from(state.number))),
        ("info", info),
    ]);
    let bytes = state
        .rt
        .storage_value("Commitments", "CommitmentOf", &registration);
    let bytes = bytes.ok_or(malformed)?;
    state.write(
        state.rt.key("Commitments", "CommitmentOf", &parts),
        Some(bytes),
    );
    let block = u32::try_from(state.number).unwrap_or(u32::MAX);
    state.put("Commitments", "LastCommitment", &parts, &block);
    state.deposit(
        "Commitments",
        "Commitment",
        vec![number(netuid), account(who)],
    );
    Ok(())
}

/// The data of a commitment: the elements of its `fields`, whatever wraps them.
fn data_fields(info: &Value<()>) -> Vec<&Value<()>> {
    let mut at = info;
    loop {
        let ValueDef::Composite(composite) = &at.value else {
            return vec![];
        };
        let mut inside = composite.values();
        match (inside.next(), inside.next()) {
            (Some(only), None) if matches!(only.value, ValueDef::Composite(_)) => at = only,
            _ => return composite.values().collect(),
        }
    }
}

/// How many bytes one piece of data carries.
fn data_length(data: &Value<()>) -> u64 {
    let ValueDef::Variant(variant) = &data.value else {
        return 0;
    };
    let count = |composite: &Composite<()>| composite.values().map(leaves).sum();
    count(&variant.values)
}

fn leaves(value: &Value<()>) -> u64 {
    match &value.value {
        ValueDef::Composite(composite) => composite.values().map(leaves).sum(),
        ValueDef::Variant(variant) => variant.values.values().map(leaves).sum(),
        ValueDef::Primitive(_) => 1,
        ValueDef::BitSequence(_) => 0,
    }
}

/// Every commitment on a subnet: hotkey and the stored bytes.
pub(crate) fn all(
    state: &State<'_>,
    store: &crate::store::Store,
    netuid: u16,
) -> Vec<([u8; 32], Vec<u8>)> {
    let prefix = state
        .rt
        .key("Commitments", "CommitmentOf", &[&netuid.encode()]);
    store
        .keys(&prefix, None, state.number, usize::MAX)
        .into_iter()
        .filter_map(|key| {
            let hotkey = key.get(prefix.len() + 8..)?.try_into().ok()?;
            Some((hotkey, state.raw(key)?))
        })
        .collect()
}
