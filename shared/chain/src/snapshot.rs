//! A subnet at one block: who is registered, with what stake, and what they published.
//!
//! One runtime call (`get_selective_metagraph`) brings all of it; plain storage is the fallback for
//! runtimes without that call. The last good one is kept on disk, so that a start without the chain
//! can still serve reads.

use crate::client::{At, AtBlock, ChainClient, parse_hash, show};
use crate::commitments::{Commitment, decode_commitment};
use crate::error::ChainError;
use nexis_protocol::{BlockNumber, Hotkey, Netuid, Uid};
use scale_decode::DecodeAsType;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use subxt::dynamic;
use subxt::utils::AccountId32;

/// One registered hotkey.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neuron {
    /// Its slot. Slots are reused: never a key of stored state.
    pub uid: Uid,
    /// Its key.
    pub hotkey: Hotkey,
    /// Whether it may set weights on miners.
    pub validator_permit: bool,
    /// Stake in rao (1e-9 TAO); see [`Snapshot::stake_basis`].
    pub stake_rao: u64,
    /// Block of its last weight change or commit.
    pub last_update: u64,
    /// Block at which it took the slot.
    pub registered_at: u64,
}

/// What the stake numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StakeBasis {
    /// What the chain compares with its thresholds: inherited alpha and weighted TAO.
    Total,
    /// Only the alpha on the hotkey itself: the runtime did not offer the total.
    OwnAlpha,
}

/// Numbers of the subnet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hyperparameters {
    /// Blocks per epoch.
    pub tempo: u16,
    /// Blocks between two weight changes of one hotkey.
    pub weights_rate_limit: u64,
    /// Version key that a submission must reach; 0: any.
    pub weights_version: u64,
    /// Fewest weights in one submission.
    pub min_allowed_weights: u16,
    /// Whether weights are committed and revealed later.
    pub commit_reveal: bool,
    /// Epochs from a commit to its reveal.
    pub reveal_period: u64,
}

/// A subnet at one block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The subnet.
    pub netuid: Netuid,
    /// Height of the block.
    pub number: BlockNumber,
    /// Hash of the block, hex with 0x.
    pub hash: String,
    /// Version of the runtime at that block.
    pub spec_version: u32,
    /// Ascending by slot.
    pub neurons: Vec<Neuron>,
    /// Of registered hotkeys only: entries outlive registration on the chain.
    pub commitments: BTreeMap<Hotkey, Commitment>,
    /// Entries that the chain holds for registered hotkeys, whether or not they could be read.
    #[serde(default)]
    pub raw_commitments: usize,
    /// Those of them whose encoding this program does not know.
    #[serde(default)]
    pub unreadable_commitments: usize,
    /// What the stake numbers are.
    pub stake_basis: StakeBasis,
    /// The subnet's numbers.
    pub hyperparameters: Hyperparameters,
}

impl Snapshot {
    /// The neuron of a hotkey.
    pub fn neuron(&self, hotkey: &Hotkey) -> Option<&Neuron> {
        self.neurons.iter().find(|n| n.hotkey == *hotkey)
    }
}

/// Fields of the selective metagraph that we ask for, by their number in the runtime (append-only):
/// tempo, minimum weights, version, rate limit, commit-reveal and period, hotkeys, permits, last
/// update, registration, total stake, commitments.
const WANTED: [u16; 12] = [8, 24, 26, 27, 46, 47, 52, 57, 59, 66, 69, 73];

#[derive(DecodeAsType)]
struct Selected {
    tempo: Option<u16>,
    min_allowed_weights: Option<u16>,
    weights_version: Option<u64>,
    weights_rate_limit: Option<u64>,
    commit_reveal_weights_enabled: Option<bool>,
    commit_reveal_period: Option<u64>,
    hotkeys: Option<Vec<AccountId32>>,
    validator_permit: Option<Vec<bool>>,
    last_update: Option<Vec<u64>>,
    block_at_registration: Option<Vec<u64>>,
    total_stake: Option<Vec<u64>>,
    commitments: Option<Vec<(AccountId32, Vec<u8>)>>,
}

impl ChainClient {
    /// Reads a subnet at one block. A block whose state is gone gives [`ChainError::StatePruned`]:
    /// read at a newer one then.
    pub async fn snapshot(&self, netuid: Netuid, at: &At) -> Result<Snapshot, ChainError> {
        let view = self.at(at).await?;
        let exists: bool = self
            .read(&view, "SubtensorModule", "NetworksAdded", (netuid.get(),))
            .await?;
        if !exists {
            return Err(ChainError::NoSuchSubnet(netuid.get()));
        }
        let snapshot = match self.by_runtime_call(netuid, &view).await {
            Err(ChainError::Incompatible(why) | ChainError::Decode { detail: why, .. }) => {
                tracing::warn!(
                    why,
                    "the metagraph call does not serve, reading plain storage"
                );
                self.by_storage(netuid, &view).await?
            }
            answer => answer?,
        };
        self.keep(&snapshot);
        Ok(snapshot)
    }

    async fn by_runtime_call(
        &self,
        netuid: Netuid,
        view: &AtBlock,
    ) -> Result<Snapshot, ChainError> {
        let what = format!(
            "the metagraph of subnet {netuid} at block {}",
            view.block_number()
        );
        let call = dynamic::runtime_api_call::<_, Option<Selected>>(
            "SubnetInfoRuntimeApi",
            "get_selective_metagraph",
            (netuid.get(), WANTED.to_vec()),
        );
        let answer = self.timed(&what, view.runtime_apis().call(call)).await?;
        let found = answer.ok_or_else(|| ChainError::NoSuchSubnet(netuid.get()))?;
        let lacks = |field: &str| ChainError::Decode {
            what: what.clone(),
            detail: format!("the answer has no {field}"),
        };
        let hotkeys = found.hotkeys.ok_or_else(|| lacks("hotkeys"))?;
        let permits = found.validator_permit.ok_or_else(|| lacks("permits"))?;
        let updates = found.last_update.ok_or_else(|| lacks("last updates"))?;
        let registered = found.block_at_registration.unwrap_or_default();
        let stakes = found.total_stake.ok_or_else(|| lacks("stake"))?;
        if permits.len() < hotkeys.len() || stakes.len() < hotkeys.len() {
            return Err(lacks("value for every slot"));
        }
        let neurons = hotkeys
            .iter()
            .enumerate()
            .map(|(i, key)| {
                Ok(Neuron {
                    uid: slot(i)?,
                    hotkey: Hotkey::from_public_key(&key.0),
                    validator_permit: permits[i],
                    stake_rao: stakes[i],
                    last_update: updates.get(i).copied().unwrap_or(0),
                    registered_at: registered.get(i).copied().unwrap_or(0),
                })
            })
            .collect::<Result<Vec<_>, ChainError>>()?;
        let values = found.commitments.ok_or_else(|| lacks("commitments"))?;
        let values = values.iter().map(|(key, value)| (key.0, value.as_slice()));
        let hyperparameters = Hyperparameters {
            tempo: found.tempo.ok_or_else(|| lacks("tempo"))?,
            weights_rate_limit: found
                .weights_rate_limit
                .ok_or_else(|| lacks("rate limit"))?,
            weights_version: found.weights_version.ok_or_else(|| lacks("version key"))?,
            min_allowed_weights: found.min_allowed_weights.ok_or_else(|| lacks("minimum"))?,
            commit_reveal: found
                .commit_reveal_weights_enabled
                .ok_or_else(|| lacks("commit-reveal flag"))?,
            reveal_period: found.commit_reveal_period.unwrap_or(1),
        };
        let published = Published::of(&neurons, values);
        Ok(Snapshot {
            netuid,
            number: BlockNumber::new(view.block_number()),
            hash: show(view.block_hash()),
            spec_version: view.spec_version(),
            commitments: published.commitments,
            raw_commitments: published.raw,
            unreadable_commitments: published.unreadable,
            neurons,
            stake_basis: StakeBasis::Total,
            hyperparameters,
        })
    }

    /// The same from plain storage, which every runtime has.
    async fn by_storage(&self, netuid: Netuid, view: &AtBlock) -> Result<Snapshot, ChainError> {
        const PALLET: &str = "SubtensorModule";
        let n = netuid.get();
        let keys: BTreeMap<u16, AccountId32> = self.slots(view, n, "Keys").await?;
        let registered: BTreeMap<u16, u64> = self.slots(view, n, "BlockAtRegistration").await?;
        let permits: Vec<bool> = self.read(view, PALLET, "ValidatorPermit", (n,)).await?;
        let updates: Vec<u64> = self.read(view, PALLET, "LastUpdate", (n,)).await?;
        let stakes = self.own_alpha(view, n, keys.values()).await?;
        let neurons: Vec<Neuron> = keys
            .iter()
            .map(|(uid, key)| Neuron {
                uid: Uid::new(*uid),
                hotkey: Hotkey::from_public_key(&key.0),
                validator_permit: permits.get(usize::from(*uid)).copied().unwrap_or(false),
                stake_rao: stakes.get(&key.0).copied().unwrap_or(0),
                last_update: updates.get(usize::from(*uid)).copied().unwrap_or(0),
                registered_at: registered.get(uid).copied().unwrap_or(0),
            })
            .collect();
        let hyperparameters = Hyperparameters {
            tempo: self.read(view, PALLET, "Tempo", (n,)).await?,
            weights_rate_limit: self.read(view, PALLET, "WeightsSetRateLimit", (n,)).await?,
            weights_version: self.read(view, PALLET, "WeightsVersionKey", (n,)).await?,
            min_allowed_weights: self.read(view, PALLET, "MinAllowedWeights", (n,)).await?,
            commit_reveal: self
                .read(view, PALLET, "CommitRevealWeightsEnabled", (n,))
                .await?,
            reveal_period: self.read(view, PALLET, "RevealPeriodEpochs", (n,)).await?,
        };
        let what = format!("commitments of subnet {netuid}");
        let address = dynamic::storage::<(u16, AccountId32), scale_value::Value>(
            "Commitments",
            "CommitmentOf",
        );
        let mut found = Vec::new();
        let storage = view.storage();
        let mut entries = self.timed(&what, storage.iter(address, (n,))).await?;
        while let Some(entry) = self.next_entry(&what, &mut entries).await? {
            let (_, key) = entry
                .key()
                .and_then(|k| k.decode())
                .map_err(|e| ChainError::of(&what, e))?;
            found.push((key.0, entry.value().bytes().to_vec()));
        }
        let values = found.iter().map(|(key, value)| (*key, value.as_slice()));
        let published = Published::of(&neurons, values);
        Ok(Snapshot {
            netuid,
            number: BlockNumber::new(view.block_number()),
            hash: show(view.block_hash()),
            spec_version: view.spec_version(),
            commitments: published.commitments,
            raw_commitments: published.raw,
            unreadable_commitments: published.unreadable,
            neurons,
            stake_basis: StakeBasis::OwnAlpha,
            hyperparameters,
        })
    }

    async fn next_entry<'a, A: subxt::storage::Address>(
        &self,
        what: &str,
        entries: &mut subxt::storage::StorageEntries<'a, A>,
    ) -> Result<Option<subxt::storage::StorageKeyValue<'a, A>>, ChainError> {
        let after = self.read_budget();
        match tokio::time::timeout(after, entries.next()).await {
            Ok(entry) => entry.transpose().map_err(|e| ChainError::of(what, e)),
            Err(_) => Err(ChainError::Timeout {
                what: what.to_owned(),
                after,
            }),
        }
    }

    /// A map (netuid, slot) → value.
    async fn slots<V: DecodeAsType + Send + 'static>(
        &self,
        view: &AtBlock,
        netuid: u16,
        entry: &'static str,
    ) -> Result<BTreeMap<u16, V>, ChainError> {
        let what = format!("SubtensorModule.{entry} of subnet {netuid}");
        let address = dynamic::storage::<(u16, u16), V>("SubtensorModule", entry);
        let mut found = BTreeMap::new();
        let storage = view.storage();
        let mut entries = self.timed(&what, storage.iter(address, (netuid,))).await?;
        while let Some(entry) = self.next_entry(&what, &mut entries).await? {
            let (_, uid) = entry
                .key()
                .and_then(|k| k.decode())
                .map_err(|e| ChainError::of(&what, e))?;
            let value = entry
                .value()
                .decode()
                .map_err(|e| ChainError::of(&what, e))?;
            found.insert(uid, value);
        }
        Ok(found)
    }

    /// `TotalHotkeyAlpha` of many hotkeys in one request.
    async fn own_alpha(
        &self,
        view: &AtBlock,
        netuid: u16,
        keys: impl Iterator<Item = &AccountId32>,
    ) -> Result<HashMap<[u8; 32], u64>, ChainError> {
        let what = "TotalHotkeyAlpha";
        let address = dynamic::storage::<(AccountId32, u16), u64>("SubtensorModule", what);
        let mut by_storage_key = HashMap::new();
        {
            let storage = view.storage();
            let entry = storage
                .entry(address)
                .map_err(|e| ChainError::of(what, e))?;
            for key in keys {
                let storage_key = entry
                    .fetch_key((*key, netuid))
                    .map_err(|e| ChainError::of(what, e))?;
                by_storage_key.insert(storage_key, key.0);
            }
        }
        let legacy = self.legacy();
        let sets = legacy
            .state_query_storage_at(
                by_storage_key.keys().map(Vec::as_slice),
                Some(parse_hash(&show(view.block_hash()))?),
            )
            .await
            .map_err(|e| self.rpc_error(what, &e))?;
        let mut found = HashMap::new();
        for (storage_key, value) in sets.into_iter().flat_map(|set| set.changes) {
            let owner = by_storage_key.get(&storage_key.0);
            let amount = value
                .and_then(|v| <[u8; 8]>::try_from(v.0).ok())
                .map(u64::from_le_bytes);
            if let (Some(owner), Some(amount)) = (owner, amount) {
                found.insert(*owner, amount);
            }
        }
        Ok(found)
    }

    /// Weights of a slot as the chain holds them: (slot, share of `u16::MAX`).
    pub async fn weights_of(
        &self,
        netuid: Netuid,
        uid: Uid,
        at: &At,
    ) -> Result<Vec<(u16, u16)>, ChainError> {
        let view = self.at(at).await?;
        self.read(
            &view,
            "SubtensorModule",
            "Weights",
            (netuid.get(), uid.get()),
        )
        .await
    }

    /// Slot of a hotkey, when it is registered.
    pub async fn uid_of(
        &self,
        netuid: Netuid,
        hotkey: &Hotkey,
        at: &At,
    ) -> Result<Option<Uid>, ChainError> {
        let view = self.at(at).await?;
        let key = AccountId32(hotkey.public_key());
        let found: Option<u16> = self
            .read_optional(&view, "SubtensorModule", "Uids", (netuid.get(), key))
            .await?;
        Ok(found.map(Uid::new))
    }

    /// Block of a slot's last weight change or commit.
    pub async fn last_update(&self, netuid: Netuid, uid: Uid, at: &At) -> Result<u64, ChainError> {
        let view = self.at(at).await?;
        let all: Vec<u64> = self
            .read(&view, "SubtensorModule", "LastUpdate", (netuid.get(),))
            .await?;
        Ok(all.get(usize::from(uid.get())).copied().unwrap_or(0))
    }

    fn snapshot_file(&self, netuid: Netuid) -> Option<PathBuf> {
        let folder = self.inner.options.workdir.as_ref()?;
        Some(folder.join("chain").join(format!("snapshot-{netuid}.json")))
    }

    /// Keeps the snapshot for a start without the chain. Failing to is not worth stopping for.
    fn keep(&self, snapshot: &Snapshot) {
        let Some(path) = self.snapshot_file(snapshot.netuid) else {
            return;
        };
        let write = || -> std::io::Result<()> {
            let folder = path.parent().unwrap_or(&path);
            std::fs::create_dir_all(folder)?;
            // A name of its own: two writers must not meet in one half-written file.
            let draft = path.with_extension(format!("{:016x}.tmp", rand::random::<u64>()));
            std::fs::write(&draft, serde_json::to_vec(snapshot)?)?;
            std::fs::rename(&draft, &path).inspect_err(|_| drop(std::fs::remove_file(&draft)))
        };
        if let Err(error) = write() {
            tracing::warn!(path = %path.display(), %error, "the snapshot of the subnet was not kept");
        }
    }

    /// The last snapshot that was read, from disk. It may be old: look at its block.
    pub fn last_good(&self, netuid: Netuid) -> Result<Option<Snapshot>, ChainError> {
        let Some(path) = self.snapshot_file(netuid) else {
            return Ok(None);
        };
        let wrong = |detail: String| ChainError::File {
            path: path.display().to_string(),
            detail,
        };
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|e| wrong(e.to_string())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(wrong(error.to_string())),
        }
    }
}

fn slot(index: usize) -> Result<Uid, ChainError> {
    u16::try_from(index)
        .map(Uid::new)
        .map_err(|_| ChainError::Decode {
            what: "the metagraph".into(),
            detail: "more slots than a slot's number can name".into(),
        })
}

/// What registered hotkeys published. A malformed entry is that miner's loss and nobody else's; when none can be
/// read at all, the fault is ours (a runtime that encodes commitments differently), so both numbers are kept.
struct Published {
    commitments: BTreeMap<Hotkey, Commitment>,
    raw: usize,
    unreadable: usize,
}

impl Published {
    fn of<'a>(neurons: &[Neuron], values: impl Iterator<Item = ([u8; 32], &'a [u8])>) -> Self {
        let registered: HashMap<[u8; 32], &Hotkey> = neurons
            .iter()
            .map(|n| (n.hotkey.public_key(), &n.hotkey))
            .collect();
        let mut found = Self {
            commitments: BTreeMap::new(),
            raw: 0,
            unreadable: 0,
        };
        for (key, value) in values {
            let Some(hotkey) = registered.get(&key) else {
                continue;
            };
            found.raw += 1;
            match decode_commitment(value) {
                Ok(commitment) => {
                    found.commitments.insert((*hotkey).clone(), commitment);
                }
                Err(error) => {
                    found.unreadable += 1;
                    tracing::debug!(%hotkey, %error, "a commitment cannot be decoded");
                }
            }
        }
        if found.unreadable > 0 {
            tracing::warn!(
                unreadable = found.unreadable,
                of = found.raw,
                "some commitments cannot be decoded; their hotkeys are no candidates"
            );
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn neuron(uid: u8) -> Neuron {
        Neuron {
            uid: Uid::new(uid.into()),
            hotkey: Hotkey::from_public_key(&[uid; 32]),
            validator_permit: false,
            stake_rao: 0,
            last_update: 0,
            registered_at: 0,
        }
    }

    #[test]
    fn entries_of_registered_hotkeys_are_counted_whether_or_not_they_can_be_read() {
        let neurons: Vec<Neuron> = (0..4).map(neuron).collect();
        let good = hex::decode("0000000000000000cd000000040561626364").unwrap();
        let unknown = hex::decode("0000000000000000cd00000004ff").unwrap();
        let deregistered = [9; 32];
        let values: [([u8; 32], &[u8]); 4] = [
            ([0; 32], &good),
            ([1; 32], &unknown),
            ([2; 32], b"\xff"),
            (deregistered, &unknown),
        ];
        let found = Published::of(&neurons, values.into_iter());
        assert_eq!((found.raw, found.unreadable), (3, 2));
        let read: Vec<&Hotkey> = found.commitments.keys().collect();
        assert_eq!(read, [&neurons[0].hotkey]);
    }
}
