//! Setting weights: directly, by a timelocked commit, or by a hash (CHAIN.md §2.D).

pub(crate) mod hashed;

use super::epoch;
use super::subnet::{self, number, size, uid_of};
use crate::runtime::Call;
use crate::state::{DispatchError, State, account, refused};
use parity_scale_codec::Encode as _;
use scale_decode::DecodeAsType;
use scale_value::Value;
use sp_crypto_hashing::blake2_256;
use std::collections::BTreeSet;

/// Storage indexes of one mechanism are this far apart from those of the next.
const MECHANISM_STRIDE: u16 = 4096;
/// Unrevealed commits that a hotkey may have in an epoch.
const MOST_UNREVEALED: usize = 10;
/// Largest ciphertext of a commit.
const MOST_COMMIT_BYTES: usize = 5_000;

/// Weights of one hotkey for one mechanism of a subnet.
#[derive(Debug, Clone, DecodeAsType)]
struct SetWeights {
    netuid: u16,
    dests: Vec<u16>,
    weights: Vec<u16>,
    version_key: u64,
}

#[derive(Debug, Clone, DecodeAsType)]
struct SetMechanismWeights {
    netuid: u16,
    mecid: u8,
    dests: Vec<u16>,
    weights: Vec<u16>,
    version_key: u64,
}

#[derive(Debug, Clone, DecodeAsType)]
struct CommitTimelocked {
    netuid: u16,
    commit: Vec<u8>,
    reveal_round: u64,
    commit_reveal_version: u16,
}

#[derive(Debug, Clone, DecodeAsType)]
struct CommitTimelockedMechanism {
    netuid: u16,
    mecid: u8,
    commit: Vec<u8>,
    reveal_round: u64,
    commit_reveal_version: u16,
}

#[derive(Debug, Clone, DecodeAsType)]
struct CommitCrv3Mechanism {
    netuid: u16,
    mecid: u8,
    commit: Vec<u8>,
    reveal_round: u64,
}

/// Weights as they are about to be set.
#[derive(Debug, Clone)]
pub(crate) struct Submission {
    /// Subnet.
    pub netuid: u16,
    /// Mechanism.
    pub mecid: u8,
    /// Slots.
    pub uids: Vec<u16>,
    /// Their shares.
    pub values: Vec<u16>,
    /// Version of the validator's software.
    pub version_key: u64,
}

#[derive(Debug, Clone)]
struct Commit {
    netuid: u16,
    mecid: u8,
    ciphertext: Vec<u8>,
    round: u64,
    /// `None`: the call has no such argument.
    version: Option<u16>,
}

enum Action {
    Set(Submission),
    Commit(Commit),
}

/// One stored commit: hotkey, block, ciphertext, round.
pub(crate) type StoredCommit = ([u8; 32], u64, Vec<u8>, u64);

/// The storage index of a subnet's mechanism.
pub(crate) const fn storage_index(netuid: u16, mecid: u8) -> u16 {
    (mecid as u16)
        .wrapping_mul(MECHANISM_STRIDE)
        .wrapping_add(netuid)
}

fn action(state: &State<'_>, call: &Call) -> Option<Action> {
    let rt = state.rt;
    Some(match call.name.as_str() {
        "set_weights" => {
            let a: SetWeights = rt.arguments(call)?;
            Action::Set(Submission {
                netuid: a.netuid,
                mecid: 0,
                uids: a.dests,
                values: a.weights,
                version_key: a.version_key,
            })
        }
        "set_mechanism_weights" => {
            let a: SetMechanismWeights = rt.arguments(call)?;
            Action::Set(Submission {
                netuid: a.netuid,
                mecid: a.mecid,
                uids: a.dests,
                values: a.weights,
                version_key: a.version_key,
            })
        }
        "commit_timelocked_weights" => {
            let a: CommitTimelocked = rt.arguments(call)?;
            let version = Some(a.commit_reveal_version);
            let (ciphertext, round) = (a.commit, a.reveal_round);
            Action::Commit(Commit {
                netuid: a.netuid,
                mecid: 0,
                ciphertext,
                round,
                version,
            })
        }
        "commit_timelocked_mechanism_weights" => {
            let a: CommitTimelockedMechanism = rt.arguments(call)?;
            let version = Some(a.commit_reveal_version);
            let (ciphertext, round) = (a.commit, a.reveal_round);
            Action::Commit(Commit {
                netuid: a.netuid,
                mecid: a.mecid,
                ciphertext,
                round,
                version,
            })
        }
        "commit_crv3_mechanism_weights" => {
            let a: CommitCrv3Mechanism = rt.arguments(call)?;
            let (ciphertext, round) = (a.commit, a.reveal_round);
            let (netuid, mecid) = (a.netuid, a.mecid);
            Action::Commit(Commit {
                netuid,
                mecid,
                ciphertext,
                round,
                version: None,
            })
        }
        _ => return None,
    })
}

/// Carries out a call of the subnet pallet; `None`: not one of ours.
pub(crate) fn dispatch(
    state: &mut State<'_>,
    who: &[u8; 32],
    call: &Call,
    _name: &str,
) -> Option<Result<(), DispatchError>> {
    let Some(action) = action(state, call) else {
        return hashed::dispatch(state, who, call);
    };
    Some(match action {
        Action::Set(_) if hidden(state, call) => Err(refused(&["CommitRevealEnabled"])),
        Action::Set(submission) => set(state, who, &submission, true),
        Action::Commit(commit) => keep_commit(state, who, commit),
    })
}

fn hidden(state: &State<'_>, call: &Call) -> bool {
    match action(state, call) {
        Some(Action::Set(s)) => commit_reveal(state, s.netuid),
        _ => false,
    }
}

fn commit_reveal(state: &State<'_>, netuid: u16) -> bool {
    state.subnet("CommitRevealWeightsEnabled", &[&netuid.encode()])
}

fn last_update(state: &State<'_>, index: u16, uid: u16) -> u64 {
    let list: Vec<u64> = state.subnet("LastUpdate", &[&index.encode()]);
    list.get(usize::from(uid)).copied().unwrap_or_default()
}

fn too_soon(state: &State<'_>, netuid: u16, index: u16, uid: u16) -> bool {
    let last = last_update(state, index, uid);
    let limit: u64 = state.subnet("WeightsSetRateLimit", &[&netuid.encode()]);
    last != 0 && state.number.saturating_sub(last) < limit
}

fn lacks_stake(state: &State<'_>, netuid: u16, who: &[u8; 32]) -> bool {
    let threshold: u64 = state.subnet("StakeThreshold", &[]);
    let owner: [u8; 32] = state.subnet("SubnetOwnerHotkey", &[&netuid.encode()]);
    owner != *who && subnet::total_stake(state, netuid, who) < threshold
}

fn no_mechanism(state: &State<'_>, netuid: u16, mecid: u8) -> Option<&'static [&'static str]> {
    let exists: bool = state.subnet("NetworksAdded", &[&netuid.encode()]);
    if !exists {
        return Some(&["SubnetNotExists", "MechanismDoesNotExist"]);
    }
    let count: u8 = state
        .get(
            "SubtensorModule",
            "MechanismCountCurrent",
            &[&netuid.encode()],
        )
        .unwrap_or(1);
    (mecid >= count).then_some(&["MechanismDoesNotExist", "SubnetNotExists"])
}

/// Sets weights, with every check of the runtime in its order. `direct`: by an extrinsic, not by a reveal.
pub(crate) fn set(
    state: &mut State<'_>,
    who: &[u8; 32],
    given: &Submission,
    direct: bool,
) -> Result<(), DispatchError> {
    let Submission {
        netuid,
        mecid,
        uids,
        values,
        version_key,
    } = given;
    let (netuid, index) = (*netuid, storage_index(*netuid, *mecid));
    let id = netuid.encode();
    if netuid == 0 {
        return Err(refused(&["CanNotSetRootNetworkWeights"]));
    }
    if uids.len() != values.len() {
        return Err(refused(&["WeightVecNotEqualSize"]));
    }
    if let Some(names) = no_mechanism(state, netuid, *mecid) {
        return Err(refused(names));
    }
    let count = size(state, netuid);
    if uids.len() > usize::from(count) {
        return Err(refused(&["UidsLengthExceedUidsInSubNet"]));
    }
    let uid = uid_of(state, netuid, who).ok_or(refused(&["HotKeyNotRegisteredInSubNet"]))?;
    if lacks_stake(state, netuid, who) {
        return Err(refused(&["NotEnoughStakeToSetWeights"]));
    }
    let wanted: u64 = state.subnet("WeightsVersionKey", &[&id]);
    if wanted != 0 && *version_key < wanted {
        return Err(refused(&["IncorrectWeightVersionKey"]));
    }
    if direct && too_soon(state, netuid, index, uid) {
        return Err(refused(&["SettingWeightsTooFast"]));
    }
    let only_self = uids.as_slice() == [uid];
    let permits: Vec<bool> = state.subnet("ValidatorPermit", &[&id]);
    let owner: [u8; 32] = state.subnet("SubnetOwnerHotkey", &[&id]);
    let permitted = permits.get(usize::from(uid)).copied().unwrap_or_default();
    if !permitted && !only_self && owner != *who {
        return Err(refused(&["NeuronNoValidatorPermit"]));
    }
    if uids.iter().collect::<BTreeSet<_>>().len() != uids.len() {
        return Err(refused(&["DuplicateUids"]));
    }
    if uids.iter().any(|uid| *uid >= count) {
        return Err(refused(&["UidVecContainInvalidOne"]));
    }
    let fewest: u16 = state.subnet("MinAllowedWeights", &[&id]);
    if !only_self && uids.len() < usize::from(fewest.min(count)) {
        return Err(refused(&["WeightVecLengthIsLow"]));
    }
    let upscaled: Vec<(u16, u16)> = uids.iter().copied().zip(max_upscaled(values)).collect();
    state.put_subnet("Weights", &[&index.encode(), &uid.encode()], &upscaled);
    if direct {
        let block = state.number;
        subnet::set_at(state, "LastUpdate", &index.encode(), uid, block);
    }
    state.deposit(
        "SubtensorModule",
        "WeightsSet",
        vec![number(index), number(uid)],
    );
    Ok(())
}

/// The values, scaled so that the largest is 65,535 (CHAIN.md §2.D).
fn max_upscaled(values: &[u16]) -> Vec<u16> {
    let max = values.iter().copied().max().unwrap_or_default();
    if max == 0 {
        return values.to_vec();
    }
    let scale = |v: u16| u32::from(v) * u32::from(u16::MAX) / u32::from(max);
    values
        .iter()
        .map(|v| u16::try_from(scale(*v)).unwrap_or(u16::MAX))
        .collect()
}

fn keep_commit(state: &mut State<'_>, who: &[u8; 32], c: Commit) -> Result<(), DispatchError> {
    let index = storage_index(c.netuid, c.mecid);
    if let Some(names) = no_mechanism(state, c.netuid, c.mecid) {
        return Err(refused(names));
    }
    if !commit_reveal(state, c.netuid) {
        return Err(refused(&["CommitRevealDisabled"]));
    }
    let version: u16 = state
        .get("SubtensorModule", "CommitRevealWeightsVersion", &[])
        .unwrap_or(4);
    if c.version.is_some_and(|v| v != version) {
        return Err(refused(&["IncorrectCommitRevealVersion"]));
    }
    let uid = uid_of(state, c.netuid, who).ok_or(refused(&["HotKeyNotRegisteredInSubNet"]))?;
    if too_soon(state, c.netuid, index, uid) {
        return Err(refused(&["CommittingWeightsTooFast"]));
    }
    if stale_round(state, c.round) {
        return Err(refused(&["InvalidRevealRound"]));
    }
    if c.ciphertext.len() > MOST_COMMIT_BYTES {
        return Err(refused(&["CommitPayloadTooLarge", "InputLengthsUnequal"]));
    }
    let epoch = epoch::index(state, c.netuid);
    let key = [index.encode(), epoch.encode()];
    let parts: [&[u8]; 2] = [&key[0], &key[1]];
    let mut kept: Vec<StoredCommit> = state.subnet("TimelockedWeightCommits", &parts);
    if kept.iter().filter(|(hotkey, ..)| hotkey == who).count() >= MOST_UNREVEALED {
        return Err(refused(&["TooManyUnrevealedCommits"]));
    }
    let digest = blake2_256(&c.ciphertext);
    let block = state.number;
    kept.push((*who, block, c.ciphertext, c.round));
    state.put_subnet("TimelockedWeightCommits", &parts, &kept);
    subnet::set_at(state, "LastUpdate", &index.encode(), uid, block);
    let digest = Value::unnamed_composite([Value::from_bytes(digest)]);
    let fields = vec![account(who), number(index), digest, number(c.round)];
    state.deposit("SubtensorModule", "TimelockedWeightsCommitted", fields);
    Ok(())
}

fn stale_round(state: &State<'_>, round: u64) -> bool {
    let last: u64 = state
        .get("Drand", "LastStoredRound", &[])
        .unwrap_or_default();
    round < last
}

/// What the pool refuses of the subnet pallet's calls, by its codes.
pub(crate) fn pool_refusal(state: &State<'_>, who: &[u8; 32], call: &Call) -> Option<u8> {
    let Some(action) = action(state, call) else {
        return hashed::pool_refusal(state, who, call).flatten();
    };
    let (netuid, mecid, commit) = match action {
        Action::Set(s) if s.uids.len() != s.values.len() => return Some(18),
        Action::Set(s) => (s.netuid, s.mecid, None),
        Action::Commit(c) => (c.netuid, c.mecid, Some(c.round)),
    };
    if no_mechanism(state, netuid, mecid).is_some() {
        return Some(3);
    }
    let Some(uid) = uid_of(state, netuid, who) else {
        return Some(19);
    };
    if lacks_stake(state, netuid, who) {
        return Some(1);
    }
    if let Some(round) = commit {
        return stale_round(state, round).then_some(15);
    }
    let limited = !commit_reveal(state, netuid);
    let index = storage_index(netuid, mecid);
    (limited && too_soon(state, netuid, index, uid)).then_some(6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_weight_becomes_the_full_scale() {
        assert_eq!(max_upscaled(&[1, 2]), [32_767, 65_535]);
        assert_eq!(max_upscaled(&[65_535, 7]), [65_535, 7]);
        assert_eq!(max_upscaled(&[0, 0]), [0, 0]);
        assert_eq!(max_upscaled(&[]), Vec::<u16>::new());
    }

    #[test]
    fn mechanisms_have_their_own_storage_index() {
        assert_eq!(storage_index(70, 0), 70);
        assert_eq!(storage_index(70, 1), 4166);
    }
}
