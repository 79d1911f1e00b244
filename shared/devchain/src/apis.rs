//! Runtime API calls, answered from storage and encoded by the metadata.

use crate::chain::{Chain, Refusal};
use crate::pallets::commitments;
use crate::pallets::epoch;
use crate::pallets::subnet::{self, MAX_UIDS, Neuron};
use crate::runtime::{Field, Runtime};
use crate::state::State;
use parity_scale_codec::{Compact, Decode, Encode as _};
use scale_encode::EncodeAsType as _;
use scale_value::Value;

/// Why a runtime API call has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("Exported method {0} is not found")]
    NoMethod(String),
    #[error("the arguments of {0} cannot be decoded")]
    Arguments(String),
    #[error("the dev chain does not serve {0}, although the runtime it impersonates has it")]
    NotServed(String),
}

/// Names and kinds of hyperparameters, as the third form of their answer lists them.
const HYPERPARAMETERS: [(&str, &str); 13] = [
    ("rho", "U16"),
    ("kappa", "U16"),
    ("immunity_period", "U16"),
    ("min_allowed_weights", "U16"),
    ("max_weights_limit", "U16"),
    ("tempo", "U16"),
    ("weights_version", "U64"),
    ("weights_rate_limit", "U64"),
    ("activity_cutoff", "U16"),
    ("registration_allowed", "Bool"),
    ("max_validators", "U16"),
    ("commit_reveal_period", "U64"),
    ("commit_reveal_weights_enabled", "Bool"),
];
/// Runtime APIs about what no dev chain has: delegates, stakes by coldkey, baskets, proxies, swaps. What is not answered
/// below is answered as on a chain that has none: `None`, an empty list, zero.
const EMPTY: [&str; 9] = [
    "BetaBasketRuntimeApi",
    "DelegateInfoRuntimeApi",
    "DerivativesRuntimeApi",
    "NeuronInfoRuntimeApi",
    "ProxyFilterRuntimeApi",
    "StakeInfoRuntimeApi",
    "SubnetInfoRuntimeApi",
    "SubnetRegistrationRuntimeApi",
    "SwapRuntimeApi",
];
/// Price of a subnet's alpha, rao: one TAO.
const ALPHA_PRICE: u64 = 1_000_000_000;
/// Fields of the selective metagraph that every answer carries.
const ALWAYS: &str = "netuid";

/// Answers a call on the state of a block.
pub(crate) fn call(
    chain: &Chain,
    state: &State<'_>,
    method: &str,
    arguments: &[u8],
) -> Result<Vec<u8>, ApiError> {
    let rt = state.rt;
    let malformed = || ApiError::Arguments(method.to_owned());
    let mut rest = arguments;
    let answer = match method {
        "Core_version" => rt.version_bytes.clone(),
        "Metadata_metadata" => served(rt, 14).unwrap_or_default().encode(),
        "Metadata_metadata_versions" => rt
            .served
            .iter()
            .map(|(version, _)| *version)
            .collect::<Vec<u32>>()
            .encode(),
        "Metadata_metadata_at_version" => {
            let version = u32::decode(&mut rest).map_err(|_| malformed())?;
            served(rt, version).encode()
        }
        "AccountNonceApi_account_nonce" => {
            let who = <[u8; 32]>::decode(&mut rest).map_err(|_| malformed())?;
            state.nonce(&who).encode()
        }
        "TaggedTransactionQueue_validate_transaction" => {
            let bytes = rest.get(1..).ok_or_else(malformed)?;
            let mut after = bytes;
            let length = Compact::<u32>::decode(&mut after)
                .map_err(|_| malformed())?
                .0;
            let prefix = bytes.len() - after.len();
            let end = prefix + usize::try_from(length).map_err(|_| malformed())?;
            validity(chain, bytes.get(..end).ok_or_else(malformed)?)
        }
        _ => named(chain, state, method, rest)?,
    };
    Ok(answer)
}

fn served(rt: &Runtime, version: u32) -> Option<Vec<u8>> {
    rt.served
        .iter()
        .find(|(v, _)| *v == version)
        .map(|(_, bytes)| bytes.clone())
}

/// SCALE of `Result<ValidTransaction, TransactionValidityError>`.
fn validity(chain: &Chain, extrinsic: &[u8]) -> Vec<u8> {
    let invalid = |what: &[u8]| [&[1, 0], what].concat();
    match chain.validate(extrinsic) {
        Ok((signed, _)) => {
            let tag = |nonce: u32| (signed.signer, nonce).encode();
            let requires: Vec<Vec<u8>> = signed.nonce.checked_sub(1).map(tag).into_iter().collect();
            let longevity = signed
                .era
                .death(chain.best().header.number)
                .unwrap_or(u64::MAX);
            let mut bytes = vec![0];
            (1_u64, requires, vec![tag(signed.nonce)], longevity, true).encode_to(&mut bytes);
            bytes
        }
        Err(Refusal::Stale) => invalid(&[3]),
        Err(Refusal::BadProof) => invalid(&[4]),
        Err(Refusal::AncientBirthBlock) => invalid(&[5]),
        Err(Refusal::Custom(code)) => invalid(&[7, code]),
        Err(_) => invalid(&[0]),
    }
}

fn named(
    chain: &Chain,
    state: &State<'_>,
    method: &str,
    arguments: &[u8],
) -> Result<Vec<u8>, ApiError> {
    let rt = state.rt;
    let Some((inputs, output)) = rt.api(method) else {
        return Err(ApiError::NoMethod(method.to_owned()));
    };
    let malformed = || ApiError::Arguments(method.to_owned());
    let mut rest = arguments;
    let mut out = Vec::new();
    if method.starts_with("TransactionPaymentApi_") {
        // Nothing costs anything.
        rt.zero(output, &mut out, 0);
        return Ok(out);
    }
    let (api, name) = method.split_once('_').unwrap_or((method, ""));
    if !EMPTY.contains(&api) {
        return Err(ApiError::NotServed(method.to_owned()));
    }
    for input in inputs {
        rt.skip(&mut rest, *input).map_err(|_| malformed())?;
    }
    rest = arguments;
    let netuid = u16::decode(&mut rest).map_err(|_| malformed());
    let (inner, optional) = rt.inside_option(output);
    match name {
        "get_selective_metagraph" | "get_selective_mechagraph" => {
            let netuid = netuid?;
            if name == "get_selective_mechagraph" {
                let mechanism = u8::decode(&mut rest).map_err(|_| malformed())?;
                if mechanism >= epoch::mechanisms(state, netuid) {
                    return Ok(vec![0]);
                }
            }
            let wanted = Vec::<u16>::decode(&mut rest).map_err(|_| malformed())?;
            if !exists(state, netuid) {
                return Ok(vec![0]);
            }
            let fields = rt.fields(inner);
            let asked = |name: &str| {
                name == ALWAYS
                    || fields
                        .iter()
                        .position(|(field, _)| field == name)
                        .is_some_and(|at| {
                            u16::try_from(at).is_ok_and(|index| wanted.contains(&index))
                        })
            };
            let view = View::of(chain, state, netuid);
            out.push(1);
            rt.encode_struct(
                inner,
                // What was asked for is there, if only as zero.
                |name| asked(name).then(|| view.field(name).unwrap_or(Field::Zero)),
                &mut out,
            );
        }
        "get_metagraph"
        | "get_mechagraph"
        | "get_subnet_state"
        | "get_dynamic_info"
        | "get_subnet_info"
        | "get_subnet_info_v2"
        | "get_subnet_hyperparams"
        | "get_subnet_hyperparams_v2" => {
            let netuid = netuid?;
            if !exists(state, netuid) {
                return Ok(vec![0]);
            }
            let view = View::of(chain, state, netuid);
            if optional {
                out.push(1);
            }
            rt.encode_struct(inner, |name| view.field(name), &mut out);
        }
        "get_subnet_hyperparams_v3" => {
            let netuid = netuid?;
            if !exists(state, netuid) {
                return Ok(vec![0]);
            }
            let list = View::of(chain, state, netuid).hyperparameters();
            out.push(1);
            list.encode_as_type_to(inner, &rt.types, &mut out)
                .map_err(|_| malformed())?;
        }
        "get_neurons_lite" | "get_neurons" => {
            let netuid = netuid?;
            let neurons = subnet::neurons(state, netuid);
            let element = rt.inside_list(output).ok_or_else(malformed)?;
            Compact(u32::try_from(neurons.len()).unwrap_or(u32::MAX)).encode_to(&mut out);
            for neuron in &neurons {
                encode_neuron(rt, element, netuid, neuron, &mut out);
            }
        }
        "get_neuron_lite" | "get_neuron" => {
            let netuid = netuid?;
            let uid = u16::decode(&mut rest).map_err(|_| malformed())?;
            match subnet::neurons(state, netuid).get(usize::from(uid)) {
                None => out.push(0),
                Some(neuron) => {
                    out.push(1);
                    encode_neuron(rt, inner, netuid, neuron, &mut out);
                }
            }
        }
        "get_all_metagraphs"
        | "get_all_mechagraphs"
        | "get_subnets_info"
        | "get_subnets_info_v2"
        | "get_all_dynamic_info" => {
            let element = rt.inside_list(output).ok_or_else(malformed)?;
            let (inner, optional) = rt.inside_option(element);
            let view = View::of(chain, state, chain.config.netuid);
            Compact(1_u32).encode_to(&mut out);
            if optional {
                out.push(1);
            }
            rt.encode_struct(inner, |name| view.field(name), &mut out);
        }
        "get_next_epoch_start_block" => {
            let next = epoch::next(state, netuid?);
            if optional {
                next.encode_to(&mut out);
            } else {
                next.unwrap_or_default().encode_to(&mut out);
            }
        }
        "current_alpha_price" => {
            let price = if exists(state, netuid?) {
                ALPHA_PRICE
            } else {
                0
            };
            price.encode_to(&mut out);
        }
        "current_alpha_price_all" => {
            let element = rt.inside_list(output).ok_or_else(malformed)?;
            Compact(2_u32).encode_to(&mut out);
            for netuid in [0, chain.config.netuid] {
                let price = |name: &str| match name {
                    "netuid" => Some(Field::Number(netuid.into())),
                    "price" => Some(Field::Number(ALPHA_PRICE)),
                    _ => None,
                };
                rt.encode_struct(element, price, &mut out);
            }
        }
        _ => rt.zero(output, &mut out, 0),
    }
    Ok(out)
}

fn exists(state: &State<'_>, netuid: u16) -> bool {
    state.subnet("NetworksAdded", &[&netuid.encode()])
}

fn encode_neuron(rt: &Runtime, ty: u32, netuid: u16, neuron: &Neuron, out: &mut Vec<u8>) {
    let stake = Value::unnamed_composite([Value::unnamed_composite([
        crate::state::account(&neuron.coldkey),
        Value::u128(u128::from(neuron.stake)),
    ])]);
    let field = |name: &str| {
        Some(match name {
            "hotkey" => Field::Account(neuron.hotkey),
            "coldkey" => Field::Account(neuron.coldkey),
            "uid" => Field::Number(neuron.uid.into()),
            "netuid" => Field::Number(netuid.into()),
            "active" => Field::Flag(true),
            "stake" => Field::Value(stake.clone()),
            "last_update" => Field::Number(neuron.last_update),
            "validator_permit" => Field::Flag(neuron.permit),
            _ => return None,
        })
    };
    rt.encode_struct(ty, field, out);
}

/// What the answers about a subnet are made of.
struct View<'a> {
    state: &'a State<'a>,
    netuid: u16,
    neurons: Vec<Neuron>,
    commitments: Vec<([u8; 32], Vec<u8>)>,
}

impl<'a> View<'a> {
    fn of(chain: &Chain, state: &'a State<'a>, netuid: u16) -> Self {
        let neurons = subnet::neurons(state, netuid);
        let commitments = commitments::all(state, &chain.store, netuid);
        Self {
            state,
            netuid,
            neurons,
            commitments,
        }
    }

    fn accounts(&self, of: impl Fn(&Neuron) -> [u8; 32]) -> Field {
        Field::Accounts(self.neurons.iter().map(of).collect())
    }

    fn numbers(&self, of: impl Fn(&Neuron) -> u64) -> Field {
        Field::Numbers(self.neurons.iter().map(of).collect())
    }

    fn flags(&self, of: impl Fn(&Neuron) -> bool) -> Field {
        Field::Flags(self.neurons.iter().map(of).collect())
    }

    fn stored<T: Decode + Default + Into<u64>>(&self, entry: &str) -> Field {
        let value: T = self.state.subnet(entry, &[&self.netuid.encode()]);
        Field::Number(value.into())
    }

    fn stored_key(&self, entry: &str) -> Field {
        Field::Account(self.state.subnet(entry, &[&self.netuid.encode()]))
    }

    /// A field by the name that the runtime gives it; `None`: it reads as zero.
    fn field(&self, name: &str) -> Option<Field> {
        Some(match name {
            "netuid" => Field::Number(self.netuid.into()),
            "name" | "subnet_name" | "symbol" | "token_symbol" => text("nexis"),
            "owner_hotkey" => self.stored_key("SubnetOwnerHotkey"),
            "owner_coldkey" | "owner" => self.stored_key("SubnetOwner"),
            "block" => Field::Number(self.state.number),
            "tempo" => self.stored::<u16>("Tempo"),
            "last_step" => self.stored::<u64>("LastMechansimStepBlock"),
            "blocks_since_last_step" => self.stored::<u64>("BlocksSinceLastStep"),
            "network_registered_at" => self.stored::<u64>("NetworkRegisteredAt"),
            "min_allowed_weights" => self.stored::<u16>("MinAllowedWeights"),
            "max_weights_limit" => Field::Number(u16::MAX.into()),
            "weights_version" => self.stored::<u64>("WeightsVersionKey"),
            "weights_rate_limit" => self.stored::<u64>("WeightsSetRateLimit"),
            "activity_cutoff" => self.stored::<u16>("ActivityCutoff"),
            "max_validators" | "max_allowed_validators" => {
                self.stored::<u16>("MaxAllowedValidators")
            }
            "num_uids" | "subnetwork_n" => self.stored::<u16>("SubnetworkN"),
            "max_uids" | "max_allowed_uids" => Field::Number(MAX_UIDS.into()),
            "immunity_period" => self.stored::<u16>("ImmunityPeriod"),
            "rho" => self.stored::<u16>("Rho"),
            "kappa" => self.stored::<u16>("Kappa"),
            "commit_reveal_weights_enabled" => Field::Flag(
                self.state
                    .subnet("CommitRevealWeightsEnabled", &[&self.netuid.encode()]),
            ),
            "commit_reveal_period" => self.stored::<u64>("RevealPeriodEpochs"),
            "registration_allowed" | "subnet_is_active" => Field::Flag(true),
            "hotkeys" => self.accounts(|n| n.hotkey),
            "coldkeys" => self.accounts(|n| n.coldkey),
            "active" => self.flags(|_| true),
            "validator_permit" => self.flags(|n| n.permit),
            "last_update" => self.numbers(|n| n.last_update),
            "block_at_registration" => self.numbers(|n| n.registered),
            "alpha_stake" | "total_stake" => self.numbers(|n| n.stake),
            "pruning_score" | "emission" | "dividends" | "incentives" | "consensus" | "trust"
            | "rank" | "tao_stake" | "collateral_locked" | "collateral_min"
            | "collateral_earned" => self.numbers(|_| 0),
            "axons" => self.no_axons(),
            "validators" => Field::Numbers(
                self.neurons
                    .iter()
                    .filter(|n| n.permit)
                    .map(|n| n.uid.into())
                    .collect(),
            ),
            "commitments" => Field::Value(Value::unnamed_composite(self.commitments.iter().map(
                |(hotkey, bytes)| {
                    Value::unnamed_composite([
                        crate::state::account(hotkey),
                        Value::from_bytes(bytes),
                    ])
                },
            ))),
            _ => return None,
        })
    }

    /// The hyperparameters that the chain keeps, each with its name and the kind of its value.
    fn hyperparameters(&self) -> Value<()> {
        let named = |(name, kind): &(&str, &str)| {
            let value = match self.field(name)? {
                Field::Flag(flag) => Value::bool(flag),
                Field::Number(number) => Value::u128(number.into()),
                _ => return None,
            };
            Some(Value::named_composite([
                ("name", Value::from_bytes(name)),
                ("value", Value::unnamed_variant(*kind, [value])),
            ]))
        };
        Value::unnamed_composite(HYPERPARAMETERS.iter().filter_map(named))
    }

    /// As many empty axons as there are neurons.
    fn no_axons(&self) -> Field {
        let zero = |name: &'static str| (name, Value::u128(0));
        let axon = || {
            Value::named_composite(
                [
                    "block",
                    "version",
                    "ip",
                    "port",
                    "ip_type",
                    "protocol",
                    "placeholder1",
                    "placeholder2",
                ]
                .map(zero),
            )
        };
        Field::Value(Value::unnamed_composite(
            self.neurons.iter().map(|_| axon()),
        ))
    }
}

fn text(text: &str) -> Field {
    let letters = text.bytes().map(|b| Value::u128(u128::from(b)));
    Field::Value(Value::unnamed_composite(letters))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DevChainConfig, Spec};

    /// Every call of every bundled metadata has an answer of its type, or an error that says which call it was.
    #[test]
    fn every_runtime_call_of_the_metadata_is_answered_or_refused_by_name() {
        for spec in Spec::ALL {
            let chain = Chain::new(DevChainConfig {
                spec,
                ..DevChainConfig::default()
            });
            let chain = chain.unwrap();
            let rt = chain.runtime(spec);
            let state = State::at(rt, &chain.store, chain.best().header.number);
            let (mut served, mut refused) = (0, Vec::new());
            for (method, inputs, output) in rt.api_methods() {
                let mut arguments = Vec::new();
                for input in inputs {
                    rt.zero(*input, &mut arguments, 0);
                }
                match call(&chain, &state, method, &arguments) {
                    Ok(answer) => {
                        let mut rest = answer.as_slice();
                        let read = rt.skip(&mut rest, output);
                        assert!(
                            read.is_ok() && rest.is_empty(),
                            "{spec:?} {method}: {answer:?}"
                        );
                        served += 1;
                    }
                    Err(ApiError::NotServed(named)) => {
                        assert_eq!(named, method);
                        refused.push(method.split_once('_').unwrap().0);
                    }
                    Err(other) => panic!("{spec:?} {method}: {other}"),
                }
            }
            refused.sort_unstable();
            refused.dedup();
            assert!(served > 30, "{spec:?}: {served}");
            let ours = refused.iter().filter(|api| api.ends_with("RuntimeApi"));
            let ours: Vec<_> = ours
                .filter(|api| **api != "ConvertTransactionRuntimeApi")
                .collect();
            assert_eq!(ours.len(), 0, "{spec:?}: {ours:?}");
        }
    }

    #[test]
    fn arguments_that_cannot_be_read_and_unknown_calls_are_errors() {
        let chain = Chain::new(DevChainConfig::default()).unwrap();
        let rt = chain.runtime(chain.config.spec);
        let state = State::at(rt, &chain.store, chain.best().header.number);
        let short = call(
            &chain,
            &state,
            "SubnetInfoRuntimeApi_get_selective_mechagraph",
            &[70],
        );
        assert!(matches!(short, Err(ApiError::Arguments(_))), "{short:?}");
        let unknown = call(&chain, &state, "SubnetInfoRuntimeApi_get_nothing", &[]);
        assert!(matches!(unknown, Err(ApiError::NoMethod(_))), "{unknown:?}");
    }
}
