//! [`ChainClient`] and a wallet as the port that the scheduler knows.

use crate::preflight::{self, Preflight, judge};
use crate::submit::{OnSigned, PendingExtrinsic, WeightsOrder};
use crate::weights::{as_stored, quantise};
use crate::{At, ChainClient, ChainError, Inclusion, Outcome, Wallet};
use async_trait::async_trait;
use nexis_ports::{
    Chain, ChainError as PortError, CommitTicket, Head, Neuron, Obstacle, RevealState, Roster,
    SignedSubmission, Standing, SubmissionJournal, SubmitOutcome, SubnetParameters, WeightRequest,
};
use nexis_protocol::{BlockNumber, Hotkey, Netuid, Uid};
use std::sync::Arc;
use std::time::Duration;

/// The chain, with or without a key to sign.
#[derive(Clone)]
pub struct ChainPort {
    client: ChainClient,
    wallet: Option<Arc<Wallet>>,
}

impl ChainPort {
    /// Joins a client and, where this process may sign, a wallet.
    pub fn new(client: ChainClient, wallet: Option<Wallet>) -> Self {
        Self {
            client,
            wallet: wallet.map(Arc::new),
        }
    }
}

/// Hands what is signed to the journal of whoever asked.
struct Noting<'a> {
    order: &'a WeightsOrder,
    journal: &'a mut dyn SubmissionJournal,
    refused: bool,
}

#[async_trait]
impl OnSigned for Noting<'_> {
    async fn signed(
        &mut self,
        pending: &PendingExtrinsic,
        commit: Option<&CommitTicket>,
    ) -> Result<(), ChainError> {
        let signed = SignedSubmission {
            netuid: self.order.netuid,
            extrinsic: pending.extrinsic_hash.clone(),
            signed_at: pending.signed_at,
            last_valid: pending.last_valid,
            weights: as_stored(&self.order.uids, &self.order.values),
            commit: commit.cloned(),
        };
        tracing::info!(extrinsic.hash = %signed.extrinsic, signed_at = signed.signed_at,
            last_valid = signed.last_valid, commit = commit.is_some(), "weights signed");
        self.journal.signed(&signed).await.map_err(|_refused| {
            self.refused = true;
            ChainError::Invalid {
                what: "the signed extrinsic".into(),
                detail: "it was not noted".into(),
            }
        })
    }
}

impl ChainPort {
    /// The client that it reads with.
    pub const fn client(&self) -> &ChainClient {
        &self.client
    }

    fn wallet(&self) -> Result<&Wallet, PortError> {
        self.wallet.as_deref().ok_or(PortError::NoWallet)
    }

    /// What an outcome amounts to: weights are read back before they count, a commit waits for its reveal.
    async fn conclude(
        &self,
        outcome: Outcome,
        stored: &[(u16, u16)],
        netuid: Netuid,
        commit: Option<CommitTicket>,
    ) -> Result<SubmitOutcome, PortError> {
        let inclusion = match outcome {
            Outcome::Included(inclusion) => inclusion,
            Outcome::Failed(refusal) => {
                return Ok(SubmitOutcome::Refused {
                    error: refusal.name,
                    remedy: refusal.remedy,
                    retry_at: None,
                });
            }
            Outcome::Unknown(pending) => {
                return Ok(SubmitOutcome::Unknown {
                    detail: pending.detail,
                });
            }
        };
        let Inclusion {
            block,
            block_hash,
            extrinsic_hash: extrinsic,
        } = inclusion;
        if let Some(ticket) = commit {
            return Ok(SubmitOutcome::Committed {
                block,
                extrinsic,
                ticket: self.client.included_ticket(ticket, block).await,
            });
        }
        let at = At::Hash(block_hash);
        let hotkey = self.wallet()?.hotkey();
        let uid = self.client.uid_of(netuid, hotkey, &at).await;
        let found = match uid.map_err(port_error)? {
            Some(uid) => self
                .client
                .weights_of(netuid, uid, &at)
                .await
                .map_err(port_error)?,
            None => Vec::new(),
        };
        if found == stored {
            return Ok(SubmitOutcome::Verified { block, extrinsic });
        }
        let detail =
            format!("extrinsic {extrinsic} is in block {block}, but the chain holds other weights");
        Ok(SubmitOutcome::Unknown { detail })
    }
}

/// What stands in the way, as a refusal.
fn refused_before(preflight: &Preflight) -> Option<SubmitOutcome> {
    let all: Vec<_> = preflight.obstacles().collect();
    let first = all.first()?;
    let say = |c: &&crate::preflight::Condition| {
        format!("{}: {}, needed: {}", c.name, c.current, c.required)
    };
    Some(SubmitOutcome::Refused {
        error: all.iter().map(say).collect::<Vec<_>>().join("; "),
        remedy: first.remedy.clone(),
        retry_at: preflight.clear_at(),
    })
}

fn port_error(fault: ChainError) -> PortError {
    match fault {
        ChainError::StatePruned(what) => {
            let digits: String = what.chars().filter(char::is_ascii_digit).collect();
            PortError::StatePruned(digits.parse().unwrap_or(0))
        }
        ChainError::WrongGenesis { .. }
        | ChainError::Incompatible(_)
        | ChainError::NoSuchSubnet(_)
        | ChainError::Invalid { .. } => PortError::Incompatible(fault.to_string()),
        _ => PortError::Unavailable(fault.to_string()),
    }
}

#[async_trait]
impl Chain for ChainPort {
    async fn head(&self) -> Result<Head, PortError> {
        let head = self.client.head_finalized().await.map_err(port_error)?;
        Ok(Head {
            number: head.number,
            hash: head.hash,
        })
    }

    async fn next_head(&self, after: BlockNumber, at_most: Duration) -> Result<Head, PortError> {
        let head = self
            .client
            .next_finalized(after, at_most)
            .await
            .map_err(port_error)?;
        Ok(Head {
            number: head.number,
            hash: head.hash,
        })
    }

    async fn roster(&self, netuid: Netuid, at: Option<BlockNumber>) -> Result<Roster, PortError> {
        let at = at.map_or(At::Finalized, At::Number);
        let snapshot = match self.client.snapshot(netuid, &at).await {
            // A node that never held the block serves no better than one that has forgotten it.
            Err(ChainError::UnknownBlock(_)) if at != At::Finalized => {
                return Err(PortError::StatePruned(match at {
                    At::Number(number) => number.get(),
                    _ => 0,
                }));
            }
            other => other.map_err(port_error)?,
        };
        Ok(Roster {
            block: snapshot.number,
            hash: snapshot.hash,
            neurons: snapshot
                .neurons
                .into_iter()
                .map(|neuron| Neuron {
                    uid: neuron.uid,
                    hotkey: neuron.hotkey,
                    validator_permit: neuron.validator_permit,
                    stake_rao: neuron.stake_rao,
                    last_update: neuron.last_update,
                })
                .collect(),
            commitments: snapshot
                .commitments
                .iter()
                .filter_map(|(hotkey, found)| Some((hotkey.clone(), found.text()?.to_owned())))
                .collect(),
            raw_commitments: snapshot.raw_commitments,
            unreadable_commitments: snapshot.unreadable_commitments,
            parameters: SubnetParameters {
                tempo: snapshot.hyperparameters.tempo,
                weights_rate_limit: snapshot.hyperparameters.weights_rate_limit,
                weights_version: snapshot.hyperparameters.weights_version,
                min_allowed_weights: snapshot.hyperparameters.min_allowed_weights,
                commit_reveal: snapshot.hyperparameters.commit_reveal,
            },
        })
    }

    async fn genesis(&self) -> Result<String, PortError> {
        if self.client.genesis().is_none() {
            // Any call connects.
            self.client.head_finalized().await.map_err(port_error)?;
        }
        let known = self.client.genesis();
        known.ok_or_else(|| PortError::Unavailable("no endpoint was reached yet".to_owned()))
    }

    async fn standing(&self, netuid: Netuid) -> Result<Standing, PortError> {
        let hotkey = self.wallet()?.hotkey();
        let facts = self.client.facts(netuid).await.map_err(port_error)?;
        let obstacles = judge(&facts, hotkey, None).conditions.into_iter();
        Ok(Standing {
            obstacles: obstacles
                .filter(|condition| condition.standing == preflight::Standing::Unmet)
                .map(|condition| Obstacle {
                    name: condition.name,
                    current: condition.current,
                    required: condition.required,
                    remedy: condition.remedy,
                })
                .collect(),
            last_update: facts.snapshot.neuron(hotkey).map(|own| own.last_update),
        })
    }

    fn own_hotkey(&self) -> Option<Hotkey> {
        self.wallet.as_ref().map(|wallet| wallet.hotkey().clone())
    }

    async fn set_weights(
        &self,
        request: &WeightRequest,
        journal: &mut dyn SubmissionJournal,
    ) -> Result<SubmitOutcome, PortError> {
        let wallet = self.wallet()?;
        let scaled = quantise(&request.uids, &request.weights).map_err(port_error)?;
        let owner_of = |uid: &u16| {
            let at = request.uids.iter().position(|known| known == uid)?;
            request.hotkeys.get(at).cloned()
        };
        let mut order = WeightsOrder {
            netuid: request.netuid,
            mechanism: None,
            owners: scaled.uids.iter().filter_map(owner_of).collect(),
            uids: scaled.uids,
            values: scaled.values,
            version_key: 0,
            not_after: request.not_after,
        };
        let preflight = self
            .client
            .preflight_with(request.netuid, wallet.hotkey(), &mut order)
            .await
            .map_err(port_error)?;
        if let Some(refused) = refused_before(&preflight) {
            return Ok(refused);
        }
        let mut noting = Noting {
            order: &order,
            journal,
            refused: false,
        };
        let report = Box::pin(self.client.submit_weights(wallet, &order, &mut noting)).await;
        if noting.refused {
            return Err(PortError::NotNoted);
        }
        let report = report.map_err(port_error)?;
        let outcome = match report.outcome {
            Outcome::Unknown(pending) => Box::pin(self.client.resolve(&pending)).await,
            known => known,
        };
        let stored = as_stored(&order.uids, &order.values);
        self.conclude(outcome, &stored, request.netuid, report.commit)
            .await
    }

    async fn resolve(&self, signed: &SignedSubmission) -> Result<SubmitOutcome, PortError> {
        let pending = PendingExtrinsic {
            extrinsic_hash: signed.extrinsic.clone(),
            signed_at: signed.signed_at,
            last_valid: signed.last_valid,
            detail: "looking for what was signed before".to_owned(),
        };
        let outcome = Box::pin(self.client.find(&pending)).await;
        self.conclude(
            outcome.map_err(port_error)?,
            &signed.weights,
            signed.netuid,
            signed.commit.clone(),
        )
        .await
    }

    async fn reveal(&self, ticket: &CommitTicket) -> Result<RevealState, PortError> {
        self.client.check_reveal(ticket).await.map_err(port_error)
    }

    async fn weights_of(&self, netuid: Netuid, uid: Uid) -> Result<Vec<(u16, u16)>, PortError> {
        self.client
            .weights_of(netuid, uid, &At::Finalized)
            .await
            .map_err(port_error)
    }
}
