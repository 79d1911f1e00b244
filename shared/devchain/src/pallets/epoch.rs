//! Epochs of a subnet: by state since spec 423, by block number before.

use super::drand;
use super::subnet;
use super::weights::{self, StoredCommit, Submission};
use crate::config::{Beacon, DevChainConfig, Permits};
use crate::runtime::Runtime;
use crate::state::{State, account};
use parity_scale_codec::{Decode, Encode as _};

/// A commit by hash as it is stored: hash, mark, and two numbers that depend on the runtime.
pub(crate) type HashCommit = ([u8; 32], u64, u64, u64);

/// Without a step for so long an epoch is forced.
const LONGEST_PAUSE: u64 = 50_400;

fn stateful(state: &State<'_>) -> bool {
    counts_epochs(state.rt)
}

/// Whether a runtime keeps its subnets' epochs in its state.
pub(crate) fn counts_epochs(rt: &Runtime) -> bool {
    rt.has("SubtensorModule", "SubnetEpochIndex")
}

fn should_run(state: &State<'_>, netuid: u16) -> bool {
    let id = netuid.encode();
    let tempo: u16 = state.subnet("Tempo", &[&id]);
    if tempo == 0 {
        return false;
    }
    let block = state.number;
    if !stateful(state) {
        // In the last block of its number: the number goes up in the block after it.
        return on_grid(block, netuid, tempo).1 == u64::from(tempo);
    }
    let pending: u64 = state.subnet("PendingEpochAt", &[&id]);
    let paused: u64 = state.subnet("BlocksSinceLastStep", &[&id]);
    let last: u64 = state.subnet("LastEpochBlock", &[&id]);
    (pending > 0 && block >= pending)
        || paused > LONGEST_PAUSE
        || block.saturating_sub(last) >= u64::from(tempo)
}

/// The first block of the next epoch; `None` on a subnet without epochs.
pub(crate) fn next(state: &State<'_>, netuid: u16) -> Option<u64> {
    let id = netuid.encode();
    let tempo: u16 = state.subnet("Tempo", &[&id]);
    if tempo == 0 || !state.subnet::<bool>("NetworksAdded", &[&id]) {
        return None;
    }
    if !stateful(state) {
        let (_, within) = on_grid(state.number, netuid, tempo);
        return Some(state.number + u64::from(tempo) + 1 - within);
    }
    let pending: u64 = state.subnet("PendingEpochAt", &[&id]);
    let last: u64 = state.subnet("LastEpochBlock", &[&id]);
    let usual = last + u64::from(tempo);
    let next = if pending > 0 {
        usual.min(pending)
    } else {
        usual
    };
    Some(next.max(state.number + 1))
}

/// The subnet's epoch, counting one that begins in this very block.
pub(crate) fn index(state: &State<'_>, netuid: u16) -> u64 {
    let id = netuid.encode();
    if stateful(state) {
        let stored: u64 = state.subnet("SubnetEpochIndex", &[&id]);
        return stored + u64::from(should_run(state, netuid));
    }
    let tempo: u16 = state.subnet("Tempo", &[&id]);
    on_grid(state.number, netuid, tempo).0
}

/// Before spec 423 epochs lay on a fixed grid: the number of a block's epoch, and where in it the block is.
fn on_grid(block: u64, netuid: u16, tempo: u16) -> (u64, u64) {
    let (at, length) = (block + u64::from(netuid) + 1, u64::from(tempo) + 1);
    (at / length, at % length)
}

/// What the upgrade to stateful epochs does, at the start of the block in which it happens: it goes on counting where
/// the grid stood, and the next epoch begins where it would have begun there. Commits are kept under their epoch's
/// number, so that without it none of them would ever be opened.
pub(crate) fn migrate(state: &mut State<'_>, netuid: u16) {
    let id = netuid.encode();
    let tempo: u16 = state.subnet("Tempo", &[&id]);
    if tempo == 0 {
        return;
    }
    let (epoch, within) = on_grid(state.number, netuid, tempo);
    let last = state.number.saturating_sub(within);
    state.put_subnet("SubnetEpochIndex", &[&id], &epoch);
    state.put_subnet("LastEpochBlock", &[&id], &last);
    // Commits by hash were marked with their block, and are with their epoch from now on.
    for neuron in subnet::neurons(state, netuid) {
        for mecid in 0..mechanisms(state, netuid) {
            let index = weights::storage_index(netuid, mecid).encode();
            let mut kept: Vec<HashCommit> =
                state.subnet("WeightCommits", &[&index, &neuron.hotkey]);
            if kept.is_empty() {
                continue;
            }
            for commit in &mut kept {
                let block = commit.1;
                (commit.1, commit.2, commit.3) = (on_grid(block, netuid, tempo).0, block, 0);
            }
            state.put_subnet("WeightCommits", &[&index, &neuron.hotkey], &kept);
        }
    }
}

/// A commit by hash as this runtime stores one that is made now.
pub(crate) fn hash_commit(state: &State<'_>, netuid: u16, hash: [u8; 32]) -> HashCommit {
    let block = state.number;
    if stateful(state) {
        return (hash, index(state, netuid), block, 0);
    }
    let id = netuid.encode();
    let tempo: u16 = state.subnet("Tempo", &[&id]);
    let period: u64 = state.subnet("RevealPeriodEpochs", &[&id]);
    let length = u64::from(tempo) + 1;
    let opens = on_grid(block, netuid, tempo).0.saturating_add(period);
    let first = opens
        .saturating_mul(length)
        .saturating_sub(u64::from(netuid) + 1);
    (hash, block, first, first.saturating_add(u64::from(tempo)))
}

/// The epoch of a commit by hash, by the mark that it was stored with.
pub(crate) fn of_hash_commit(state: &State<'_>, netuid: u16, mark: u64) -> u64 {
    if stateful(state) {
        return mark;
    }
    let tempo: u16 = state.subnet("Tempo", &[&netuid.encode()]);
    on_grid(mark, netuid, tempo).0
}

/// How many mechanisms a subnet has.
pub(crate) fn mechanisms(state: &State<'_>, netuid: u16) -> u8 {
    let count = state.get(
        "SubtensorModule",
        "MechanismCountCurrent",
        &[&netuid.encode()],
    );
    count.unwrap_or(1).max(1)
}

/// What happens to a subnet at the start of a block: reveals first, then the epoch if it is time. So many commits
/// as `to_lose` says are dropped where they would be opened, and counted down there.
pub(crate) fn on_block(state: &mut State<'_>, config: &DevChainConfig, to_lose: &mut u64) {
    let netuid = config.netuid;
    reveal(state, netuid, &config.beacon, to_lose);
    let id = netuid.encode();
    let block = state.number;
    if !should_run(state, netuid) {
        let paused: u64 = state.subnet("BlocksSinceLastStep", &[&id]);
        state.put_subnet("BlocksSinceLastStep", &[&id], &(paused + 1));
        return;
    }
    if stateful(state) {
        let epochs: u64 = state.subnet("SubnetEpochIndex", &[&id]);
        state.put_subnet("SubnetEpochIndex", &[&id], &(epochs + 1));
        state.put_subnet("LastEpochBlock", &[&id], &block);
        state.put_subnet("PendingEpochAt", &[&id], &0_u64);
    }
    state.put_subnet("BlocksSinceLastStep", &[&id], &0_u64);
    state.put_subnet("LastMechansimStepBlock", &[&id], &block);
    if let Permits::LargestStake(most) = config.permits {
        subnet::grant_permits(state, netuid, most);
    }
}

/// Reveals the commits whose epoch has come, drops those whose epoch is over. A commit whose pulse is missing is
/// tried again at each block of its epoch; every other failure drops it, without an event (CHAIN.md §2.D).
fn reveal(state: &mut State<'_>, netuid: u16, beacon: &Beacon, to_lose: &mut u64) {
    let id = netuid.encode();
    let period: u64 = state.subnet("RevealPeriodEpochs", &[&id]);
    let Some(due) = index(state, netuid).checked_sub(period) else {
        return;
    };
    for mecid in 0..mechanisms(state, netuid) {
        let storage = weights::storage_index(netuid, mecid).encode();
        if let Some(over) = due.checked_sub(1) {
            let key = state.rt.key(
                "SubtensorModule",
                "TimelockedWeightCommits",
                &[&storage, &over.encode()],
            );
            if state.raw(&key).is_some() {
                tracing::debug!(
                    netuid,
                    mecid,
                    epoch = over,
                    "commits dropped: their epoch is over"
                );
                state.write(key, None);
            }
        }
        let epoch = due.encode();
        let parts: [&[u8]; 2] = [&storage, &epoch];
        let commits: Vec<StoredCommit> = state.subnet("TimelockedWeightCommits", &parts);
        if commits.is_empty() {
            continue;
        }
        let mut waiting = Vec::new();
        for commit in commits {
            let Some(signature) = drand::signature(state, beacon, commit.3) else {
                waiting.push(commit);
                continue;
            };
            let (who, _, ciphertext, round) = commit;
            if let Some(left) = to_lose.checked_sub(1) {
                *to_lose = left;
                tracing::debug!(round, "a commit is lost by order of a test");
                continue;
            }
            let Some((uids, values, version_key)) = open(&ciphertext, &signature, &who) else {
                tracing::debug!(round, "a commit could not be opened");
                continue;
            };
            let submission = Submission {
                netuid,
                mecid,
                uids,
                values,
                version_key,
            };
            let index = weights::storage_index(netuid, mecid);
            let outcome = state.transaction(|s| {
                weights::set(s, &who, &submission, false)?;
                let fields = vec![subnet::number(index), account(&who)];
                s.deposit("SubtensorModule", "TimelockedWeightsRevealed", fields);
                Ok(())
            });
            if let Err(error) = outcome {
                tracing::debug!(?error, round, "a revealed commit was refused");
            }
        }
        if waiting.is_empty() {
            state.remove("SubtensorModule", "TimelockedWeightCommits", &parts);
        } else {
            state.put_subnet("TimelockedWeightCommits", &parts, &waiting);
        }
    }
}

/// What a commit hides: (hotkey, uids, values, version key).
type Payload = (Vec<u8>, Vec<u16>, Vec<u16>, u64);
type Weights = (Vec<u16>, Vec<u16>, u64);

/// Opens a commit: the payload with the committer's hotkey, or the older one without any.
fn open(ciphertext: &[u8], signature: &[u8], who: &[u8; 32]) -> Option<Weights> {
    let plain = drand::decrypt(ciphertext, signature)?;
    let mut rest = plain.as_slice();
    if let Ok((hotkey, uids, values, version_key)) = Payload::decode(&mut rest)
        && rest.is_empty()
    {
        return (hotkey == who).then_some((uids, values, version_key));
    }
    Weights::decode(&mut plain.as_slice()).ok()
}
