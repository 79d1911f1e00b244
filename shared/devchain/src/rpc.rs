//! The JSON-RPC methods of a node, as CHAIN.md §7 lists them.

pub(crate) mod dev;
mod subscriptions;

use crate::apis;
use crate::chain::{Block, Chain, Hash, Refusal, Unknown};
use crate::faults::Faults;
use crate::header::hexed;
use jsonrpsee::RpcModule;
use jsonrpsee::types::{ErrorObjectOwned, Params};
use nexis_protocol::Hotkey;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, MutexGuard};

/// What every method works on.
pub(crate) struct Shared {
    chain: Mutex<Chain>,
    /// Faults of connections and calls.
    pub faults: Arc<Faults>,
}

impl Shared {
    /// Of a chain, with nothing going wrong.
    pub fn new(chain: Chain) -> Self {
        Self {
            chain: Mutex::new(chain),
            faults: Arc::new(Faults::none()),
        }
    }

    /// The chain, for one call. Never held over an await.
    pub fn chain(&self) -> MutexGuard<'_, Chain> {
        self.chain
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

type Answer = Result<Value, ErrorObjectOwned>;

fn error(code: i32, message: impl Into<String>, data: Option<String>) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(code, message, data)
}

fn bad_params(what: impl std::fmt::Display) -> ErrorObjectOwned {
    error(-32602, "Invalid params", Some(what.to_string()))
}

fn unknown(cause: Unknown) -> ErrorObjectOwned {
    error(4003, format!("Client error: UnknownBlock: {cause}"), None)
}

/// The pool's errors, as the real node words them.
fn refusal(cause: Refusal) -> ErrorObjectOwned {
    match cause {
        Refusal::Format(cause) => error(1001, format!("Extrinsic has invalid format: {cause}"), None),
        Refusal::AlreadyImported => error(1013, "Transaction Already Imported", None),
        Refusal::TooLowPriority => error(
            1014,
            "Priority is too low: (1 vs 1)",
            Some("The transaction has too low priority to replace another transaction already in the pool.".into()),
        ),
        Refusal::Full => error(1016, "Immediately Dropped", Some("The transaction couldn't enter the pool because of the limit".into())),
        invalid => error(1010, "Invalid Transaction", Some(invalid.to_string())),
    }
}

fn bytes(value: &Value) -> Result<Vec<u8>, ErrorObjectOwned> {
    let text = value.as_str().ok_or_else(|| bad_params("expected hex"))?;
    hex::decode(text.strip_prefix("0x").unwrap_or(text)).map_err(bad_params)
}

fn hash(value: Option<&Value>) -> Result<Option<Hash>, ErrorObjectOwned> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let bytes = bytes(value)?;
            bytes
                .try_into()
                .map(Some)
                .map_err(|_| bad_params("a hash has 32 bytes"))
        }
    }
}

fn required(args: &[Value], at: usize) -> Result<&Value, ErrorObjectOwned> {
    args.get(at)
        .ok_or_else(|| bad_params(format!("parameter {at} is missing")))
}

fn arguments(params: &Params<'_>) -> Result<Vec<Value>, ErrorObjectOwned> {
    match params.parse::<Value>()? {
        Value::Null => Ok(vec![]),
        Value::Array(list) => Ok(list),
        _ => Err(bad_params("parameters come as a list")),
    }
}

/// A method: takes the chain and its arguments.
type Method = fn(&Shared, &[Value]) -> Answer;

/// Every method that answers once.
const METHODS: &[(&str, Method)] = &[
    ("chain_getBlockHash", block_hash),
    ("chain_getFinalizedHead", |s, _| {
        Ok(hexed(&s.chain().finalized().hash).into())
    }),
    ("chain_getFinalisedHead", |s, _| {
        Ok(hexed(&s.chain().finalized().hash).into())
    }),
    ("chain_getHead", |s, args| block_hash(s, args)),
    ("chain_getHeader", |s, args| {
        find(s, args.first(), |b| b.header.json())
    }),
    ("chain_getBlock", |s, args| {
        find(s, args.first(), block_json)
    }),
    ("state_getStorage", storage),
    ("state_getStorageAt", storage),
    ("state_getStorageSize", |s, args| {
        let value = storage(s, args)?;
        Ok(value
            .as_str()
            .map_or(Value::Null, |v| (v.len() / 2 - 1).into()))
    }),
    ("state_getKeysPaged", keys_paged),
    ("state_getKeysPagedAt", keys_paged),
    ("state_queryStorageAt", query_storage),
    ("state_call", state_call),
    ("state_callAt", state_call),
    ("state_getMetadata", |s, args| {
        let at = hash(args.first())?;
        let chain = s.chain();
        let state = chain.state(at.as_ref()).map_err(unknown)?;
        let found = state.rt.served.iter().find(|(version, _)| *version == 14);
        Ok(found.map_or(Value::Null, |(_, bytes)| hexed(bytes).into()))
    }),
    ("state_getRuntimeVersion", runtime_version),
    ("chain_getRuntimeVersion", runtime_version),
    ("author_submitExtrinsic", |s, args| {
        let bytes = bytes(required(args, 0)?)?;
        faulty_submission(s)?;
        let hash = s.chain().submit(&bytes, None).map_err(refusal)?;
        Ok(hexed(&hash).into())
    }),
    ("author_pendingExtrinsics", |s, _| {
        Ok(s.chain()
            .pending()
            .map(|signed| hexed(&signed.bytes))
            .collect())
    }),
    ("system_accountNextIndex", next_index),
    ("account_nextIndex", next_index),
    ("system_chain", |_, _| Ok("Nexis dev chain".into())),
    ("system_chainType", |_, _| Ok("Development".into())),
    ("system_name", |_, _| {
        Ok("Subtensor Node (nexis dev chain)".into())
    }),
    (
        "system_version",
        |_, _| Ok(env!("CARGO_PKG_VERSION").into()),
    ),
    ("system_properties", |_, _| {
        Ok(json!({ "ss58Format": 42, "tokenDecimals": 9, "tokenSymbol": "TAO" }))
    }),
    ("system_health", |_, _| {
        Ok(json!({ "peers": 0, "isSyncing": false, "shouldHavePeers": false }))
    }),
    ("system_syncState", |s, _| {
        let best = s.chain().best().header.number;
        Ok(json!({ "startingBlock": 0, "currentBlock": best, "highestBlock": best }))
    }),
    ("dev_newBlock", dev::new_block),
    ("dev_setStorage", dev::set_storage),
    ("dev_setSpec", dev::set_spec),
    ("dev_registerNeuron", dev::register),
    ("dev_reorg", dev::reorganise),
    ("dev_fault", dev::fault),
];

/// Builds the module that the server serves.
pub(crate) fn module(
    shared: Arc<Shared>,
) -> Result<RpcModule<Shared>, jsonrpsee::core::RegisterMethodError> {
    let mut module = RpcModule::from_arc(shared);
    for (name, method) in METHODS {
        let (name, method) = (*name, *method);
        module.register_method(name, move |params, shared, _| -> Answer {
            if !name.starts_with("dev_") && shared.faults.limited() {
                return Err(limited());
            }
            method(shared, &arguments(&params)?)
        })?;
    }
    subscriptions::register(&mut module)?;
    let mut names: Vec<&'static str> = module.method_names().chain(["rpc_methods"]).collect();
    names.sort_unstable();
    module.register_method("rpc_methods", move |_, _, _| json!({ "methods": names }))?;
    Ok(module)
}

fn limited() -> ErrorObjectOwned {
    error(-32004, "storage work rate limit exceeded", None)
}

fn faulty_submission(shared: &Shared) -> Result<(), ErrorObjectOwned> {
    let mut queue = shared
        .faults
        .submissions
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    match queue.pop_front() {
        Some((code, message)) => Err(error(code, message, None)),
        None => Ok(()),
    }
}

fn block_hash(shared: &Shared, args: &[Value]) -> Answer {
    let chain = shared.chain();
    let of = |number: &Value| -> Answer {
        let number = match number {
            Value::Null => chain.best().header.number,
            Value::Number(n) => n
                .as_u64()
                .ok_or_else(|| bad_params("a height is not negative"))?,
            Value::String(text) => {
                let digits = text
                    .strip_prefix("0x")
                    .ok_or_else(|| bad_params("expected hex"))?;
                u64::from_str_radix(digits, 16).map_err(bad_params)?
            }
            _ => return Err(bad_params("expected a height")),
        };
        Ok(chain
            .by_number(number)
            .map_or(Value::Null, |b| hexed(&b.hash).into()))
    };
    match args.first() {
        None => of(&Value::Null),
        Some(Value::Array(many)) => many.iter().map(of).collect(),
        Some(one) => of(one),
    }
}

fn find(shared: &Shared, at: Option<&Value>, show: impl Fn(&Block) -> Value) -> Answer {
    let at = hash(at)?;
    let chain = shared.chain();
    Ok(match at {
        None => show(chain.best()),
        Some(at) => chain.by_hash(&at).map_or(Value::Null, show),
    })
}

fn block_json(block: &Block) -> Value {
    let extrinsics: Vec<String> = block.extrinsics.iter().map(|e| hexed(e)).collect();
    json!({
        "block": { "header": block.header.json(), "extrinsics": extrinsics },
        "justifications": null,
    })
}

fn storage(shared: &Shared, args: &[Value]) -> Answer {
    let key = bytes(required(args, 0)?)?;
    let at = hash(args.get(1))?;
    let chain = shared.chain();
    let state = chain.state(at.as_ref()).map_err(unknown)?;
    Ok(state
        .raw(&key)
        .map_or(Value::Null, |value| hexed(&value).into()))
}

fn keys_paged(shared: &Shared, args: &[Value]) -> Answer {
    /// The most that a node gives at once.
    const MOST: u64 = 1_000;
    let prefix = match args.first() {
        None | Some(Value::Null) => vec![],
        Some(prefix) => bytes(prefix)?,
    };
    let count = required(args, 1)?
        .as_u64()
        .ok_or_else(|| bad_params("expected a count"))?;
    if count > MOST {
        let message = format!("count exceeds maximum value. value: {count}, max: {MOST}");
        return Err(error(4002, message, None));
    }
    let start = match args.get(2) {
        None | Some(Value::Null) => None,
        Some(start) => Some(bytes(start)?),
    };
    let at = hash(args.get(3))?;
    let chain = shared.chain();
    let number = chain.state(at.as_ref()).map_err(unknown)?.number;
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let keys = chain.store.keys(&prefix, start.as_deref(), number, count);
    Ok(keys.into_iter().map(hexed).collect())
}

fn query_storage(shared: &Shared, args: &[Value]) -> Answer {
    let keys = required(args, 0)?
        .as_array()
        .ok_or_else(|| bad_params("expected keys"))?;
    let at = hash(args.get(1))?;
    let chain = shared.chain();
    let state = chain.state(at.as_ref()).map_err(unknown)?;
    let changes: Vec<Value> = keys
        .iter()
        .map(|key| {
            let value = state.raw(&bytes(key)?).map(|v| hexed(&v));
            Ok(json!([key, value]))
        })
        .collect::<Result<_, ErrorObjectOwned>>()?;
    let block = at.unwrap_or(chain.best().hash);
    Ok(json!([{ "block": hexed(&block), "changes": changes }]))
}

fn state_call(shared: &Shared, args: &[Value]) -> Answer {
    let method = required(args, 0)?
        .as_str()
        .ok_or_else(|| bad_params("expected a name"))?;
    let given = match args.get(1) {
        None | Some(Value::Null) => vec![],
        Some(given) => bytes(given)?,
    };
    let at = hash(args.get(2))?;
    let chain = shared.chain();
    let state = chain.state(at.as_ref()).map_err(unknown)?;
    apis::call(&chain, &state, method, &given)
        .map(|answer| hexed(&answer).into())
        .map_err(|cause| {
            error(
                4003,
                format!("Client error: Execution failed: {cause}"),
                None,
            )
        })
}

fn runtime_version(shared: &Shared, args: &[Value]) -> Answer {
    let at = hash(args.first())?;
    let chain = shared.chain();
    let state = chain.state(at.as_ref()).map_err(unknown)?;
    let v = &state.rt.version;
    let apis: Vec<Value> = v.apis.iter().map(|(id, n)| json!([hexed(id), n])).collect();
    Ok(json!({
        "specName": v.spec_name,
        "implName": v.impl_name,
        "authoringVersion": v.authoring_version,
        "specVersion": v.spec_version,
        "implVersion": v.impl_version,
        "apis": apis,
        "transactionVersion": v.transaction_version,
        "systemVersion": v.state_version,
        "stateVersion": v.state_version,
    }))
}

fn next_index(shared: &Shared, args: &[Value]) -> Answer {
    let text = required(args, 0)?
        .as_str()
        .ok_or_else(|| bad_params("expected an address"))?;
    let account: Hotkey = text.parse().map_err(bad_params)?;
    Ok(shared.chain().next_nonce(&account.public_key()).into())
}
