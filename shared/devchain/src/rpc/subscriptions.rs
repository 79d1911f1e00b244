//! Methods that keep talking: heads, storage, a transaction's fate.

use super::{Shared, arguments, bytes, faulty_submission, limited, refusal, required};
use crate::chain::{Fate, Notice};
use crate::header::{Header, hexed};
use jsonrpsee::core::RegisterMethodError;
use jsonrpsee::core::server::SubscriptionSink;
use jsonrpsee::{PendingSubscriptionSink, RpcModule};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::{broadcast, mpsc};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    Best,
    Finalized,
}

/// Registers every subscription.
pub(super) fn register(module: &mut RpcModule<Shared>) -> Result<(), RegisterMethodError> {
    let heads = [
        (
            "chain_subscribeNewHeads",
            "chain_newHead",
            "chain_unsubscribeNewHeads",
            Which::Best,
        ),
        (
            "chain_subscribeAllHeads",
            "chain_allHead",
            "chain_unsubscribeAllHeads",
            Which::Best,
        ),
        (
            "chain_subscribeFinalizedHeads",
            "chain_finalizedHead",
            "chain_unsubscribeFinalizedHeads",
            Which::Finalized,
        ),
    ];
    for (subscribe, notice, unsubscribe, which) in heads {
        module.register_subscription(
            subscribe,
            notice,
            unsubscribe,
            move |_, pending, shared, _| follow_heads(pending, shared, which),
        )?;
    }
    module.register_subscription(
        "state_subscribeStorage",
        "state_storage",
        "state_unsubscribeStorage",
        |params, pending, shared, _| async move {
            let keys = match arguments(&params) {
                Ok(args) => args.first().cloned().unwrap_or_default(),
                Err(cause) => return pending.reject(cause).await,
            };
            follow_storage(pending, shared, keys).await;
        },
    )?;
    module.register_subscription(
        "state_subscribeRuntimeVersion",
        "state_runtimeVersion",
        "state_unsubscribeRuntimeVersion",
        |_, pending, shared, _| follow_version(pending, shared),
    )?;
    module.register_subscription(
        "author_submitAndWatchExtrinsic",
        "author_extrinsicUpdate",
        "author_unwatchExtrinsic",
        |params, pending, shared, _| async move {
            let given = arguments(&params).and_then(|args| bytes(required(&args, 0)?));
            match given {
                Ok(extrinsic) => watch(pending, shared, extrinsic).await,
                Err(cause) => pending.reject(cause).await,
            }
        },
    )?;
    Ok(())
}

async fn tell(sink: &SubscriptionSink, value: &Value) -> bool {
    match serde_json::value::to_raw_value(value) {
        Ok(raw) => sink.send(raw).await.is_ok(),
        Err(_) => false,
    }
}

/// The next notice; `None` when there will be none. A listener that was too slow misses some, as with a real node.
async fn next(news: &mut broadcast::Receiver<Notice>, sink: &SubscriptionSink) -> Option<Notice> {
    loop {
        tokio::select! {
            () = sink.closed() => return None,
            notice = news.recv() => match notice {
                Ok(notice) => return Some(notice),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            },
        }
    }
}

async fn follow_heads(pending: PendingSubscriptionSink, shared: Arc<Shared>, which: Which) {
    if shared.faults.limited() {
        return pending.reject(limited()).await;
    }
    let (mut news, first) = {
        let chain = shared.chain();
        let block = match which {
            Which::Best => chain.best(),
            Which::Finalized => chain.finalized(),
        };
        (chain.listen(), block.header.clone())
    };
    drop(shared);
    let Ok(sink) = pending.accept().await else {
        return;
    };
    let mut header: Header = first;
    while tell(&sink, &header.json()).await {
        header = loop {
            match next(&mut news, &sink).await {
                Some(Notice::Best(header)) if which == Which::Best => break header,
                Some(Notice::Finalized(header)) if which == Which::Finalized => break header,
                Some(_) => {}
                None => return,
            }
        };
    }
}

async fn follow_storage(pending: PendingSubscriptionSink, shared: Arc<Shared>, keys: Value) {
    let Some(keys) = keys.as_array().cloned() else {
        return pending.reject(super::bad_params("expected keys")).await;
    };
    let mut raw = Vec::new();
    for key in &keys {
        match bytes(key) {
            Ok(key) => raw.push(key),
            Err(cause) => return pending.reject(cause).await,
        }
    }
    let mut news = shared.chain().listen();
    let Ok(sink) = pending.accept().await else {
        return;
    };
    let mut last: Vec<Option<Option<Vec<u8>>>> = vec![None; raw.len()];
    loop {
        let message = {
            let chain = shared.chain();
            let Ok(state) = chain.state(None) else { return };
            let mut changes = Vec::new();
            for ((key, name), seen) in raw.iter().zip(&keys).zip(&mut last) {
                let value = state.raw(key);
                if seen.as_ref() != Some(&value) {
                    changes.push(json!([name, value.as_ref().map(|v| hexed(v))]));
                    *seen = Some(value);
                }
            }
            (!changes.is_empty())
                .then(|| json!({ "block": hexed(&chain.best().hash), "changes": changes }))
        };
        if let Some(message) = message
            && !tell(&sink, &message).await
        {
            return;
        }
        if next(&mut news, &sink).await.is_none() {
            return;
        }
    }
}

async fn follow_version(pending: PendingSubscriptionSink, shared: Arc<Shared>) {
    let mut news = shared.chain().listen();
    let Ok(sink) = pending.accept().await else {
        return;
    };
    let mut last = Value::Null;
    loop {
        let Ok(version) = super::runtime_version(&shared, &[]) else {
            return;
        };
        if version != last {
            if !tell(&sink, &version).await {
                return;
            }
            last = version;
        }
        if next(&mut news, &sink).await.is_none() {
            return;
        }
    }
}

async fn watch(pending: PendingSubscriptionSink, shared: Arc<Shared>, extrinsic: Vec<u8>) {
    if shared.faults.limited() {
        return pending.reject(limited()).await;
    }
    if let Err(cause) = faulty_submission(&shared) {
        return pending.reject(cause).await;
    }
    let (send, mut fates) = mpsc::unbounded_channel();
    let outcome = shared.chain().submit(&extrinsic, Some(send));
    drop(shared);
    if let Err(cause) = outcome {
        return pending.reject(refusal(cause)).await;
    }
    let Ok(sink) = pending.accept().await else {
        return;
    };
    loop {
        tokio::select! {
            () = sink.closed() => return,
            fate = fates.recv() => match fate {
                Some(fate) if tell(&sink, &shown(fate)).await => {}
                _ => return,
            },
        }
    }
}

fn shown(fate: Fate) -> Value {
    match fate {
        Fate::Future => "future".into(),
        Fate::Ready => "ready".into(),
        Fate::InBlock(hash) => json!({ "inBlock": hexed(&hash) }),
        Fate::Retracted(hash) => json!({ "retracted": hexed(&hash) }),
        Fate::Finalized(hash) => json!({ "finalized": hexed(&hash) }),
        Fate::Usurped(hash) => json!({ "usurped": hexed(&hash) }),
        Fate::Dropped => "dropped".into(),
        Fate::Invalid => "invalid".into(),
    }
}
