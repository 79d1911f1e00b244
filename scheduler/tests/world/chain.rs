//! A chain that is turned by hand.

use async_trait::async_trait;
use nexis_ports::conformance::still::StillChain;
use nexis_ports::{
    Chain, ChainError, CommitTicket, Head, RevealState, Roster, SignedSubmission, Standing,
    SubmissionJournal, SubmitOutcome, WeightRequest,
};
use nexis_protocol::{BlockNumber, Hotkey, Netuid, Uid};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// Registered hotkeys; uid 0 is the validator.
pub const NEURONS: u8 = 7;

pub fn hotkey(uid: u8) -> Hotkey {
    Hotkey::from_public_key(&[uid + 1; 32])
}

pub fn uid_of(hotkey: &Hotkey) -> u8 {
    hotkey.public_key()[0] - 1
}

/// A chain whose blocks come when the driver says so.
pub struct SimChain {
    pub head: watch::Sender<u64>,
    /// Submissions that reached the chain: block, uids, weights.
    pub submitted: Mutex<Vec<(u64, Vec<u16>, Vec<u16>)>>,
    /// Signatures made.
    pub signed: AtomicU64,
    /// Block of each signature that is on the chain.
    pub included: Mutex<BTreeMap<String, u64>>,
    /// Signatures that were looked for: they have expired.
    pub resolved: Mutex<BTreeSet<String>>,
    /// The next submission reaches the chain, and its caller never hears of it.
    pub swallow: AtomicBool,
    pub swallowed: AtomicBool,
    /// Whether it answers nobody who asks for its head.
    pub unavailable: AtomicBool,
    /// Times its head was asked for.
    pub asked: AtomicU64,
}

impl SimChain {
    pub fn at(head: u64) -> Self {
        Self {
            head: watch::Sender::new(head),
            submitted: Mutex::default(),
            signed: AtomicU64::new(0),
            included: Mutex::default(),
            resolved: Mutex::default(),
            swallow: AtomicBool::new(false),
            swallowed: AtomicBool::new(false),
            unavailable: AtomicBool::new(false),
            asked: AtomicU64::new(0),
        }
    }
}

fn refused(error: &str) -> SubmitOutcome {
    SubmitOutcome::Refused {
        error: error.to_owned(),
        remedy: String::new(),
        retry_at: None,
    }
}

fn head(number: u64) -> Head {
    Head {
        number: BlockNumber::new(number),
        hash: format!("0x{number:064x}"),
    }
}

#[async_trait]
impl Chain for SimChain {
    async fn head(&self) -> Result<Head, ChainError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.unavailable.load(Ordering::SeqCst) {
            return Err(ChainError::Unavailable("switched off".to_owned()));
        }
        Ok(head(*self.head.borrow()))
    }

    async fn next_head(&self, after: BlockNumber, at_most: Duration) -> Result<Head, ChainError> {
        let mut heads = self.head.subscribe();
        let newer = heads.wait_for(|head| *head > after.get());
        let _timeout_is_an_answer_too = tokio::time::timeout(at_most, newer).await.is_err();
        Ok(head(*self.head.borrow()))
    }

    async fn roster(&self, _: Netuid, at: Option<BlockNumber>) -> Result<Roster, ChainError> {
        let block = at.map_or(*self.head.borrow(), BlockNumber::get);
        let last_update = self
            .submitted
            .lock()
            .unwrap()
            .last()
            .map_or(0, |(block, ..)| *block);
        let own = hotkey(0);
        let mut roster = StillChain::new(block, (0..NEURONS).map(hotkey), own).roster;
        roster.hash = head(block).hash;
        // An account each.
        let commitment = |uid: u8| format!("{uid:032x}{}", "a".repeat(96));
        let commitments = (1..NEURONS).map(|uid| (hotkey(uid), commitment(uid)));
        roster.commitments = commitments.collect();
        if let Some(own) = roster.neurons.first_mut() {
            own.validator_permit = true;
            own.last_update = last_update;
        }
        Ok(roster)
    }

    async fn genesis(&self) -> Result<String, ChainError> {
        Ok(format!("0x{:064x}", 0))
    }

    async fn standing(&self, _: Netuid) -> Result<Standing, ChainError> {
        let submitted = self.submitted.lock().unwrap();
        Ok(Standing {
            obstacles: Vec::new(),
            last_update: submitted.last().map(|(block, ..)| *block),
        })
    }

    fn own_hotkey(&self) -> Option<Hotkey> {
        Some(hotkey(0))
    }

    async fn set_weights(
        &self,
        request: &WeightRequest,
        journal: &mut dyn SubmissionJournal,
    ) -> Result<SubmitOutcome, ChainError> {
        let scaled =
            nexis_protocol::weights::scale_to_u16(&request.uids, &request.weights).unwrap();
        let block = *self.head.borrow();
        let count = self.signed.fetch_add(1, Ordering::SeqCst);
        let signed = SignedSubmission {
            netuid: request.netuid,
            extrinsic: format!("0x{count:064x}"),
            signed_at: block,
            last_valid: block + 16,
            weights: scaled.clone(),
            commit: None,
        };
        journal.signed(&signed).await?;
        let (uids, shares) = scaled.into_iter().unzip();
        let block = *self.head.borrow();
        {
            // As on the chain, a signature is good for one place.
            let mut submitted = self.submitted.lock().unwrap();
            if self.resolved.lock().unwrap().contains(&signed.extrinsic) {
                return Ok(refused("Outdated"));
            }
            submitted.push((block, uids, shares));
            self.included
                .lock()
                .unwrap()
                .insert(signed.extrinsic.clone(), block);
        }
        if self.swallow.swap(false, Ordering::SeqCst) {
            self.swallowed.store(true, Ordering::SeqCst);
            std::future::pending::<()>().await;
        }
        Ok(SubmitOutcome::Verified {
            block,
            extrinsic: signed.extrinsic,
        })
    }

    /// Time stands still while anything is left to do: a signature that is looked for and not there expires.
    async fn resolve(&self, signed: &SignedSubmission) -> Result<SubmitOutcome, ChainError> {
        let _no_submission_in_between = self.submitted.lock().unwrap();
        let included = self
            .included
            .lock()
            .unwrap()
            .get(&signed.extrinsic)
            .copied();
        self.resolved
            .lock()
            .unwrap()
            .insert(signed.extrinsic.clone());
        Ok(match included {
            Some(block) => SubmitOutcome::Verified {
                block,
                extrinsic: signed.extrinsic.clone(),
            },
            None => refused("NeverIncluded"),
        })
    }

    async fn reveal(&self, _: &CommitTicket) -> Result<RevealState, ChainError> {
        Ok(RevealState::Unseen) // This chain has no commits.
    }

    async fn weights_of(&self, _: Netuid, _: Uid) -> Result<Vec<(u16, u16)>, ChainError> {
        let submitted = self.submitted.lock().unwrap();
        Ok(submitted.last().map_or_else(Vec::new, |(_, uids, shares)| {
            uids.iter().copied().zip(shares.iter().copied()).collect()
        }))
    }
}
