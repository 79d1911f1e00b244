//! Can this hotkey set weights now? Every condition, with what is and what must be.

use crate::client::{At, ChainClient};
use crate::error::ChainError;
use crate::snapshot::{Snapshot, StakeBasis};
use crate::submit::WeightsOrder;
use nexis_protocol::{Hotkey, Netuid};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use subxt::utils::AccountId32;

/// Largest difference between this machine's clock and the chain's that the reveal maths bears.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(30);

/// How a condition stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// Met.
    Met,
    /// Not met, but it passes by itself, at this block when known.
    Wait(Option<u64>),
    /// Not met: somebody must do something.
    Unmet,
    /// Not as it should be; it does not stand in the way by itself.
    Warning,
    /// For information.
    Fact,
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// Its name.
    pub name: String,
    /// How it stands.
    pub standing: Standing,
    /// What is.
    pub current: String,
    /// What must be.
    pub required: String,
    /// What to do; empty when nothing.
    pub remedy: String,
}

/// All conditions at one block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preflight {
    /// The block they were looked at.
    pub block: u64,
    /// The conditions.
    pub conditions: Vec<Condition>,
}

impl Preflight {
    /// Whether nothing stands in the way.
    pub fn is_clear(&self) -> bool {
        !self
            .conditions
            .iter()
            .any(|c| matches!(c.standing, Standing::Unmet | Standing::Wait(_)))
    }

    /// Block from which trying makes sense, when only time is missing and that block is known.
    pub fn clear_at(&self) -> Option<u64> {
        let mut at = None;
        for condition in &self.conditions {
            match condition.standing {
                Standing::Unmet | Standing::Wait(None) => return None,
                Standing::Wait(Some(block)) => at = at.max(Some(block)),
                Standing::Met | Standing::Warning | Standing::Fact => {}
            }
        }
        at
    }

    /// What stands in the way.
    pub fn obstacles(&self) -> impl Iterator<Item = &Condition> {
        self.conditions
            .iter()
            .filter(|c| matches!(c.standing, Standing::Unmet | Standing::Wait(_)))
    }
}

/// What is looked at; [`ChainClient::preflight`] fills it from the chain.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The subnet.
    pub snapshot: Snapshot,
    /// Stake below which weights are refused, rao.
    pub stake_threshold: u64,
    /// The owner's hotkey, exempt from the threshold.
    pub owner: Option<Hotkey>,
    /// This machine's clock, unix time.
    pub now: Duration,
    /// The chain's clock at the block, unix time.
    pub chain_time: Duration,
    /// Time between blocks.
    pub block_time: Duration,
    /// Height of the final block.
    pub finalized: u64,
    /// What the runtime lacks for submitting.
    pub missing: Vec<String>,
}

fn met_or(met: bool, otherwise: Standing) -> Standing {
    if met { Standing::Met } else { otherwise }
}

/// Judges the facts for a hotkey, and for an order when there is one already.
pub fn judge(facts: &Facts, hotkey: &Hotkey, order: Option<&WeightsOrder>) -> Preflight {
    let snapshot = &facts.snapshot;
    let block = snapshot.number.get();
    let parameters = &snapshot.hyperparameters;
    let mut conditions = Vec::new();
    let mut add = |name: &str, standing, current: String, required: String, remedy: &str| {
        let remedy = match standing {
            Standing::Met | Standing::Fact => String::new(),
            _ => remedy.to_owned(),
        };
        conditions.push(Condition {
            name: name.to_owned(),
            standing,
            current,
            required,
            remedy,
        });
    };
    let neuron = snapshot.neuron(hotkey);
    add(
        "registered",
        met_or(neuron.is_some(), Standing::Unmet),
        neuron.map_or_else(
            || "not registered".to_owned(),
            |n| format!("slot {}", n.uid),
        ),
        format!("{hotkey} on subnet {}", snapshot.netuid),
        "register the hotkey on the subnet (btcli subnet register)",
    );
    if let Some(neuron) = neuron {
        let exempt = facts.owner.as_ref() == Some(hotkey);
        add(
            "permit",
            met_or(neuron.validator_permit || exempt, Standing::Unmet),
            neuron.validator_permit.to_string(),
            "true".to_owned(),
            "more stake than the other validators' least, then wait for an epoch",
        );
        // The threshold is about total stake. Where the runtime told only the hotkey's own alpha, stake on the root
        // network and child hotkeys are not in the number, and the chain may well take what this would refuse.
        let (too_little, basis) = match snapshot.stake_basis {
            StakeBasis::Total => (Standing::Unmet, ""),
            StakeBasis::OwnAlpha => (Standing::Warning, " (own alpha only)"),
        };
        add(
            "stake",
            met_or(
                exempt || neuron.stake_rao >= facts.stake_threshold,
                too_little,
            ),
            format!("{}{basis}", tao(neuron.stake_rao)),
            format!("at least {}", tao(facts.stake_threshold)),
            "stake more on the hotkey",
        );
        let free_at = neuron
            .last_update
            .saturating_add(parameters.weights_rate_limit);
        // The extrinsic runs in the next block.
        let free = neuron.last_update == 0 || block + 1 >= free_at;
        add(
            "rate limit",
            met_or(free, Standing::Wait(Some(free_at.saturating_sub(1)))),
            format!("last change at block {}, now {block}", neuron.last_update),
            format!("{} blocks between changes", parameters.weights_rate_limit),
            &format!("wait until block {free_at}"),
        );
    }
    let version = parameters.weights_version;
    let least = usize::from(parameters.min_allowed_weights).min(snapshot.neurons.len());
    let (asked, wanted) = (format!("at least {version}"), format!("at least {least}"));
    if let Some(order) = order {
        add(
            "version key",
            met_or(
                version == 0 || order.version_key >= version,
                Standing::Unmet,
            ),
            order.version_key.to_string(),
            asked,
            "update the program: the subnet asks for a newer version",
        );
        let own = neuron.map(|n| n.uid.get());
        let self_weight = order.uids.len() == 1 && order.uids.first().copied() == own;
        add(
            "minimum weights",
            met_or(self_weight || order.uids.len() >= least, Standing::Unmet),
            order.uids.len().to_string(),
            wanted,
            "more miners must have weight",
        );
        let last = snapshot.neurons.last().map_or(0, |n| n.uid.get());
        add(
            "slots",
            met_or(order.uids.iter().all(|u| *u <= last), Standing::Unmet),
            format!("up to {}", order.uids.iter().max().copied().unwrap_or(0)),
            format!("up to {last}"),
            "read the subnet anew and map hotkeys to slots again",
        );
    } else {
        let sent = "sent as the subnet asks for it".to_owned();
        add("version key", Standing::Fact, sent, asked, "");
        let unknown = "no weights computed yet".to_owned();
        add("minimum weights", Standing::Fact, unknown, wanted, "");
    }
    let way = if parameters.commit_reveal {
        "commit, then reveal"
    } else {
        "set directly"
    };
    let period = format!("reveal after {} epochs", parameters.reveal_period);
    add("commit-reveal", Standing::Fact, way.to_owned(), period, "");
    add(
        "tempo",
        met_or(
            parameters.tempo > 0 || !parameters.commit_reveal,
            Standing::Unmet,
        ),
        parameters.tempo.to_string(),
        "above 0".to_owned(),
        "the subnet runs no epochs: ask its owner",
    );
    let lag = block.saturating_sub(facts.finalized);
    add(
        "finality",
        met_or(lag <= 20, Standing::Warning),
        format!("{lag} blocks behind"),
        "at most 20".to_owned(),
        "the chain finalizes slowly: wait, or use another endpoint",
    );
    // Plain weights do without the right time: what is signed at an old block is refused, and nothing is lost.
    let askew = if parameters.commit_reveal {
        Standing::Unmet
    } else {
        Standing::Warning
    };
    let age = facts.now.saturating_sub(facts.chain_time);
    let most = MAX_CLOCK_SKEW.max(facts.block_time * 5);
    add(
        "endpoint",
        met_or(age <= most, askew),
        format!("newest block is {} s old", age.as_secs()),
        format!("at most {} s", most.as_secs()),
        "the endpoint is behind (or this machine's clock is ahead): use another, check the clock",
    );
    let ahead = facts.chain_time.saturating_sub(facts.now);
    add(
        "clock",
        met_or(ahead <= MAX_CLOCK_SKEW, askew),
        format!("{} s behind the chain", ahead.as_secs()),
        format!("at most {} s", MAX_CLOCK_SKEW.as_secs()),
        "set this machine's clock (NTP)",
    );
    add(
        "runtime",
        met_or(facts.missing.is_empty(), Standing::Unmet),
        if facts.missing.is_empty() {
            format!("spec {}", snapshot.spec_version)
        } else {
            format!(
                "spec {} lacks {}",
                snapshot.spec_version,
                facts.missing.join(", ")
            )
        },
        "all names that submission uses".to_owned(),
        "update the program: the runtime has changed",
    );
    Preflight { block, conditions }
}

fn tao(rao: u64) -> String {
    format!("{}.{:09} TAO", rao / 1_000_000_000, rao % 1_000_000_000)
}

impl ChainClient {
    /// Looks at every condition for setting weights, at the newest block.
    pub async fn preflight(
        &self,
        netuid: Netuid,
        hotkey: &Hotkey,
        order: Option<&WeightsOrder>,
    ) -> Result<Preflight, ChainError> {
        let facts = self.facts(netuid).await?;
        Ok(judge(&facts, hotkey, order))
    }

    /// The same before an order is signed: its version key becomes the one that the subnet asks for.
    pub async fn preflight_with(
        &self,
        netuid: Netuid,
        hotkey: &Hotkey,
        order: &mut WeightsOrder,
    ) -> Result<Preflight, ChainError> {
        let facts = self.facts(netuid).await?;
        order.version_key = facts.snapshot.hyperparameters.weights_version;
        Ok(judge(&facts, hotkey, Some(order)))
    }

    pub(crate) async fn facts(&self, netuid: Netuid) -> Result<Facts, ChainError> {
        let snapshot = self.snapshot(netuid, &At::Best).await?;
        let view = self.at(&At::Hash(snapshot.hash.clone())).await?;
        let key = (netuid.get(),);
        let owner: Option<AccountId32> = self
            .read_optional(&view, "SubtensorModule", "SubnetOwnerHotkey", key)
            .await?;
        let chain_millis: u64 = self.read(&view, "Timestamp", "Now", ()).await?;
        let need = if snapshot.hyperparameters.commit_reveal {
            crate::selfcheck::Need::CommitWeights
        } else {
            crate::selfcheck::Need::SetWeights
        };
        let missing = self.self_check().map_or_else(Vec::new, |check| {
            check
                .missing_for(need)
                .into_iter()
                .map(str::to_owned)
                .collect()
        });
        Ok(Facts {
            stake_threshold: self
                .read(&view, "SubtensorModule", "StakeThreshold", ())
                .await?,
            owner: owner.map(|o| Hotkey::from_public_key(&o.0)),
            now: self.now(),
            chain_time: Duration::from_millis(chain_millis),
            block_time: self.block_time().await?,
            finalized: self.head_finalized().await?.number.get(),
            missing,
            snapshot,
        })
    }
}
