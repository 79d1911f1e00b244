//! The impersonated runtime as the chain works with it: everything found by name in the metadata.

use crate::config::DevChainConfig;
use crate::spec::{Metadata, Spec, SpecError};
use frame_metadata::v14::{StorageEntryModifier, StorageEntryType, StorageHasher};
use parity_scale_codec::{Compact, Decode, Encode};
use scale_decode::DecodeAsFields;
use scale_decode::visitor::IgnoreVisitor;
use scale_encode::EncodeAsType;
use scale_info::{PortableRegistry, TypeDef, TypeDefPrimitive};
use scale_value::Value;
use sp_crypto_hashing::{blake2_128, blake2_256, twox_64, twox_128, twox_256};
use std::collections::HashMap;

/// Deepest nesting of a type that is written as zeros.
const ZERO_DEPTH: u32 = 32;

/// A call, read by the metadata.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// Pallet by name.
    pub pallet: String,
    /// Call by name.
    pub name: String,
    /// SCALE bytes of the arguments.
    pub arguments: Vec<u8>,
    fields: Vec<(Option<String>, u32)>,
}

/// Bytes that are no call of this runtime.
#[derive(Debug, thiserror::Error)]
#[error("the bytes are not a call of spec {spec}: {reason}")]
pub(crate) struct NotACall {
    spec: u32,
    reason: String,
}

/// The answer `Core_version` gives, as far as the chain needs it.
#[derive(Debug, Clone, Decode)]
#[expect(clippy::struct_field_names, reason = "the runtime's own names")]
pub(crate) struct Version {
    pub spec_name: String,
    pub impl_name: String,
    pub authoring_version: u32,
    pub spec_version: u32,
    pub impl_version: u32,
    pub apis: Vec<([u8; 8], u32)>,
    pub transaction_version: u32,
    pub state_version: u8,
}

/// A signed extension: its name and the types of what it adds to the extrinsic and to the signed bytes.
#[derive(Debug, Clone)]
pub(crate) struct Extension {
    pub name: String,
    pub ty: u32,
    pub implicit: u32,
}

#[derive(Debug)]
struct Pallet {
    name: String,
    index: u8,
    calls: Option<u32>,
    errors: Option<u32>,
}

#[derive(Debug)]
struct Entry {
    prefix: [u8; 32],
    hashers: Vec<StorageHasher>,
    value: u32,
    default: Option<Vec<u8>>,
}

/// Where an answer's field comes from.
#[derive(Debug, Clone)]
pub(crate) enum Field {
    /// Public keys.
    Accounts(Vec<[u8; 32]>),
    /// Numbers, of whatever width the metadata says.
    Numbers(Vec<u64>),
    /// Flags.
    Flags(Vec<bool>),
    /// One number.
    Number(u64),
    /// One flag.
    Flag(bool),
    /// One public key.
    Account([u8; 32]),
    /// Anything else.
    Value(Value<()>),
    /// The zero of its type. Where the type is an option, the zero inside it.
    Zero,
}

/// One spec, ready to encode and decode by.
pub(crate) struct Runtime {
    /// Which one.
    pub spec: Spec,
    /// Its version constant.
    pub version: Version,
    /// SCALE bytes of the version constant.
    pub version_bytes: Vec<u8>,
    /// Every type.
    pub types: PortableRegistry,
    /// Served forms of the metadata.
    pub served: Vec<(u32, Vec<u8>)>,
    /// Signed extensions in order.
    pub extensions: Vec<Extension>,
    pallets: Vec<Pallet>,
    entries: HashMap<&'static str, HashMap<String, Entry>>,
    apis: HashMap<String, (Vec<u32>, u32)>,
    events: u32,
}

/// Pallets whose storage the chain reads or writes.
const PALLETS: [&str; 5] = [
    "System",
    "Timestamp",
    "SubtensorModule",
    "Commitments",
    "Drand",
];

impl Runtime {
    /// Unpacks a spec, as the settings of the chain show it.
    pub fn load(spec: Spec, config: &DevChainConfig) -> Result<Self, SpecError> {
        let hidden: Vec<&str> = config
            .hidden
            .iter()
            .filter(|(of, _)| *of == spec)
            .map(|(_, name)| name.as_str())
            .collect();
        let metadata = Metadata::load(spec, config.block_time, &hidden)?;
        let number = spec.version();
        let missing = |what| SpecError::Missing { spec: number, what };
        let v15 = metadata.v15;
        let mut entries: HashMap<&'static str, HashMap<String, Entry>> = HashMap::new();
        let mut pallets = Vec::new();
        let mut version_bytes = None;
        for pallet in v15.pallets {
            if pallet.name == "System" {
                let found = pallet.constants.iter().find(|c| c.name == "Version");
                version_bytes = found.map(|c| c.value.clone());
            }
            let known = PALLETS.into_iter().find(|name| *name == pallet.name);
            if let (Some(name), Some(storage)) = (known, pallet.storage) {
                let mut table = HashMap::new();
                for entry in storage.entries {
                    let (hashers, value) = match entry.ty {
                        StorageEntryType::Plain(value) => (vec![], value.id),
                        StorageEntryType::Map { hashers, value, .. } => (hashers, value.id),
                    };
                    let default = matches!(entry.modifier, StorageEntryModifier::Default)
                        .then_some(entry.default);
                    let prefix = entry_prefix(&storage.prefix, &entry.name);
                    table.insert(
                        entry.name,
                        Entry {
                            prefix,
                            hashers,
                            value,
                            default,
                        },
                    );
                }
                entries.insert(name, table);
            }
            pallets.push(Pallet {
                name: pallet.name,
                index: pallet.index,
                calls: pallet.calls.map(|c| c.ty.id),
                errors: pallet.error.map(|e| e.ty.id),
            });
        }
        let version_bytes = version_bytes.ok_or(missing("System.Version constant"))?;
        let version =
            Version::decode(&mut version_bytes.as_slice()).map_err(|source| SpecError::Decode {
                spec: number,
                source,
            })?;
        let events = entries
            .get("System")
            .and_then(|table| table.get("Events"))
            .map(|entry| entry.value)
            .ok_or(missing("System.Events"))?;
        let mut apis = HashMap::new();
        for api in v15.apis {
            for method in api.methods {
                let inputs = method.inputs.iter().map(|i| i.ty.id).collect();
                apis.insert(
                    format!("{}_{}", api.name, method.name),
                    (inputs, method.output.id),
                );
            }
        }
        let extensions = v15
            .extrinsic
            .signed_extensions
            .into_iter()
            .map(|e| Extension {
                name: e.identifier,
                ty: e.ty.id,
                implicit: e.additional_signed.id,
            })
            .collect();
        Ok(Self {
            spec,
            version,
            version_bytes,
            types: v15.types,
            served: metadata.served,
            extensions,
            pallets,
            entries,
            apis,
            events,
        })
    }

    /// Whether this runtime has a storage entry.
    pub fn has(&self, pallet: &str, entry: &str) -> bool {
        self.entry(pallet, entry).is_some()
    }

    fn entry(&self, pallet: &str, entry: &str) -> Option<&Entry> {
        self.entries.get(pallet)?.get(entry)
    }

    /// The key of an entry whose map keys are given as SCALE bytes, in order. Fewer keys give a prefix.
    ///
    /// For an entry that this runtime lacks, the key is the one that runtimes which have it use, so that
    /// what the chain keeps there comes to light at an upgrade, as after a real migration.
    pub fn key(&self, pallet: &str, entry: &str, parts: &[&[u8]]) -> Vec<u8> {
        let (prefix, hashers) = match self.entry(pallet, entry) {
            Some(found) => (found.prefix, found.hashers.as_slice()),
            None => (entry_prefix(pallet, entry), later_hashers(entry)),
        };
        let mut key = prefix.to_vec();
        for (part, hasher) in parts.iter().zip(hashers) {
            match hasher {
                StorageHasher::Identity => {}
                StorageHasher::Blake2_128Concat | StorageHasher::Blake2_128 => {
                    key.extend(blake2_128(part));
                }
                StorageHasher::Blake2_256 => key.extend(blake2_256(part)),
                StorageHasher::Twox64Concat => key.extend(twox_64(part)),
                StorageHasher::Twox128 => key.extend(twox_128(part)),
                StorageHasher::Twox256 => key.extend(twox_256(part)),
            }
            if matches!(
                hasher,
                StorageHasher::Identity
                    | StorageHasher::Blake2_128Concat
                    | StorageHasher::Twox64Concat
            ) {
                key.extend_from_slice(part);
            }
        }
        key
    }

    /// What an absent entry reads as, for entries that have such a value.
    pub fn default_of(&self, pallet: &str, entry: &str) -> Option<&[u8]> {
        self.entry(pallet, entry)?.default.as_deref()
    }

    /// Encodes a value as an entry's type.
    pub fn storage_value(&self, pallet: &str, entry: &str, value: &Value<()>) -> Option<Vec<u8>> {
        let ty = self.entry(pallet, entry)?.value;
        value.encode_as_type(ty, &self.types).ok()
    }

    /// Reads a call: pallet index, call index, arguments; nothing may be left over.
    pub fn call(&self, bytes: &[u8]) -> Result<Call, NotACall> {
        let refused = |reason: String| NotACall {
            spec: self.spec.version(),
            reason,
        };
        let [pallet_index, call_index, arguments @ ..] = bytes else {
            return Err(refused("shorter than two bytes".to_owned()));
        };
        let pallet = self
            .pallets
            .iter()
            .find(|p| p.index == *pallet_index)
            .ok_or_else(|| refused(format!("no pallet {pallet_index}")))?;
        let variant = pallet
            .calls
            .and_then(|ty| self.variant(ty, |v| v.index == *call_index))
            .ok_or_else(|| refused(format!("no call {call_index} in {}", pallet.name)))?;
        let mut rest = arguments;
        for field in &variant.fields {
            self.skip(&mut rest, field.ty.id)
                .map_err(|e| refused(format!("{}.{}: {e}", pallet.name, variant.name)))?;
        }
        if !rest.is_empty() {
            return Err(refused(format!("{} bytes are left over", rest.len())));
        }
        Ok(Call {
            pallet: pallet.name.clone(),
            name: variant.name.clone(),
            arguments: arguments.to_vec(),
            fields: variant
                .fields
                .iter()
                .map(|f| (f.name.clone(), f.ty.id))
                .collect(),
        })
    }

    /// The arguments of a call by name.
    pub fn arguments<T: DecodeAsFields>(&self, call: &Call) -> Option<T> {
        let mut fields = call
            .fields
            .iter()
            .map(|(name, ty)| scale_decode::Field::new(*ty, name.as_deref()));
        T::decode_as_fields(&mut call.arguments.as_slice(), &mut fields, &self.types).ok()
    }

    /// One argument of a call as a value.
    pub fn argument(&self, call: &Call, wanted: &str) -> Option<Value<()>> {
        let mut rest = call.arguments.as_slice();
        for (name, ty) in &call.fields {
            if name.as_deref() == Some(wanted) {
                return scale_value::scale::decode_as_type(&mut rest, *ty, &self.types)
                    .ok()
                    .map(Value::remove_context);
            }
            self.skip(&mut rest, *ty).ok()?;
        }
        None
    }

    /// Encodes a call by name, arguments in the order of the metadata.
    pub fn encode_call(&self, pallet: &str, call: &str, values: Vec<Value<()>>) -> Option<Vec<u8>> {
        let found = self.pallets.iter().find(|p| p.name == pallet)?;
        let value = Value::unnamed_variant(call, values);
        let mut bytes = vec![found.index];
        value
            .encode_as_type_to(found.calls?, &self.types, &mut bytes)
            .ok()?;
        Some(bytes)
    }

    /// Moves past a value of a type.
    pub fn skip(
        &self,
        bytes: &mut &[u8],
        ty: u32,
    ) -> Result<(), scale_decode::visitor::DecodeError> {
        scale_decode::visitor::decode_with_visitor(bytes, ty, &self.types, IgnoreVisitor::new())
    }

    /// (pallet index, error index) of a pallet's error by name.
    pub fn error(&self, pallet: &str, name: &str) -> Option<(u8, u8)> {
        let found = self.pallets.iter().find(|p| p.name == pallet)?;
        let variant = self.variant(found.errors?, |v| v.name == name)?;
        Some((found.index, variant.index))
    }

    fn variant(
        &self,
        ty: u32,
        wanted: impl Fn(&scale_info::Variant<scale_info::form::PortableForm>) -> bool,
    ) -> Option<&scale_info::Variant<scale_info::form::PortableForm>> {
        match &self.types.resolve(ty)?.type_def {
            TypeDef::Variant(enumeration) => enumeration.variants.iter().find(|v| wanted(v)),
            _ => None,
        }
    }

    /// Encodes the events of a block. One that the runtime cannot express is left out.
    pub fn encode_events(&self, records: &[Value<()>]) -> Vec<u8> {
        let Some(TypeDef::Sequence(list)) = self.types.resolve(self.events).map(|t| &t.type_def)
        else {
            return vec![0];
        };
        let mut written = Vec::new();
        let mut count = 0_u32;
        for record in records {
            let mut one = Vec::new();
            match record.encode_as_type_to(list.type_param.id, &self.types, &mut one) {
                Ok(()) => {
                    written.extend(one);
                    count += 1;
                }
                Err(error) => {
                    tracing::error!(%error, %record, "an event does not fit the metadata");
                }
            }
        }
        let mut bytes = Compact(count).encode();
        bytes.extend(written);
        bytes
    }

    /// Types of a runtime API method: inputs, output.
    pub fn api(&self, method: &str) -> Option<(&[u32], u32)> {
        self.apis
            .get(method)
            .map(|(inputs, output)| (inputs.as_slice(), *output))
    }

    /// Every runtime API method with its types: inputs, output.
    #[cfg(test)]
    pub fn api_methods(&self) -> impl Iterator<Item = (&str, &[u32], u32)> {
        let all = self.apis.iter();
        all.map(|(method, (inputs, output))| (method.as_str(), inputs.as_slice(), *output))
    }

    /// The struct inside `Option<T>`, or the type itself.
    pub fn inside_option(&self, ty: u32) -> (u32, bool) {
        match self.types.resolve(ty).map(|t| (&t.path, &t.type_def)) {
            Some((path, TypeDef::Variant(option))) if path.ident().as_deref() == Some("Option") => {
                let some = option.variants.iter().find(|v| v.name == "Some");
                let inner = some.and_then(|v| v.fields.first()).map_or(ty, |f| f.ty.id);
                (inner, true)
            }
            _ => (ty, false),
        }
    }

    /// The element type of a list.
    pub fn inside_list(&self, ty: u32) -> Option<u32> {
        match &self.types.resolve(ty)?.type_def {
            TypeDef::Sequence(list) => Some(list.type_param.id),
            _ => None,
        }
    }

    /// Names and types of a struct's fields.
    pub fn fields(&self, ty: u32) -> Vec<(String, u32)> {
        match self.types.resolve(ty).map(|t| &t.type_def) {
            Some(TypeDef::Composite(composite)) => composite
                .fields
                .iter()
                .map(|f| (f.name.clone().unwrap_or_default(), f.ty.id))
                .collect(),
            _ => vec![],
        }
    }

    /// Encodes a struct: each field from `given`, else as zero (`None`, empty, 0).
    pub fn encode_struct(&self, ty: u32, given: impl Fn(&str) -> Option<Field>, out: &mut Vec<u8>) {
        for (name, field_ty) in self.fields(ty) {
            let before = out.len();
            let done = given(&name).is_some_and(|field| self.encode_field(field_ty, &field, out));
            if !done {
                out.truncate(before);
                self.zero(field_ty, out, 0);
            }
        }
    }

    /// Encodes one field, wrapped in `Some` where the type is an option.
    fn encode_field(&self, ty: u32, field: &Field, out: &mut Vec<u8>) -> bool {
        let (inner, optional) = self.inside_option(ty);
        if optional {
            out.push(1);
        }
        let types = &self.types;
        match field {
            Field::Accounts(keys) => keys.encode_as_type_to(inner, types, out),
            Field::Numbers(numbers) => numbers.encode_as_type_to(inner, types, out),
            Field::Flags(flags) => flags.encode_as_type_to(inner, types, out),
            Field::Number(number) => number.encode_as_type_to(inner, types, out),
            Field::Flag(flag) => flag.encode_as_type_to(inner, types, out),
            Field::Account(key) => key.encode_as_type_to(inner, types, out),
            Field::Value(value) => value.encode_as_type_to(inner, types, out),
            Field::Zero => {
                self.zero(inner, out, 0);
                Ok(())
            }
        }
        .is_ok()
    }

    /// Writes the zero of a type: `None`, empty, 0, the first variant.
    pub fn zero(&self, ty: u32, out: &mut Vec<u8>, depth: u32) {
        let Some(found) = self.types.resolve(ty).filter(|_| depth < ZERO_DEPTH) else {
            return;
        };
        match &found.type_def {
            TypeDef::Composite(composite) => {
                for field in &composite.fields {
                    self.zero(field.ty.id, out, depth + 1);
                }
            }
            TypeDef::Variant(enumeration) => {
                let Some(first) = enumeration.variants.iter().min_by_key(|v| v.index) else {
                    return;
                };
                out.push(first.index);
                for field in &first.fields {
                    self.zero(field.ty.id, out, depth + 1);
                }
            }
            TypeDef::Sequence(_) | TypeDef::Compact(_) | TypeDef::BitSequence(_) => out.push(0),
            TypeDef::Array(array) => {
                for _ in 0..array.len {
                    self.zero(array.type_param.id, out, depth + 1);
                }
            }
            TypeDef::Tuple(tuple) => {
                for field in &tuple.fields {
                    self.zero(field.id, out, depth + 1);
                }
            }
            TypeDef::Primitive(primitive) => {
                let width = match primitive {
                    TypeDefPrimitive::Bool
                    | TypeDefPrimitive::U8
                    | TypeDefPrimitive::I8
                    | TypeDefPrimitive::Str => 1,
                    TypeDefPrimitive::U16 | TypeDefPrimitive::I16 => 2,
                    TypeDefPrimitive::U32 | TypeDefPrimitive::I32 | TypeDefPrimitive::Char => 4,
                    TypeDefPrimitive::U64 | TypeDefPrimitive::I64 => 8,
                    TypeDefPrimitive::U128 | TypeDefPrimitive::I128 => 16,
                    TypeDefPrimitive::U256 | TypeDefPrimitive::I256 => 32,
                };
                out.extend(std::iter::repeat_n(0, width));
            }
        }
    }
}

fn entry_prefix(pallet: &str, entry: &str) -> [u8; 32] {
    let mut prefix = [0; 32];
    prefix[..16].copy_from_slice(&twox_128(pallet.as_bytes()));
    prefix[16..].copy_from_slice(&twox_128(entry.as_bytes()));
    prefix
}

/// Hashers of entries that older runtimes lack (CHAIN.md §1).
fn later_hashers(entry: &str) -> &'static [StorageHasher] {
    match entry {
        "TimelockedWeightCommits" => &[StorageHasher::Twox64Concat, StorageHasher::Twox64Concat],
        "MechanismCountCurrent" => &[StorageHasher::Twox64Concat],
        "UsedSpaceOf" => &[StorageHasher::Identity, StorageHasher::Twox64Concat],
        _ => &[StorageHasher::Identity, StorageHasher::Identity],
    }
}
