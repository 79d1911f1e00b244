//! Ports behind which nothing happens, for tests and benches that are about another port.

use crate::{
    Bucket, BucketAccess, Chain, ChainError, CommitTicket, FetchError, FetchLimits, Fetched, Head,
    Neuron, RevealState, Roster, SignedSubmission, Standing, SubmissionJournal, SubmitOutcome,
    SubnetParameters, WeightRequest,
};
use async_trait::async_trait;
use nexis_protocol::{BlockNumber, Hotkey, Netuid, Uid};
use std::collections::BTreeMap;
use std::time::Duration;

/// A chain that stays at one block and takes no submissions.
pub struct StillChain {
    /// What it answers about the subnet, whatever block is asked for.
    pub roster: Roster,
    own: Hotkey,
}

impl StillChain {
    /// A subnet of these hotkeys, without permits, stake or commitments; `own` is the validator's.
    pub fn new(block: u64, hotkeys: impl IntoIterator<Item = Hotkey>, own: Hotkey) -> Self {
        let neurons = (0..).zip(hotkeys).map(|(uid, hotkey)| Neuron {
            uid: Uid::new(uid),
            hotkey,
            validator_permit: false,
            stake_rao: 0,
            last_update: 0,
        });
        Self {
            roster: Roster {
                block: BlockNumber::new(block),
                hash: format!("0x{block:064x}"),
                neurons: neurons.collect(),
                commitments: BTreeMap::new(),
                raw_commitments: 0,
                unreadable_commitments: 0,
                parameters: SubnetParameters {
                    tempo: 99,
                    weights_rate_limit: 0,
                    weights_version: 0,
                    min_allowed_weights: 0,
                    commit_reveal: false,
                },
            },
            own,
        }
    }

    fn block(&self) -> Head {
        Head {
            number: self.roster.block,
            hash: self.roster.hash.clone(),
        }
    }
}

#[async_trait]
impl Chain for StillChain {
    async fn head(&self) -> Result<Head, ChainError> {
        Ok(self.block())
    }

    async fn next_head(&self, _: BlockNumber, at_most: Duration) -> Result<Head, ChainError> {
        tokio::time::sleep(at_most).await;
        Ok(self.block())
    }

    async fn roster(&self, _: Netuid, at: Option<BlockNumber>) -> Result<Roster, ChainError> {
        let mut roster = self.roster.clone();
        roster.block = at.unwrap_or(roster.block);
        Ok(roster)
    }

    async fn genesis(&self) -> Result<String, ChainError> {
        Ok(format!("0x{:064x}", 0))
    }

    async fn standing(&self, _: Netuid) -> Result<Standing, ChainError> {
        Ok(Standing::default())
    }

    fn own_hotkey(&self) -> Option<Hotkey> {
        Some(self.own.clone())
    }

    async fn set_weights(
        &self,
        _: &WeightRequest,
        _: &mut dyn SubmissionJournal,
    ) -> Result<SubmitOutcome, ChainError> {
        Err(ChainError::NoWallet)
    }

    async fn resolve(&self, _: &SignedSubmission) -> Result<SubmitOutcome, ChainError> {
        Err(ChainError::NoWallet)
    }

    async fn reveal(&self, _: &CommitTicket) -> Result<RevealState, ChainError> {
        Err(ChainError::NoWallet)
    }

    async fn weights_of(&self, _: Netuid, _: Uid) -> Result<Vec<(u16, u16)>, ChainError> {
        Ok(Vec::new())
    }
}

/// A store in which nothing is found.
pub struct NoBucket;

#[async_trait]
impl Bucket for NoBucket {
    async fn fetch(
        &self,
        _: &BucketAccess,
        _: &str,
        _: FetchLimits,
    ) -> Result<Fetched, FetchError> {
        Ok(Fetched::Missing {
            answer: "404 NoSuchKey".to_owned(),
        })
    }
}
