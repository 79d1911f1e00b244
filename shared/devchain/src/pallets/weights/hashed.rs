//! Weights committed by their hash and revealed by whoever committed (commit-reveal v2, CHAIN.md §2.D). Nobody reveals
//! for them: a commit that is not revealed in its one epoch expires.

use super::{Submission, commit_reveal, lacks_stake, no_mechanism, set, storage_index, too_soon};
use crate::pallets::epoch::{self, HashCommit as Kept};
use crate::pallets::subnet::{self, number, uid_of};
use crate::runtime::Call;
use crate::state::{DispatchError, State, account, refused};
use parity_scale_codec::Encode as _;
use scale_decode::DecodeAsType;
use scale_value::Value;
use sp_crypto_hashing::blake2_256;

/// Unrevealed commits that a hotkey may have.
const MOST_UNREVEALED: usize = 10;

#[derive(DecodeAsType)]
struct CommitWeights {
    netuid: u16,
    commit_hash: [u8; 32],
}

#[derive(DecodeAsType)]
struct CommitMechanismWeights {
    netuid: u16,
    mecid: u8,
    commit_hash: [u8; 32],
}

#[derive(DecodeAsType)]
struct RevealWeights {
    netuid: u16,
    uids: Vec<u16>,
    values: Vec<u16>,
    salt: Vec<u16>,
    version_key: u64,
}

#[derive(DecodeAsType)]
struct RevealMechanismWeights {
    netuid: u16,
    mecid: u8,
    uids: Vec<u16>,
    values: Vec<u16>,
    salt: Vec<u16>,
    version_key: u64,
}

enum Action {
    Commit {
        netuid: u16,
        mecid: u8,
        hash: [u8; 32],
    },
    Reveal {
        submission: Submission,
        salt: Vec<u16>,
    },
}

fn action(state: &State<'_>, call: &Call) -> Option<Action> {
    let rt = state.rt;
    Some(match call.name.as_str() {
        "commit_weights" => {
            let a: CommitWeights = rt.arguments(call)?;
            let (netuid, mecid, hash) = (a.netuid, 0, a.commit_hash);
            Action::Commit {
                netuid,
                mecid,
                hash,
            }
        }
        "commit_mechanism_weights" => {
            let a: CommitMechanismWeights = rt.arguments(call)?;
            let (netuid, mecid, hash) = (a.netuid, a.mecid, a.commit_hash);
            Action::Commit {
                netuid,
                mecid,
                hash,
            }
        }
        "reveal_weights" => {
            let a: RevealWeights = rt.arguments(call)?;
            let submission = Submission {
                netuid: a.netuid,
                mecid: 0,
                uids: a.uids,
                values: a.values,
                version_key: a.version_key,
            };
            let salt = a.salt;
            Action::Reveal { submission, salt }
        }
        "reveal_mechanism_weights" => {
            let a: RevealMechanismWeights = rt.arguments(call)?;
            let submission = Submission {
                netuid: a.netuid,
                mecid: a.mecid,
                uids: a.uids,
                values: a.values,
                version_key: a.version_key,
            };
            let salt = a.salt;
            Action::Reveal { submission, salt }
        }
        _ => return None,
    })
}

/// Carries out one of these calls; `None`: it is another one.
pub(crate) fn dispatch(
    state: &mut State<'_>,
    who: &[u8; 32],
    call: &Call,
) -> Option<Result<(), DispatchError>> {
    Some(match action(state, call)? {
        Action::Commit {
            netuid,
            mecid,
            hash,
        } => keep(state, who, (netuid, mecid), hash),
        Action::Reveal { submission, salt } => reveal(state, who, &submission, &salt),
    })
}

fn kept_by(state: &State<'_>, index: u16, who: &[u8; 32]) -> Vec<Kept> {
    state.subnet("WeightCommits", &[&index.encode(), who])
}

/// Epochs until a commit may be revealed: 0 is now, below is too late.
fn epochs_left(state: &State<'_>, netuid: u16, commit: &Kept) -> i128 {
    let made = epoch::of_hash_commit(state, netuid, commit.1);
    let period: u64 = state.subnet("RevealPeriodEpochs", &[&netuid.encode()]);
    i128::from(made) + i128::from(period) - i128::from(epoch::index(state, netuid))
}

fn keep(
    state: &mut State<'_>,
    who: &[u8; 32],
    (netuid, mecid): (u16, u8),
    hash: [u8; 32],
) -> Result<(), DispatchError> {
    if let Some(names) = no_mechanism(state, netuid, mecid) {
        return Err(refused(names));
    }
    if !commit_reveal(state, netuid) {
        return Err(refused(&["CommitRevealDisabled"]));
    }
    let uid = uid_of(state, netuid, who).ok_or(refused(&["HotKeyNotRegisteredInSubNet"]))?;
    let index = storage_index(netuid, mecid);
    if too_soon(state, netuid, index, uid) {
        return Err(refused(&["CommittingWeightsTooFast"]));
    }
    let mut kept = kept_by(state, index, who);
    let live = |commit: &Kept| epochs_left(state, netuid, commit) >= 0;
    let over = kept.iter().take_while(|commit| !live(commit)).count();
    kept.drain(..over);
    if kept.len() >= MOST_UNREVEALED {
        return Err(refused(&["TooManyUnrevealedCommits"]));
    }
    let block = state.number;
    kept.push(epoch::hash_commit(state, netuid, hash));
    state.put_subnet("WeightCommits", &[&index.encode(), who], &kept);
    subnet::set_at(state, "LastUpdate", &index.encode(), uid, block);
    deposit(state, "WeightsCommitted", who, index, hash);
    Ok(())
}

fn reveal(
    state: &mut State<'_>,
    who: &[u8; 32],
    submission: &Submission,
    salt: &[u16],
) -> Result<(), DispatchError> {
    let (netuid, index) = (
        submission.netuid,
        storage_index(submission.netuid, submission.mecid),
    );
    if let Some(names) = no_mechanism(state, netuid, 0) {
        return Err(refused(names));
    }
    if !commit_reveal(state, netuid) {
        return Err(refused(&["CommitRevealDisabled"]));
    }
    let mut kept = kept_by(state, index, who);
    if kept.is_empty() {
        return Err(refused(&["NoWeightsCommitFound"]));
    }
    let live = |commit: &Kept| epochs_left(state, netuid, commit) >= 0;
    let over = kept.iter().take_while(|commit| !live(commit)).count();
    let expired: Vec<Kept> = kept.drain(..over).collect();
    let hash = hash_of(who, submission, salt);
    let Some(at) = kept.iter().position(|commit| commit.0 == hash) else {
        let names: &[&str] = if expired.iter().any(|commit| commit.0 == hash) {
            &["ExpiredWeightCommit"]
        } else if kept.is_empty() {
            &["NoWeightsCommitFound"]
        } else {
            &["InvalidRevealCommitHashNotMatch"]
        };
        return Err(refused(names));
    };
    if kept
        .get(at)
        .is_some_and(|c| epochs_left(state, netuid, c) != 0)
    {
        return Err(refused(&["RevealTooEarly"]));
    }
    // Those before it can no longer be revealed: newer weights stand.
    kept.drain(..=at);
    let key = index.encode();
    if kept.is_empty() {
        state.remove("SubtensorModule", "WeightCommits", &[&key, who]);
    } else {
        state.put_subnet("WeightCommits", &[&key, who], &kept);
    }
    set(state, who, submission, false)?;
    deposit(state, "WeightsRevealed", who, index, hash);
    Ok(())
}

fn deposit(state: &mut State<'_>, event: &str, who: &[u8; 32], index: u16, hash: [u8; 32]) {
    let hash = Value::unnamed_composite([Value::from_bytes(hash)]);
    let fields = vec![account(who), number(index), hash];
    state.deposit("SubtensorModule", event, fields);
}

fn hash_of(who: &[u8; 32], submission: &Submission, salt: &[u16]) -> [u8; 32] {
    let index = storage_index(submission.netuid, submission.mecid);
    let covered = (
        who,
        index,
        &submission.uids,
        &submission.values,
        salt,
        submission.version_key,
    );
    blake2_256(&covered.encode())
}

/// What the pool refuses of these calls, by its codes; `None`: it is another call, `Some(None)`: it may pass.
pub(crate) fn pool_refusal(state: &State<'_>, who: &[u8; 32], call: &Call) -> Option<Option<u8>> {
    Some(match action(state, call)? {
        Action::Commit { netuid, mecid, .. } => {
            let index = storage_index(netuid, mecid);
            let uid = uid_of(state, netuid, who);
            if lacks_stake(state, netuid, who) {
                Some(1)
            } else if uid.is_none() {
                Some(19)
            } else {
                uid.is_some_and(|uid| too_soon(state, netuid, index, uid))
                    .then_some(6)
            }
        }
        Action::Reveal { submission, salt } => {
            let (netuid, hash) = (submission.netuid, hash_of(who, &submission, &salt));
            let kept = kept_by(state, storage_index(netuid, submission.mecid), who);
            if lacks_stake(state, netuid, who) {
                Some(1)
            } else {
                match kept.iter().find(|commit| commit.0 == hash) {
                    None => Some(16),
                    Some(found) => (epochs_left(state, netuid, found) != 0).then_some(17),
                }
            }
        }
    })
}
