//! Pieces of a block in the making.

use super::*;

pub(super) fn perform(state: &mut State<'_>, netuid: u16, change: Change) {
    match change {
        Change::Write(writes) => {
            for (key, value) in writes {
                state.write(key, value);
            }
        }
        Change::Register {
            hotkey,
            stake_rao,
            permit,
            replace,
        } => {
            let uid = subnet::register(state, netuid, &hotkey, replace);
            subnet::stake(state, netuid, &hotkey, stake_rao);
            subnet::permit(state, netuid, uid, permit);
        }
        Change::Stake { hotkey, rao } => subnet::stake(state, netuid, &hotkey, rao),
        Change::Permit { uid, holds } => subnet::permit(state, netuid, uid, holds),
        Change::Spec(_) => {}
    }
}

/// What the frame writes at the start of each block.
pub(super) fn begin(state: &mut State<'_>, header: &Header, milliseconds: u64) {
    let number = u32::try_from(state.number).unwrap_or(u32::MAX);
    state.put("System", "Number", &[], &number);
    state.put("System", "ParentHash", &[], &header.parent);
    state.put("System", "Digest", &[], &header.logs_encoded());
    if let Some(parent) = number.checked_sub(1) {
        state.put("System", "BlockHash", &[&parent.encode()], &header.parent);
    }
    state.put("Timestamp", "Now", &[], &milliseconds);
}

pub(super) fn success(class: &str) -> Value<()> {
    let weight = Value::named_composite([
        ("ref_time", Value::u128(1_000_000)),
        ("proof_size", Value::u128(0)),
    ]);
    Value::named_composite([
        ("weight", weight),
        ("class", Value::unnamed_variant(class, [])),
        ("pays_fee", Value::unnamed_variant("No", [])),
    ])
}

pub(super) fn failure(runtime: &Runtime, error: DispatchError) -> Value<()> {
    let found = error
        .names
        .iter()
        .find_map(|name| runtime.error(error.pallet, name));
    match found {
        Some((pallet, index)) => {
            let module = Value::named_composite([
                ("index", Value::u128(u128::from(pallet))),
                ("error", Value::from_bytes([index, 0, 0, 0])),
            ]);
            Value::unnamed_variant("Module", [module])
        }
        None => Value::unnamed_variant("BadOrigin", []),
    }
}

pub(super) fn made(
    header: Header,
    spec: Spec,
    milliseconds: u64,
    extrinsics: Vec<Vec<u8>>,
) -> Block {
    Block {
        hash: header.hash(),
        header,
        spec,
        milliseconds,
        extrinsics,
    }
}

/// Stands for the state root: it covers every write since the first block. No proof can be made from it.
pub(super) fn root_of(before: &Hash, writes: &Writes) -> Hash {
    let mut bytes = before.to_vec();
    for (key, value) in writes {
        key.encode_to(&mut bytes);
        value.encode_to(&mut bytes);
    }
    blake2_256(&bytes)
}

pub(super) fn wall_clock() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
