//! What an operator is alerted of, and that it holds up nothing else.

use super::{NETUID, PERIOD, RATE_LIMIT, World, hotkey, wallet};
use async_trait::async_trait;
use nexis_chain::{ChainClient, ChainPort, ConnectOptions};
use nexis_devchain::GenesisNeuron;
use nexis_ports::{Chain as _, ChainError, SignedSubmission, SubmissionJournal, WeightRequest};
use std::sync::atomic::Ordering;

/// Blocks within which an operator hears of what is wrong: the pause between two looks, finality, and some more.
const HEARD_WITHIN: u64 = 20;

struct Unkept;

#[async_trait]
impl SubmissionJournal for Unkept {
    async fn signed(&mut self, _: &SignedSubmission) -> Result<(), ChainError> {
        Ok(())
    }
}

fn neuron(uri: &str, permit: bool) -> GenesisNeuron {
    GenesisNeuron {
        hotkey: hotkey(uri).public_key(),
        stake_rao: 7_000_000_000_000,
        permit,
    }
}

impl World {
    fn alerts_of(&self, what: &str) -> usize {
        let alerts = self.alerts.lock().unwrap();
        alerts.iter().filter(|alert| alert.contains(what)).count()
    }

    async fn until_alerted(&mut self, what: &str) {
        let from = self.chain.head().number;
        while self.alerts_of(what) == 0 {
            let head = self.chain.head().number;
            let alerts = self.alerts.lock().unwrap().clone();
            assert!(
                head <= from + HEARD_WITHIN,
                "no alert of {what:?} since {from}: {alerts:?}"
            );
            self.block().await;
        }
    }

    /// The commits of several epochs are pending and cannot be read. Newer weights are still committed, and once the
    /// chain can be read again, every commit is found revealed.
    pub(super) async fn lose_sight_of_commits(&mut self, end: u64) {
        self.reveals_unreadable.store(true, Ordering::SeqCst);
        self.until(end - PERIOD / 2).await;
        let epochs = self.changes.iter().map(|change| change.block / PERIOD);
        let last = epochs.max().unwrap();
        assert_eq!(last, end / PERIOD - 1, "an old commit held up new weights");
        self.reveals_unreadable.store(false, Ordering::SeqCst);
        self.until(end).await;
    }

    pub(super) async fn lose_registration(&mut self) {
        self.first_change().await;
        assert_eq!(self.alerts_of("weights cannot be set"), 0);
        self.chain
            .register_neuron(&neuron("//Stranger1", true), Some(0));
        self.until_alerted("not registered").await;
        let now = self.chain.head().number;
        self.until(now + PERIOD).await;
        assert_eq!(self.alerts_of("not registered"), 1, "repeated at each look");
        self.chain
            .register_neuron(&neuron("//Alice", true), Some(0));
        self.changes.clear();
        let now = self.chain.head().number;
        self.until((now / PERIOD + 2) * PERIOD).await;
        assert!(!self.changes.is_empty(), "weights are set again");
    }

    pub(super) async fn meet_a_second_validator(&mut self) {
        self.first_change().await;
        let free = self.changes[0].block + RATE_LIMIT;
        self.until(free + 1).await;
        assert_eq!(self.alerts_of("another process"), 0);
        let mut options = ConnectOptions::new(self.chain.url().parse().unwrap());
        options.allow_other_genesis = true;
        let second = ChainPort::new(ChainClient::new(options), Some(wallet("//Alice")));
        let request = WeightRequest {
            netuid: NETUID,
            uids: vec![1, 2],
            hotkeys: vec![hotkey("//Bob"), hotkey("//Charlie")],
            weights: vec![0.5, 0.5],
            not_after: None,
        };
        let sending = tokio::spawn(async move {
            let mut journal = Unkept;
            second.set_weights(&request, &mut journal).await
        });
        while self.changes.len() < 2 {
            assert!(!sending.is_finished(), "the second validator was refused");
            self.block().await;
        }
        self.until_alerted("another process").await;
        let now = self.chain.head().number;
        self.until(now + PERIOD / 2).await;
        assert_eq!(self.alerts_of("another process"), 1);
        sending.abort();
    }
}
