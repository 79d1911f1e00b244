//! When will the chain open a commit, and did it?
//!
//! A commit is sealed for a beacon round shortly after the first block of its reveal epoch. That
//! block is found by running the chain's own epoch rule forward from one pinned block. Failed reveals
//! make no event: whoever commits must look ([`ChainClient::check_reveal`]).

use crate::calls::Call;
use crate::client::{At, AtBlock, ChainClient, slot_time};
use crate::error::ChainError;
use crate::submit::{WeightsOrder, storage_index};
use crate::timelock::{QUICKNET_GENESIS, QUICKNET_KEY, QUICKNET_PERIOD, WeightsPayload, seal};
use crate::wallet::Wallet;
use crate::weights::as_stored;
use nexis_ports::{CommitTicket, RevealState};
use nexis_protocol::{BlockNumber, Netuid};
use parity_scale_codec::Encode as _;
use scale_decode::DecodeAsType;
use std::time::Duration;
use subxt::dynamic;
use subxt::utils::AccountId32;

/// Blocks added to the first reveal block, for epochs that the chain puts off.
const MARGIN_BLOCKS: u64 = 3;
/// The runtime starts an epoch by itself after this many blocks without one.
const LONGEST_EPOCH: u64 = 50_400;
/// Largest ciphertext the chain takes.
const MAX_SEALED_BYTES: usize = 5_000;

/// What decides when a subnet's epochs run (since spec 423), at one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochState {
    /// The block it was read at.
    pub block: u64,
    /// Blocks per epoch; 0: never.
    pub tempo: u64,
    /// Block of the last epoch.
    pub last_epoch: u64,
    /// Block of an epoch asked for; 0: none.
    pub pending: u64,
    /// Number of epochs so far.
    pub index: u64,
    /// Blocks since the last one.
    pub since_last: u64,
}

impl EpochState {
    const fn should_run(&self, block: u64) -> bool {
        self.tempo > 0
            && ((self.pending > 0 && block >= self.pending)
                || self.since_last > LONGEST_EPOCH
                || block.saturating_sub(self.last_epoch) >= self.tempo)
    }

    /// Epoch that an extrinsic in this block belongs to.
    fn epoch_at(&self, block: u64) -> u64 {
        self.index + u64::from(self.should_run(block))
    }

    /// What the end of a block's hooks leaves.
    const fn step(&mut self, block: u64) {
        self.since_last += 1;
        if self.should_run(block) {
            self.last_epoch = block;
            self.pending = 0;
            self.index += 1;
            self.since_last = 0;
        }
    }

    /// First block of the epoch in which a commit made in the next block is opened.
    ///
    /// `None` when the subnet runs no epochs, or not that one within any sensible time.
    pub fn first_reveal_block(&self, period: u64) -> Option<u64> {
        if self.tempo == 0 {
            return None;
        }
        let mut state = *self;
        let next = self.block.saturating_add(1);
        let target = state.epoch_at(next).checked_add(period)?;
        let most = LONGEST_EPOCH.saturating_mul(period.saturating_add(2).min(102));
        for block in next..next.saturating_add(most) {
            if state.epoch_at(block) == target {
                return Some(block);
            }
            state.step(block);
        }
        None
    }
}

/// The same for runtimes before 423: epochs at fixed blocks, `tempo + 1` apart, shifted by subnet.
pub fn first_reveal_block_before_423(
    block: u64,
    tempo: u64,
    netuid: u64,
    period: u64,
) -> Option<u64> {
    if tempo == 0 {
        return None;
    }
    let length = tempo + 1;
    let epoch = (block + 1 + netuid + 1) / length;
    (epoch + period)
        .checked_mul(length)?
        .checked_sub(netuid + 1)
}

/// The beacon that opens commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beacon {
    /// Public key, compressed (96 bytes).
    pub public_key: Vec<u8>,
    /// Seconds between rounds.
    pub period: u64,
    /// First second, unix time.
    pub genesis: u64,
}

impl Beacon {
    /// The round that is out a given time from now.
    pub fn round_after(&self, now: Duration, wait: Duration) -> u64 {
        let at = (now + wait).as_secs().saturating_sub(self.genesis);
        (at / self.period.max(1)).max(1)
    }

    fn is_quicknet(&self) -> bool {
        hex::encode(&self.public_key) == QUICKNET_KEY
            && self.genesis == QUICKNET_GENESIS
            && self.period == QUICKNET_PERIOD
    }
}

#[derive(DecodeAsType)]
struct BeaconConfig {
    public_key: Vec<u8>,
    period: u32,
    genesis_time: u32,
}

impl ChainClient {
    /// The beacon by the chain's own configuration. On finney it must be quicknet.
    pub(crate) async fn beacon(&self, view: &AtBlock) -> Result<Beacon, ChainError> {
        let found: BeaconConfig = self.read(view, "Drand", "BeaconConfig", ()).await?;
        let beacon = Beacon {
            public_key: found.public_key,
            period: u64::from(found.period),
            genesis: u64::from(found.genesis_time),
        };
        if self.genesis().as_deref() == Some(crate::FINNEY_GENESIS) && !beacon.is_quicknet() {
            return Err(ChainError::Incompatible(
                "finney's beacon is no longer quicknet".into(),
            ));
        }
        Ok(beacon)
    }

    async fn reveal_block(&self, view: &AtBlock, netuid: Netuid) -> Result<(u64, u64), ChainError> {
        const PALLET: &str = "SubtensorModule";
        let key = (netuid.get(),);
        let block = view.block_number();
        let tempo: u16 = self.read(view, PALLET, "Tempo", key).await?;
        let tempo = u64::from(tempo);
        let period: u64 = self.read(view, PALLET, "RevealPeriodEpochs", key).await?;
        let index: Option<u64> = self
            .read_optional(view, PALLET, "SubnetEpochIndex", key)
            .await?;
        let found = if let Some(index) = index {
            let last: Option<u64> = self
                .read_optional(view, PALLET, "LastEpochBlock", key)
                .await?;
            let pending: Option<u64> = self
                .read_optional(view, PALLET, "PendingEpochAt", key)
                .await?;
            let since_last: u64 = self.read(view, PALLET, "BlocksSinceLastStep", key).await?;
            let (last_epoch, pending) = (last.unwrap_or(0), pending.unwrap_or(0));
            EpochState {
                block,
                tempo,
                last_epoch,
                pending,
                index,
                since_last,
            }
            .first_reveal_block(period)
        } else {
            first_reveal_block_before_423(block, tempo, u64::from(netuid.get()), period)
        };
        let first = found.ok_or_else(|| ChainError::Invalid {
            what: "timelocked weights".into(),
            detail: format!("subnet {netuid} runs no epochs (tempo {tempo})"),
        })?;
        Ok((first, tempo))
    }

    /// Seals weights for their reveal epoch.
    pub(crate) async fn prepare_commit(
        &self,
        wallet: &Wallet,
        order: &WeightsOrder,
        view: &AtBlock,
    ) -> Result<(Call, CommitTicket), ChainError> {
        let beacon = self.beacon(view).await?;
        let (reveal_block, tempo) = self.reveal_block(view, order.netuid).await?;
        let version: u16 = self
            .read_optional(view, "SubtensorModule", "CommitRevealWeightsVersion", ())
            .await?
            .unwrap_or(4);
        let blocks = (reveal_block + MARGIN_BLOCKS).saturating_sub(view.block_number());
        let wait = slot_time(view) * u32::try_from(blocks).unwrap_or(u32::MAX);
        let stored: u64 = self.read(view, "Drand", "LastStoredRound", ()).await?;
        // Never a round that the chain has already, whatever this machine's clock says.
        let reveal_round = beacon.round_after(self.now(), wait).max(stored + 1);
        let payload = WeightsPayload {
            hotkey: wallet.hotkey().public_key().to_vec(),
            uids: order.uids.clone(),
            values: order.values.clone(),
            version_key: order.version_key,
        };
        let plain = payload.encode();
        let key = beacon.public_key;
        let sealed = tokio::task::spawn_blocking(move || seal(&plain, reveal_round, &key))
            .await
            .map_err(|e| ChainError::Invalid {
                what: "sealing".into(),
                detail: e.to_string(),
            })??;
        if sealed.len() > MAX_SEALED_BYTES {
            return Err(ChainError::Invalid {
                what: "timelocked weights".into(),
                detail: format!("{} bytes, the chain takes {MAX_SEALED_BYTES}", sealed.len()),
            });
        }
        let ticket = CommitTicket {
            netuid: order.netuid,
            mechanism: order.mechanism,
            hotkey: wallet.hotkey().clone(),
            committed_at: 0,
            reveal_block,
            reveal_deadline: reveal_block + tempo + MARGIN_BLOCKS,
            reveal_round,
            sealed_sha256: nexis_protocol::Digest::of(&sealed).to_string(),
            expected: as_stored(&order.uids, &order.values),
        };
        let call = Call::CommitWeights {
            netuid: order.netuid,
            mechanism: order.mechanism,
            sealed,
            reveal_round,
            version,
        };
        Ok((call, ticket))
    }

    /// The ticket of a commit that is in a block. It may have taken longer to get there than planned, so that its
    /// reveal belongs to a later epoch.
    pub(crate) async fn included_ticket(&self, planned: CommitTicket, block: u64) -> CommitTicket {
        let before = At::Number(BlockNumber::new(block.saturating_sub(1)));
        let found = async {
            let view = self.at(&before).await?;
            self.reveal_block(&view, planned.netuid).await
        };
        let (reveal_block, reveal_deadline) = match found.await {
            Ok((first, tempo)) => (first, first + tempo + MARGIN_BLOCKS),
            Err(error) => {
                tracing::warn!(%error, "taking the planned reveal for the commit's");
                (planned.reveal_block, planned.reveal_deadline)
            }
        };
        CommitTicket {
            committed_at: block,
            reveal_block,
            reveal_deadline,
            ..planned
        }
    }

    /// Whether the chain holds this commit, sealed.
    pub(crate) async fn commit_is_stored(
        &self,
        ticket: &CommitTicket,
        at: &At,
    ) -> Result<bool, ChainError> {
        let ours = self.commits_of(ticket, at).await?;
        Ok(ours.contains(&(ticket.reveal_round, ticket.sealed_sha256.clone())))
    }

    /// Reveal round and digest of every sealed commit that the ticket's hotkey has on its mechanism.
    async fn commits_of(
        &self,
        ticket: &CommitTicket,
        at: &At,
    ) -> Result<Vec<(u64, String)>, ChainError> {
        type Commits = Vec<(AccountId32, u64, Vec<u8>, u64)>;
        let view = self.at(at).await?;
        let what = "the timelocked commits";
        let address =
            dynamic::storage::<(u16, u64), Commits>("SubtensorModule", "TimelockedWeightCommits");
        let index = storage_index(ticket.netuid, ticket.mechanism);
        let storage = view.storage();
        let mut entries = self.timed(what, storage.iter(address, (index,))).await?;
        let me = ticket.hotkey.public_key();
        let after = self.read_budget();
        let mut ours = Vec::new();
        loop {
            let entry = tokio::time::timeout(after, entries.next())
                .await
                .map_err(|_| ChainError::Timeout {
                    what: what.into(),
                    after,
                })?;
            let Some(entry) = entry else { return Ok(ours) };
            let entry = entry.map_err(|e| ChainError::of(what, e))?;
            let commits = entry
                .value()
                .decode()
                .map_err(|e| ChainError::of(what, e))?;
            let mine = commits.into_iter().filter(|(who, ..)| who.0 == me);
            ours.extend(mine.map(|(_, _, sealed, round)| {
                (round, nexis_protocol::Digest::of(&sealed).to_string())
            }));
        }
    }

    /// Where a commit stands, by final blocks.
    pub async fn check_reveal(&self, ticket: &CommitTicket) -> Result<RevealState, ChainError> {
        let head = self.head_finalized().await?;
        if head.number < BlockNumber::new(ticket.committed_at) {
            return Ok(RevealState::Waiting);
        }
        let at = At::Hash(head.hash);
        if self.commit_is_stored(ticket, &at).await? {
            let late = head.number.get() > ticket.reveal_deadline;
            return Ok(if late {
                RevealState::Missed
            } else {
                RevealState::Waiting
            });
        }
        // The same weights may have stood there before: the chain's events are asked first.
        let state = self.reveal_in_events(ticket, head.number.get()).await?;
        if state != RevealState::Unseen {
            return Ok(state);
        }
        Ok(if self.its_weights_stand(ticket, &at).await? {
            RevealState::Revealed
        } else {
            state
        })
    }

    /// Whether the weights of the ticket's hotkey are those of the commit.
    async fn its_weights_stand(&self, ticket: &CommitTicket, at: &At) -> Result<bool, ChainError> {
        let Some(uid) = self.uid_of(ticket.netuid, &ticket.hotkey, at).await? else {
            return Ok(false);
        };
        let view = self.at(at).await?;
        let index = storage_index(ticket.netuid, ticket.mechanism);
        let found: Vec<(u16, u16)> = self
            .read(&view, "SubtensorModule", "Weights", (index, uid.get()))
            .await?;
        Ok(found == ticket.expected)
    }

    /// Later weights may stand where those of the commit stood: the events of the block in which the chain parted with
    /// it say whether it was opened. That block is found by halving, since the epoch may have come earlier than planned
    /// (an owner can ask for one, a tempo can be shortened) or later.
    async fn reveal_in_events(
        &self,
        ticket: &CommitTicket,
        head: u64,
    ) -> Result<RevealState, ChainError> {
        let (mut held, mut gone) = (ticket.committed_at, head);
        // Whether the node still knew that it held the commit there.
        let mut known = true;
        while held + 1 < gone {
            let middle = held.midpoint(gone);
            let at = At::Number(BlockNumber::new(middle));
            match self.commit_is_stored(ticket, &at).await {
                Ok(true) => (held, known) = (middle, true),
                Ok(false) => gone = middle,
                Err(ChainError::StatePruned(_) | ChainError::UnknownBlock(_)) => {
                    (held, known) = (middle, false);
                }
                Err(other) => return Err(other),
            }
        }
        match self.opened_at(ticket, gone).await {
            Ok(true) => Ok(RevealState::Revealed),
            Ok(false) if known => Ok(RevealState::Missed),
            Ok(false) | Err(ChainError::StatePruned(_) | ChainError::UnknownBlock(_)) => {
                Ok(RevealState::Unseen)
            }
            Err(other) => Err(other),
        }
    }

    /// Whether a commit that is gone since this block was opened in it. The event names no commit: when the chain parted
    /// with several of ours at once and opened fewer, the weights of the block tell which one was the last.
    async fn opened_at(&self, ticket: &CommitTicket, block: u64) -> Result<bool, ChainError> {
        let at = At::Number(BlockNumber::new(block));
        let opened = self.opened_in(ticket, &at).await?;
        if opened == 0 {
            return Ok(false);
        }
        let before = At::Number(BlockNumber::new(block.saturating_sub(1)));
        let before = match self.commits_of(ticket, &before).await {
            Ok(commits) => commits,
            // The event is all that is known.
            Err(ChainError::StatePruned(_) | ChainError::UnknownBlock(_)) => return Ok(true),
            Err(other) => return Err(other),
        };
        let left = self.commits_of(ticket, &at).await?;
        let gone = before.iter().filter(|commit| !left.contains(commit));
        if gone.count() <= opened {
            return Ok(true);
        }
        self.its_weights_stand(ticket, &at).await
    }

    /// How many commits of the ticket's hotkey a block opened.
    async fn opened_in(&self, ticket: &CommitTicket, at: &At) -> Result<usize, ChainError> {
        let view = self.at(at).await?;
        let events = self
            .timed("a block's events", view.events().fetch())
            .await?;
        let index = storage_index(ticket.netuid, ticket.mechanism);
        let mine = (index, ticket.hotkey.public_key()).encode();
        let mut opened = 0;
        for event in events.iter() {
            let event = event.map_err(|e| ChainError::of("an event", e))?;
            let revealed = event.event_name() == "TimelockedWeightsRevealed"
                && event.pallet_name() == "SubtensorModule";
            opened += usize::from(revealed && event.field_bytes() == mine);
        }
        Ok(opened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(block: u64, last_epoch: u64, pending: u64, tempo: u64) -> EpochState {
        EpochState {
            block,
            tempo,
            last_epoch,
            pending,
            index: 5,
            since_last: block - last_epoch,
        }
    }

    #[test]
    fn the_published_vectors_of_the_epoch_rule_hold() {
        assert_eq!(state(10, 10, 0, 50).first_reveal_block(1), Some(60));
        assert_eq!(state(91, 80, 95, 20).first_reveal_block(1), Some(95));
        assert_eq!(state(10, 10, 0, 0).first_reveal_block(1), None);
    }

    #[test]
    fn a_commit_in_the_block_of_an_epoch_belongs_to_the_new_one() {
        // The next block is 60, where an epoch runs: the reveal is one whole tempo later.
        assert_eq!(state(59, 10, 0, 50).first_reveal_block(1), Some(110));
        assert_eq!(state(10, 10, 0, 50).first_reveal_block(3), Some(160));
    }

    #[test]
    fn epochs_before_423_lie_on_fixed_blocks() {
        // tempo 360, netuid 70: epochs begin where (block + 71) is a multiple of 361.
        let first = first_reveal_block_before_423(1000, 360, 70, 1).unwrap();
        assert_eq!((first + 71) % 361, 0);
        assert!(first > 1000 && first <= 1000 + 361);
        assert_eq!(first_reveal_block_before_423(1000, 0, 70, 1), None);
    }

    #[test]
    fn rounds_follow_the_beacons_clock() {
        let beacon = Beacon {
            public_key: hex::decode(QUICKNET_KEY).unwrap(),
            period: QUICKNET_PERIOD,
            genesis: QUICKNET_GENESIS,
        };
        assert!(beacon.is_quicknet());
        let now = Duration::from_secs(QUICKNET_GENESIS + 300);
        assert_eq!(beacon.round_after(now, Duration::from_secs(30)), 110);
        assert_eq!(beacon.round_after(Duration::ZERO, Duration::ZERO), 1);
    }
}
