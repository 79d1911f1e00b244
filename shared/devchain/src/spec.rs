//! Which runtime the chain impersonates, and its metadata in the forms that clients ask for.

use frame_metadata::v15::{
    ExtrinsicMetadata, OuterEnums, PalletCallMetadata, PalletConstantMetadata, PalletErrorMetadata,
    PalletEventMetadata, PalletMetadata, PalletStorageMetadata, RuntimeApiMetadata,
    RuntimeApiMethodMetadata, RuntimeMetadataV15, SignedExtensionMetadata, StorageEntryMetadata,
};
use frame_metadata::{META_RESERVED, RuntimeMetadata, RuntimeMetadataPrefixed, v14, v16};
use parity_scale_codec::{Decode as _, Encode as _};
use scale_info::form::PortableForm;
use scale_info::interner::UntrackedSymbol;
use scale_info::{
    Field, Path, PortableRegistry, PortableType, Type, TypeDef, TypeDefComposite, TypeDefPrimitive,
    TypeDefTuple, TypeParameter,
};
use std::any::TypeId;
use std::time::Duration;

/// A runtime that the chain can pretend to be (CHAIN.md §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Spec {
    /// Mainnet of December 2025, metadata V16; epochs by block number.
    S365,
    /// June 2026, the last one before stateful epochs.
    S419,
    /// July 2026, with stateful epochs: the default.
    #[default]
    S439,
    /// The newest bundled one.
    S461,
}

/// Why bundled metadata could not be used. Only a broken build can cause it.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// The archive cannot be unpacked.
    #[error("unpacking the metadata of spec {spec}")]
    Unpack {
        /// Spec version.
        spec: u32,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The bytes are not metadata.
    #[error("decoding the metadata of spec {spec}")]
    Decode {
        /// Spec version.
        spec: u32,
        /// Cause.
        #[source]
        source: parity_scale_codec::Error,
    },
    /// Metadata of a form that is not served.
    #[error("the metadata of spec {spec} is version {version}, which is neither 15 nor 16")]
    Form {
        /// Spec version.
        spec: u32,
        /// Metadata version.
        version: u32,
    },
    /// Something that the chain needs is not in the metadata.
    #[error("the metadata of spec {spec} has no {what}")]
    Missing {
        /// Spec version.
        spec: u32,
        /// What is missing.
        what: &'static str,
    },
}

impl Spec {
    /// Every bundled one, oldest first.
    pub const ALL: [Self; 4] = [Self::S365, Self::S419, Self::S439, Self::S461];

    /// Its spec version.
    pub const fn version(self) -> u32 {
        match self {
            Self::S365 => 365,
            Self::S419 => 419,
            Self::S439 => 439,
            Self::S461 => 461,
        }
    }

    /// The bundled spec of that version.
    pub fn from_version(version: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|spec| spec.version() == version)
    }

    const fn archive(self) -> &'static [u8] {
        match self {
            Self::S365 => include_bytes!("../metadata/finney_365_v16.scale.zst"),
            Self::S419 => include_bytes!("../metadata/subtensor_419_v15_fastblocks.scale.zst"),
            Self::S439 => include_bytes!("../metadata/subtensor_439_v15.scale.zst"),
            Self::S461 => include_bytes!("../metadata/subtensor_461_v15_fastblocks.scale.zst"),
        }
    }

    /// The bundled metadata: bytes from the magic `meta` on.
    pub fn metadata(self) -> Result<Vec<u8>, SpecError> {
        zstd::decode_all(self.archive()).map_err(|source| SpecError::Unpack {
            spec: self.version(),
            source,
        })
    }
}

/// Metadata of one spec in every form that is served, and its V15 structure to work with.
pub(crate) struct Metadata {
    /// Working form.
    pub v15: RuntimeMetadataV15,
    /// Served forms, ascending: (metadata version, bytes from the magic on).
    pub served: Vec<(u32, Vec<u8>)>,
}

impl Metadata {
    /// Unpacks a spec and states `block_time` in its constants. The served forms lack what is `hidden`
    /// (`Pallet.Entry`, `Pallet.call`, `Api.method`).
    pub fn load(spec: Spec, block_time: Duration, hidden: &[&str]) -> Result<Self, SpecError> {
        let number = spec.version();
        let bytes = spec.metadata()?;
        let prefixed =
            RuntimeMetadataPrefixed::decode(&mut bytes.as_slice()).map_err(|source| {
                SpecError::Decode {
                    spec: number,
                    source,
                }
            })?;
        let slot = u64::try_from(block_time.as_millis())
            .unwrap_or(u64::MAX)
            .max(1);
        let mut served = Vec::new();
        let v15 = match prefixed.1 {
            RuntimeMetadata::V15(mut v15) => {
                for pallet in &mut v15.pallets {
                    for constant in &mut pallet.constants {
                        state_block_time(&pallet.name, &constant.name, &mut constant.value, slot);
                    }
                }
                v15
            }
            RuntimeMetadata::V16(mut v16) => {
                for pallet in &mut v16.pallets {
                    for constant in &mut pallet.constants {
                        state_block_time(&pallet.name, &constant.name, &mut constant.value, slot);
                    }
                }
                if hidden.is_empty() {
                    served.push((16, prefixed_bytes(RuntimeMetadata::V16(v16.clone()))));
                }
                v15_of(v16)
            }
            other => {
                return Err(SpecError::Form {
                    spec: number,
                    version: other.version(),
                });
            }
        };
        let mut shown = v15.clone();
        for name in hidden {
            hide(&mut shown, name);
        }
        served.insert(0, (15, prefixed_bytes(RuntimeMetadata::V15(shown.clone()))));
        served.insert(0, (14, prefixed_bytes(RuntimeMetadata::V14(v14_of(shown)))));
        Ok(Self { v15, served })
    }
}

/// Takes a storage entry, a call or a runtime API's method out of metadata.
fn hide(metadata: &mut RuntimeMetadataV15, name: &str) {
    let Some((owner, item)) = name.split_once('.') else {
        return;
    };
    for api in metadata.apis.iter_mut().filter(|api| api.name == owner) {
        api.methods.retain(|method| method.name != item);
    }
    for pallet in metadata.pallets.iter_mut().filter(|p| p.name == owner) {
        if let Some(storage) = &mut pallet.storage {
            storage.entries.retain(|entry| entry.name != item);
        }
        let Some(calls) = &pallet.calls else { continue };
        let calls = metadata
            .types
            .types
            .iter_mut()
            .find(|ty| ty.id == calls.ty.id);
        if let Some(TypeDef::Variant(calls)) = calls.map(|ty| &mut ty.ty.type_def) {
            calls.variants.retain(|call| call.name != item);
        }
    }
}

fn prefixed_bytes(metadata: RuntimeMetadata) -> Vec<u8> {
    RuntimeMetadataPrefixed(META_RESERVED, metadata).encode()
}

/// The constants from which clients learn how fast blocks come: clients compute reveal rounds by them.
fn state_block_time(pallet: &str, name: &str, value: &mut Vec<u8>, slot_ms: u64) {
    let stated = match (pallet, name) {
        ("Aura", "SlotDuration") => slot_ms,
        ("Timestamp", "MinimumPeriod") => (slot_ms / 2).max(1),
        _ => return,
    };
    if value.len() == 8 {
        *value = stated.encode();
    }
}

type Symbol = UntrackedSymbol<TypeId>;

fn add_type(registry: &mut PortableRegistry, ty: Type<PortableForm>) -> Symbol {
    let id = u32::try_from(registry.types.len()).expect("a registry has far fewer than 2^32 types");
    registry.types.push(PortableType { id, ty });
    id.into()
}

fn v15_of(from: v16::RuntimeMetadataV16) -> RuntimeMetadataV15 {
    let mut types = from.types;
    let extensions: Vec<_> = from
        .extrinsic
        .transaction_extensions
        .into_iter()
        .map(|e| SignedExtensionMetadata {
            identifier: e.identifier,
            ty: e.ty,
            additional_signed: e.implicit,
        })
        .collect();
    let tuple = TypeDefTuple::new_portable(extensions.iter().map(|e| e.ty));
    let extra_ty = add_type(
        &mut types,
        Type::new(Path::default(), vec![], tuple, vec![]),
    );
    let pallets = from
        .pallets
        .into_iter()
        .map(|p| PalletMetadata {
            name: p.name,
            storage: p.storage.map(|s| PalletStorageMetadata {
                prefix: s.prefix,
                entries: s
                    .entries
                    .into_iter()
                    .map(|e| StorageEntryMetadata {
                        name: e.name,
                        modifier: e.modifier,
                        ty: e.ty,
                        default: e.default,
                        docs: e.docs,
                    })
                    .collect(),
            }),
            calls: p.calls.map(|c| PalletCallMetadata { ty: c.ty }),
            event: p.event.map(|e| PalletEventMetadata { ty: e.ty }),
            constants: p
                .constants
                .into_iter()
                .map(|c| PalletConstantMetadata {
                    name: c.name,
                    ty: c.ty,
                    value: c.value,
                    docs: c.docs,
                })
                .collect(),
            error: p.error.map(|e| PalletErrorMetadata { ty: e.ty }),
            index: p.index,
            docs: p.docs,
        })
        .collect();
    let apis = from
        .apis
        .into_iter()
        .map(|a| RuntimeApiMetadata {
            name: a.name,
            methods: a
                .methods
                .into_iter()
                .map(|m| RuntimeApiMethodMetadata {
                    name: m.name,
                    inputs: m.inputs,
                    output: m.output,
                    docs: m.docs,
                })
                .collect(),
            docs: a.docs,
        })
        .collect();
    RuntimeMetadataV15 {
        ty: from.outer_enums.call_enum_ty,
        pallets,
        extrinsic: ExtrinsicMetadata {
            version: 4,
            address_ty: from.extrinsic.address_ty,
            call_ty: from.extrinsic.call_ty,
            signature_ty: from.extrinsic.signature_ty,
            extra_ty,
            signed_extensions: extensions,
        },
        apis,
        outer_enums: OuterEnums {
            call_enum_ty: from.outer_enums.call_enum_ty,
            event_enum_ty: from.outer_enums.event_enum_ty,
            error_enum_ty: from.outer_enums.error_enum_ty,
        },
        custom: from.custom,
        types,
    }
}

/// V14 names the type of a whole extrinsic, from whose parameters old clients take the address, call,
/// signature and extension types. V15 dropped that type, so it is put together again.
fn v14_of(from: RuntimeMetadataV15) -> v14::RuntimeMetadataV14 {
    let mut types = from.types;
    let is_byte = |id: u32| {
        let found = types.resolve(id).map(|ty| &ty.type_def);
        matches!(found, Some(TypeDef::Primitive(TypeDefPrimitive::U8)))
    };
    let bytes = types.types.iter().find_map(|t| match &t.ty.type_def {
        TypeDef::Sequence(sequence) if is_byte(sequence.type_param.id) => Some(t.id),
        _ => None,
    });
    let parameter = |name: &str, ty: Symbol| {
        TypeParameter::<PortableForm>::new_portable(name.to_owned(), Some(ty))
    };
    let params = vec![
        parameter("Address", from.extrinsic.address_ty),
        parameter("Call", from.extrinsic.call_ty),
        parameter("Signature", from.extrinsic.signature_ty),
        parameter("Extra", from.extrinsic.extra_ty),
    ];
    let segments = [
        "sp_runtime",
        "generic",
        "unchecked_extrinsic",
        "UncheckedExtrinsic",
    ];
    let path = Path::from_segments_unchecked(segments.map(str::to_owned));
    let bytes = bytes.unwrap_or_default().into();
    let fields = vec![Field::<PortableForm> {
        name: None,
        ty: bytes,
        type_name: None,
        docs: vec![],
    }];
    let ty = add_type(
        &mut types,
        Type::new(path, params, TypeDefComposite::new(fields), vec![]),
    );
    let pallets = from
        .pallets
        .into_iter()
        .map(|p| v14::PalletMetadata {
            name: p.name,
            storage: p.storage,
            calls: p.calls,
            event: p.event,
            constants: p.constants,
            error: p.error,
            index: p.index,
        })
        .collect();
    v14::RuntimeMetadataV14 {
        types,
        pallets,
        extrinsic: v14::ExtrinsicMetadata {
            ty,
            version: 4,
            signed_extensions: from
                .extrinsic
                .signed_extensions
                .into_iter()
                .map(|e| v14::SignedExtensionMetadata {
                    identifier: e.identifier,
                    ty: e.ty,
                    additional_signed: e.additional_signed,
                })
                .collect(),
        },
        ty: from.ty,
    }
}
