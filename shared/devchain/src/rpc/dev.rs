//! Methods that no real node has: they steer the chain.

use super::{Answer, Shared, bad_params, bytes, required};
use crate::chain::{Chain, Change, Doom};
use crate::faults::Fault;
use crate::header::hexed;
use crate::pallets::subnet;
use crate::spec::Spec;
use crate::store::Writes;
use serde_json::Value;
use std::time::Duration;

/// Blocks that one call makes at most.
const MOST_BLOCKS: u64 = 10_000;

/// `dev_newBlock([count])`: makes blocks, answers the last one's hash.
#[expect(clippy::unnecessary_wraps, reason = "every method has this shape")]
pub(super) fn new_block(shared: &Shared, args: &[Value]) -> Answer {
    let count = args
        .first()
        .and_then(Value::as_u64)
        .unwrap_or(1)
        .clamp(1, MOST_BLOCKS);
    let mut chain = shared.chain();
    let mut hash = chain.best().hash;
    for _ in 0..count {
        hash = chain.produce(vec![]);
    }
    Ok(hexed(&hash).into())
}

/// `dev_setStorage([[key, value or null], …])`: writes in a block of its own, answers its hash.
pub(super) fn set_storage(shared: &Shared, args: &[Value]) -> Answer {
    let pairs = required(args, 0)?
        .as_array()
        .ok_or_else(|| bad_params("expected pairs"))?;
    let mut writes = Writes::new();
    for pair in pairs {
        let pair = pair
            .as_array()
            .ok_or_else(|| bad_params("expected [key, value]"))?;
        let value = match required(pair, 1)? {
            Value::Null => None,
            value => Some(bytes(value)?),
        };
        writes.insert(bytes(required(pair, 0)?)?, value);
    }
    Ok(hexed(&shared.chain().produce(vec![Change::Write(writes)])).into())
}

/// `dev_setSpec(version)`: upgrades the runtime in a block of its own, answers its hash.
pub(super) fn set_spec(shared: &Shared, args: &[Value]) -> Answer {
    let version = required(args, 0)?
        .as_u64()
        .and_then(|v| u32::try_from(v).ok());
    let spec = version
        .and_then(Spec::from_version)
        .ok_or_else(|| bad_params("no such spec"))?;
    let mut chain = shared.chain();
    let hash =
        upgrade(&mut chain, spec).map_err(|cause| super::error(-32603, cause.to_string(), None))?;
    Ok(hexed(&hash).into())
}

/// Upgrades the runtime in a block of its own.
pub(crate) fn upgrade(chain: &mut Chain, spec: Spec) -> Result<[u8; 32], crate::SpecError> {
    chain.load(spec)?;
    let hash = chain.produce(vec![Change::Spec(spec)]);
    chain.revalidate();
    Ok(hash)
}

/// `dev_registerNeuron(public key, stake in rao, permit, [uid to replace])`: answers the uid.
pub(super) fn register(shared: &Shared, args: &[Value]) -> Answer {
    let hotkey: [u8; 32] = bytes(required(args, 0)?)?
        .try_into()
        .map_err(|_| bad_params("a public key has 32 bytes"))?;
    let stake_rao = args.get(1).and_then(Value::as_u64).unwrap_or_default();
    let permit = args.get(2).and_then(Value::as_bool).unwrap_or_default();
    let replace = args
        .get(3)
        .and_then(Value::as_u64)
        .and_then(|uid| u16::try_from(uid).ok());
    let mut chain = shared.chain();
    chain.produce(vec![Change::Register {
        hotkey,
        stake_rao,
        permit,
        replace,
    }]);
    let state = chain.state(None).map_err(super::unknown)?;
    Ok(subnet::uid_of(&state, chain.config.netuid, &hotkey).into())
}

/// `dev_reorg(depth)`: gives up so many blocks that are not final; answers how many were given up.
pub(super) fn reorganise(shared: &Shared, args: &[Value]) -> Answer {
    let depth = required(args, 0)?
        .as_u64()
        .ok_or_else(|| bad_params("expected a depth"))?;
    Ok(shared.chain().reorganise(depth).into())
}

/// `dev_fault(name, [number], [number or text])`: plays a fault.
pub(super) fn fault(shared: &Shared, args: &[Value]) -> Answer {
    let name = required(args, 0)?
        .as_str()
        .ok_or_else(|| bad_params("expected a name"))?;
    let number = args.get(1).and_then(Value::as_u64);
    let fault = match name {
        "drop" => Fault::DropConnections,
        "silence" => Fault::Silence(args.get(1).and_then(Value::as_bool).unwrap_or(true)),
        "delay" => Fault::Delay(Duration::from_millis(number.unwrap_or_default())),
        "turnAway" => Fault::TurnAway {
            times: number.unwrap_or(1),
            retry_after: args.get(2).and_then(Value::as_u64).unwrap_or(1),
        },
        "closePolicy" => Fault::ClosePolicy,
        "rateLimit" => Fault::RateLimit(number.unwrap_or(1)),
        "submitError" => Fault::SubmitError {
            code: args
                .get(1)
                .and_then(Value::as_i64)
                .and_then(|n| i32::try_from(n).ok())
                .unwrap_or(1012),
            message: args
                .get(2)
                .and_then(Value::as_str)
                .unwrap_or("fault injection")
                .to_owned(),
        },
        "usurped" => Fault::Usurped,
        "dropped" => Fault::Dropped,
        "invalid" => Fault::Invalid,
        "loseReveals" => Fault::LoseReveals(number.unwrap_or(1)),
        other => return Err(bad_params(format!("no fault is called {other}"))),
    };
    play(shared, &fault);
    Ok(Value::Null)
}

/// Plays a fault.
pub(crate) fn play(shared: &Shared, fault: &Fault) {
    let doom = match fault {
        Fault::Usurped => Doom::Usurped,
        Fault::Dropped => Doom::Dropped,
        Fault::Invalid => Doom::Invalid,
        Fault::LoseReveals(count) => {
            shared.chain().reveals_to_lose = *count;
            return;
        }
        connection => return shared.faults.play(connection),
    };
    shared.chain().dooms.push_back(doom);
}
