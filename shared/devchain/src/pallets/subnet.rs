//! The subnet: its numbers, who is registered, who has stake and permits.

use crate::config::{DevChainConfig, Permits};
use crate::state::{State, account};
use parity_scale_codec::Encode as _;
use scale_value::Value;
use sp_crypto_hashing::blake2_256;

/// Neurons a subnet takes.
pub(crate) const MAX_UIDS: u16 = 256;

/// A neuron as the runtime's answers show it.
#[derive(Debug, Clone)]
pub(crate) struct Neuron {
    /// Its slot.
    pub uid: u16,
    /// Its key.
    pub hotkey: [u8; 32],
    /// Its owner.
    pub coldkey: [u8; 32],
    /// Total stake, rao.
    pub stake: u64,
    /// Whether it holds a validator permit.
    pub permit: bool,
    /// Block of its last weight change or commit.
    pub last_update: u64,
    /// Block of its registration.
    pub registered: u64,
}

/// Writes the state of the first block.
pub(crate) fn genesis(state: &mut State<'_>, config: &DevChainConfig) {
    let netuid = config.netuid.encode();
    let id: &[u8] = &netuid;
    state.put_subnet("NetworksAdded", &[id], &true);
    state.put_subnet("NetworksAdded", &[&0_u16.encode()], &true);
    state.put_subnet("TotalNetworks", &[], &2_u16);
    state.put_subnet("NetworkRegisteredAt", &[id], &0_u64);
    state.put_subnet("Tempo", &[id], &config.tempo);
    state.put_subnet("MaxAllowedUids", &[id], &MAX_UIDS);
    state.put_subnet("CommitRevealWeightsEnabled", &[id], &config.commit_reveal);
    state.put_subnet("RevealPeriodEpochs", &[id], &config.reveal_period);
    state.put_subnet("WeightsSetRateLimit", &[id], &config.weights_rate_limit);
    state.put_subnet("WeightsVersionKey", &[id], &config.weights_version);
    state.put_subnet("MinAllowedWeights", &[id], &config.min_allowed_weights);
    state.put_subnet("MaxWeightsLimit", &[id], &u16::MAX);
    state.put_subnet("StakeThreshold", &[], &config.stake_threshold);
    state.put_subnet("LastMechansimStepBlock", &[id], &config.start_block);
    state.put_subnet("LastEpochBlock", &[id], &config.start_block);
    if let Permits::LargestStake(most) = config.permits {
        state.put_subnet("MaxAllowedValidators", &[id], &most);
    }
    for neuron in &config.neurons {
        let uid = append(state, config.netuid, &neuron.hotkey, 0);
        stake(state, config.netuid, &neuron.hotkey, neuron.stake_rao);
        permit(state, config.netuid, uid, neuron.permit);
    }
    if let Some(owner) = config.owner_hotkey {
        state.put_subnet("SubnetOwnerHotkey", &[id], &owner);
        state.put_subnet("SubnetOwner", &[id], &coldkey_of(&owner));
    }
}

/// The made-up coldkey that owns a hotkey.
pub(crate) fn coldkey_of(hotkey: &[u8; 32]) -> [u8; 32] {
    blake2_256(&[b"coldkey of ".as_slice(), hotkey].concat())
}

/// How many neurons the subnet has.
pub(crate) fn size(state: &State<'_>, netuid: u16) -> u16 {
    state.subnet("SubnetworkN", &[&netuid.encode()])
}

/// The slot of a hotkey.
pub(crate) fn uid_of(state: &State<'_>, netuid: u16, hotkey: &[u8; 32]) -> Option<u16> {
    state.get("SubtensorModule", "Uids", &[&netuid.encode(), hotkey])
}

/// Puts a hotkey on the subnet: in a free slot, or in place of the neuron at `replace`.
pub(crate) fn register(
    state: &mut State<'_>,
    netuid: u16,
    hotkey: &[u8; 32],
    replace: Option<u16>,
) -> u16 {
    if let Some(uid) = uid_of(state, netuid, hotkey) {
        return uid;
    }
    let count = size(state, netuid);
    let full = (count >= MAX_UIDS).then_some(count.saturating_sub(1));
    let block = state.number;
    let uid = match replace.filter(|uid| *uid < count).or(full) {
        Some(uid) => {
            let (id, slot) = (netuid.encode(), uid.encode());
            let old: [u8; 32] = state.subnet("Keys", &[&id, &slot]);
            state.remove("SubtensorModule", "Uids", &[&id, &old]);
            state.remove("SubtensorModule", "Weights", &[&id, &slot]);
            occupy(state, netuid, uid, hotkey, block);
            permit(state, netuid, uid, false);
            uid
        }
        None => append(state, netuid, hotkey, block),
    };
    let fields = vec![
        u64::from(netuid).into(),
        u64::from(uid).into(),
        account(hotkey),
    ];
    state.deposit("SubtensorModule", "NeuronRegistered", fields);
    uid
}

fn append(state: &mut State<'_>, netuid: u16, hotkey: &[u8; 32], block: u64) -> u16 {
    let uid = size(state, netuid);
    state.put_subnet("SubnetworkN", &[&netuid.encode()], &uid.saturating_add(1));
    occupy(state, netuid, uid, hotkey, block);
    permit(state, netuid, uid, false);
    uid
}

fn occupy(state: &mut State<'_>, netuid: u16, uid: u16, hotkey: &[u8; 32], block: u64) {
    let (id, slot) = (netuid.encode(), uid.encode());
    state.put_subnet("Keys", &[&id, &slot], hotkey);
    state.put_subnet("Uids", &[&id, hotkey], &uid);
    state.put_subnet("BlockAtRegistration", &[&id, &slot], &block);
    state.put_subnet("Owner", &[hotkey], &coldkey_of(hotkey));
    state.put_subnet("IsNetworkMember", &[hotkey, &id], &true);
    set_at(state, "LastUpdate", &id, uid, block);
    set_at(state, "Active", &id, uid, true);
}

/// Gives or takes a validator permit.
pub(crate) fn permit(state: &mut State<'_>, netuid: u16, uid: u16, holds: bool) {
    set_at(state, "ValidatorPermit", &netuid.encode(), uid, holds);
}

/// Sets a hotkey's stake.
pub(crate) fn stake(state: &mut State<'_>, netuid: u16, hotkey: &[u8; 32], rao: u64) {
    state.put_subnet("TotalHotkeyAlpha", &[hotkey, &netuid.encode()], &rao);
}

/// A hotkey's total stake: nothing is delegated on this chain, so it is the plain alpha.
pub(crate) fn total_stake(state: &State<'_>, netuid: u16, hotkey: &[u8; 32]) -> u64 {
    state.subnet("TotalHotkeyAlpha", &[hotkey, &netuid.encode()])
}

/// Sets one element of a list that is indexed by uid.
pub(crate) fn set_at<T>(state: &mut State<'_>, entry: &str, id: &[u8], uid: u16, value: T)
where
    T: parity_scale_codec::Codec + Default + Clone,
{
    let mut list: Vec<T> = state.subnet(entry, &[id]);
    let at = usize::from(uid);
    if list.len() <= at {
        list.resize(at + 1, T::default());
    }
    if let Some(slot) = list.get_mut(at) {
        *slot = value;
    }
    state.put_subnet(entry, &[id], &list);
}

/// The hotkey of each slot.
pub(crate) fn owners(state: &State<'_>, netuid: u16) -> Vec<[u8; 32]> {
    let id = netuid.encode();
    let owner = |uid: u16| state.subnet("Keys", &[&id, &uid.encode()]);
    (0..size(state, netuid)).map(owner).collect()
}

/// Everybody on the subnet, by uid.
pub(crate) fn neurons(state: &State<'_>, netuid: u16) -> Vec<Neuron> {
    let id = netuid.encode();
    let permits: Vec<bool> = state.subnet("ValidatorPermit", &[&id]);
    let updates: Vec<u64> = state.subnet("LastUpdate", &[&id]);
    (0..size(state, netuid))
        .map(|uid| {
            let slot = uid.encode();
            let hotkey: [u8; 32] = state.subnet("Keys", &[&id, &slot]);
            Neuron {
                uid,
                hotkey,
                coldkey: state.subnet("Owner", &[&hotkey]),
                stake: total_stake(state, netuid, &hotkey),
                permit: permits.get(usize::from(uid)).copied().unwrap_or_default(),
                last_update: updates.get(usize::from(uid)).copied().unwrap_or_default(),
                registered: state.subnet("BlockAtRegistration", &[&id, &slot]),
            }
        })
        .collect()
}

/// Gives the permits to those with the largest stake, as the runtime does at each epoch.
pub(crate) fn grant_permits(state: &mut State<'_>, netuid: u16, most: u16) {
    let mut ranked = neurons(state, netuid);
    let count = ranked.len();
    ranked.sort_by_key(|n| (std::cmp::Reverse(n.stake), n.uid));
    let mut permits = vec![false; count];
    for neuron in ranked
        .iter()
        .filter(|n| n.stake > 0)
        .take(usize::from(most))
    {
        if let Some(slot) = permits.get_mut(usize::from(neuron.uid)) {
            *slot = true;
        }
    }
    state.put_subnet("ValidatorPermit", &[&netuid.encode()], &permits);
}

/// A number as an event's or answer's field.
pub(crate) fn number(value: impl Into<u64>) -> Value<()> {
    Value::u128(u128::from(value.into()))
}
