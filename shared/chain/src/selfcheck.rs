//! Do the names we use exist in the runtime that the node serves?
//!
//! The runtime changes every one to three weeks and every client breaks at some point (CHAIN.md §8.1).
//! Looked at when connecting and whenever the spec version grows. What is missing is named; reading
//! goes on as far as it can, submission stops.

use subxt::Metadata;

/// What a missing name keeps us from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Reading the subnet: without it there is no validation.
    Read,
    /// Submitting plain weights.
    SetWeights,
    /// Submitting timelocked weights.
    CommitWeights,
    /// Publishing a commitment.
    Commitment,
    /// A shortcut or a later addition: something else serves instead.
    Optional,
}

/// One thing that the runtime has not got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// What it keeps us from.
    pub need: Need,
    /// Its name, as in `SubtensorModule.Keys`.
    pub name: String,
}

/// The result of a look at one runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelfCheck {
    /// The runtime's version.
    pub spec_version: u32,
    /// What it lacks.
    pub missing: Vec<Missing>,
}

const STORAGE: &[(Need, &str, &str)] = &[
    (Need::Read, "SubtensorModule", "Keys"),
    (Need::Read, "SubtensorModule", "Uids"),
    (Need::Read, "SubtensorModule", "SubnetworkN"),
    (Need::Read, "SubtensorModule", "ValidatorPermit"),
    (Need::Read, "SubtensorModule", "LastUpdate"),
    (Need::Read, "SubtensorModule", "BlockAtRegistration"),
    (Need::Read, "SubtensorModule", "Tempo"),
    (Need::Read, "SubtensorModule", "TotalHotkeyAlpha"),
    (Need::Read, "SubtensorModule", "NetworksAdded"),
    (Need::Read, "Commitments", "CommitmentOf"),
    (Need::SetWeights, "SubtensorModule", "Weights"),
    (
        Need::SetWeights,
        "SubtensorModule",
        "CommitRevealWeightsEnabled",
    ),
    (Need::SetWeights, "SubtensorModule", "WeightsSetRateLimit"),
    (Need::SetWeights, "SubtensorModule", "WeightsVersionKey"),
    (Need::SetWeights, "SubtensorModule", "MinAllowedWeights"),
    (Need::SetWeights, "SubtensorModule", "StakeThreshold"),
    (Need::CommitWeights, "SubtensorModule", "RevealPeriodEpochs"),
    (
        Need::CommitWeights,
        "SubtensorModule",
        "BlocksSinceLastStep",
    ),
    (
        Need::CommitWeights,
        "SubtensorModule",
        "TimelockedWeightCommits",
    ),
    (
        Need::CommitWeights,
        "SubtensorModule",
        "CommitRevealWeightsVersion",
    ),
    (Need::CommitWeights, "Drand", "LastStoredRound"),
    (Need::CommitWeights, "Drand", "BeaconConfig"),
    (Need::Optional, "SubtensorModule", "SubnetOwnerHotkey"),
    (Need::Optional, "SubtensorModule", "MechanismCountCurrent"),
];

/// Call, with the names of its arguments in order.
const CALLS: &[(Need, &str, &str, &[&str])] = &[
    (
        Need::SetWeights,
        "SubtensorModule",
        "set_weights",
        &["netuid", "dests", "weights", "version_key"],
    ),
    (
        Need::Optional,
        "SubtensorModule",
        "set_mechanism_weights",
        &["netuid", "mecid", "dests", "weights", "version_key"],
    ),
    (
        Need::CommitWeights,
        "SubtensorModule",
        "commit_timelocked_weights",
        &["netuid", "commit", "reveal_round", "commit_reveal_version"],
    ),
    (
        Need::Optional,
        "SubtensorModule",
        "commit_timelocked_mechanism_weights",
        &[
            "netuid",
            "mecid",
            "commit",
            "reveal_round",
            "commit_reveal_version",
        ],
    ),
    (
        Need::Commitment,
        "Commitments",
        "set_commitment",
        &["netuid", "info"],
    ),
];

const RUNTIME_APIS: &[(Need, &str, &str)] = &[(
    Need::Optional,
    "SubnetInfoRuntimeApi",
    "get_selective_metagraph",
)];

impl SelfCheck {
    /// Looks for every name in a runtime's metadata.
    pub fn of(spec_version: u32, metadata: &Metadata) -> Self {
        let mut missing = Vec::new();
        let mut note = |need, name: String| missing.push(Missing { need, name });
        for (need, pallet, entry) in STORAGE {
            let found = metadata
                .pallet_by_name(pallet)
                .and_then(|p| p.storage())
                .is_some_and(|s| s.entry_by_name(entry).is_some());
            if !found {
                note(*need, format!("{pallet}.{entry}"));
            }
        }
        for (need, pallet, call, arguments) in CALLS {
            let pallet_metadata = metadata.pallet_by_name(pallet);
            let variant = pallet_metadata
                .as_ref()
                .and_then(|p| p.call_variant_by_name(call));
            let Some(variant) = variant else {
                note(*need, format!("{pallet}.{call}()"));
                continue;
            };
            let live: Vec<&str> = variant
                .fields
                .iter()
                .map(|f| f.name.as_deref().unwrap_or(""))
                .collect();
            if live != *arguments {
                note(
                    *need,
                    format!(
                        "{pallet}.{call}({}), it is ({}) now",
                        arguments.join(", "),
                        live.join(", ")
                    ),
                );
            }
        }
        for (need, api, method) in RUNTIME_APIS {
            let found = metadata
                .runtime_api_trait_by_name(api)
                .is_some_and(|t| t.method_by_name(method).is_some());
            if !found {
                note(*need, format!("{api}.{method}()"));
            }
        }
        missing.sort_by(|a, b| (a.need, &a.name).cmp(&(b.need, &b.name)));
        Self {
            spec_version,
            missing,
        }
    }

    /// Names missing for one need, those of reading included (nothing works without it).
    pub fn missing_for(&self, need: Need) -> Vec<&str> {
        self.missing
            .iter()
            .filter(|m| m.need == need || m.need == Need::Read)
            .map(|m| m.name.as_str())
            .collect()
    }

    /// Whether all that a need calls for is there.
    pub fn allows(&self, need: Need) -> bool {
        self.missing_for(need).is_empty()
    }

    pub(crate) fn log(&self) {
        let spec = self.spec_version;
        if self.missing.is_empty() {
            tracing::info!(spec, "the chain's runtime offers all that we use");
        }
        for missing in &self.missing {
            let (name, need) = (&missing.name, missing.need);
            if need == Need::Optional {
                tracing::info!(
                    spec,
                    name,
                    "not in this runtime, something else serves instead"
                );
            } else {
                tracing::error!(
                    spec,
                    name,
                    ?need,
                    "not in this runtime: this kind of work stops"
                );
            }
        }
    }
}
