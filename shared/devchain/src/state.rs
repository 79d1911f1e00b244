//! Storage of one block by names, with what is being written on top of it.

use crate::runtime::Runtime;
use crate::store::{Store, Writes};
use parity_scale_codec::{Decode, Encode};
use scale_value::Value;

/// How a call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DispatchError {
    /// Pallet by name.
    pub pallet: &'static str,
    /// Error by name; where a runtime lacks it, the next one counts.
    pub names: &'static [&'static str],
}

/// An error of the subnet pallet.
pub(crate) const fn refused(names: &'static [&'static str]) -> DispatchError {
    DispatchError {
        pallet: "SubtensorModule",
        names,
    }
}

/// State after block `at`, or the state that the block after it is building.
pub(crate) struct State<'a> {
    /// The runtime of that block.
    pub rt: &'a Runtime,
    /// Height: of the block read, or of the one being built.
    pub number: u64,
    store: &'a Store,
    written: Writes,
    /// What the running transaction wrote; it goes to `written` when it succeeds.
    pending: Option<Writes>,
    events: Vec<Value<()>>,
    phase: Value<()>,
}

impl<'a> State<'a> {
    /// The state of a block.
    pub fn at(rt: &'a Runtime, store: &'a Store, number: u64) -> Self {
        Self {
            rt,
            number,
            store,
            written: Writes::new(),
            pending: None,
            events: Vec::new(),
            phase: Value::unnamed_variant("Initialization", []),
        }
    }

    /// The value under a raw key.
    pub fn raw(&self, key: &[u8]) -> Option<Vec<u8>> {
        let on_top = self
            .pending
            .iter()
            .chain([&self.written])
            .find_map(|w| w.get(key));
        match on_top {
            Some(value) => value.clone(),
            None => self.store.get(key, self.number).map(<[u8]>::to_vec),
        }
    }

    /// Writes under a raw key; `None` removes.
    pub fn write(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.pending
            .as_mut()
            .unwrap_or(&mut self.written)
            .insert(key, value);
    }

    /// A value by name; the metadata's default where it is absent.
    pub fn get<T: Decode>(&self, pallet: &str, entry: &str, parts: &[&[u8]]) -> Option<T> {
        let found = self.raw(&self.rt.key(pallet, entry, parts));
        let bytes = match &found {
            Some(bytes) => bytes.as_slice(),
            None => self.rt.default_of(pallet, entry)?,
        };
        T::decode(&mut &*bytes).ok()
    }

    /// A value of the subnet pallet that reads as zero where it is absent.
    pub fn subnet<T: Decode + Default>(&self, entry: &str, parts: &[&[u8]]) -> T {
        self.get("SubtensorModule", entry, parts)
            .unwrap_or_default()
    }

    /// Writes a value by name.
    pub fn put(&mut self, pallet: &str, entry: &str, parts: &[&[u8]], value: &impl Encode) {
        self.write(self.rt.key(pallet, entry, parts), Some(value.encode()));
    }

    /// Writes a value of the subnet pallet.
    pub fn put_subnet(&mut self, entry: &str, parts: &[&[u8]], value: &impl Encode) {
        self.put("SubtensorModule", entry, parts, value);
    }

    /// Removes a value by name.
    pub fn remove(&mut self, pallet: &str, entry: &str, parts: &[&[u8]]) {
        self.write(self.rt.key(pallet, entry, parts), None);
    }

    /// From here on events belong to the extrinsic of this number.
    pub fn enter_extrinsic(&mut self, index: u32) {
        self.phase = Value::unnamed_variant("ApplyExtrinsic", [Value::from(index)]);
    }

    /// Records an event; its fields in the order of the metadata.
    pub fn deposit(&mut self, pallet: &str, name: &str, fields: Vec<Value<()>>) {
        let event = Value::unnamed_variant(pallet, [Value::unnamed_variant(name, fields)]);
        self.events.push(Value::named_composite([
            ("phase", self.phase.clone()),
            ("event", event),
            ("topics", Value::unnamed_composite([])),
        ]));
    }

    /// Runs `call`; when it fails nothing of what it wrote or recorded stays.
    pub fn transaction(
        &mut self,
        call: impl FnOnce(&mut Self) -> Result<(), DispatchError>,
    ) -> Result<(), DispatchError> {
        let events = self.events.len();
        self.pending = Some(Writes::new());
        let outcome = call(self);
        let pending = self.pending.take().unwrap_or_default();
        match outcome {
            Ok(()) => self.written.extend(pending),
            Err(_) => self.events.truncate(events),
        }
        outcome
    }

    /// Ends the block: what it wrote, its events among it.
    pub fn finish(mut self) -> Writes {
        let events = self.rt.encode_events(&self.events);
        let count = u32::try_from(self.events.len()).unwrap_or(u32::MAX);
        self.write(self.rt.key("System", "Events", &[]), Some(events));
        self.put("System", "EventCount", &[], &count);
        self.written
    }

    /// Transactions of an account so far.
    pub fn nonce(&self, account: &[u8; 32]) -> u32 {
        self.get("System", "Account", &[account])
            .unwrap_or_default()
    }

    /// Counts one more transaction of an account.
    pub fn count_transaction(&mut self, account: &[u8; 32]) {
        let key = self.rt.key("System", "Account", &[account]);
        let mut bytes = self
            .raw(&key)
            .or_else(|| self.rt.default_of("System", "Account").map(<[u8]>::to_vec))
            .unwrap_or_default();
        let next = self.nonce(account).saturating_add(1);
        if let Some(head) = bytes.get_mut(..4) {
            head.copy_from_slice(&next.to_le_bytes());
        }
        self.write(key, Some(bytes));
    }
}

/// A public key as an event's field.
pub(crate) fn account(key: &[u8; 32]) -> Value<()> {
    Value::unnamed_composite([Value::from_bytes(key)])
}
