//! [`ChainClient`] and a wallet as the port that the scheduler knows.

use crate::commit_reveal::CommitTicket;
use crate::submit::WeightsOrder;
use crate::weights::quantise;
use crate::{At, ChainClient, ChainError, Inclusion, Outcome, Wallet};
use async_trait::async_trait;
use nexis_ports::{
    Chain, ChainError as PortError, Head, Neuron, Roster, SubmitOutcome, SubnetParameters,
    WeightRequest,
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

impl ChainPort {
    /// What an extrinsic in a block amounts to: a commit, or weights that were read back.
    async fn included(
        &self,
        wallet: &Wallet,
        order: &WeightsOrder,
        inclusion: Inclusion,
        commit: Option<&CommitTicket>,
        verified: bool,
    ) -> Result<SubmitOutcome, PortError> {
        let Inclusion {
            block,
            block_hash,
            extrinsic_hash: extrinsic,
        } = inclusion;
        if let Some(ticket) = commit {
            return Ok(SubmitOutcome::Committed {
                block,
                extrinsic,
                reveal_round: ticket.reveal_round,
            });
        }
        let at = At::Hash(block_hash);
        let stored = verified
            || self
                .client
                .weights_are_stored(wallet, order, &at)
                .await
                .map_err(port_error)?;
        if stored {
            return Ok(SubmitOutcome::Verified { block, extrinsic });
        }
        let detail =
            format!("extrinsic {extrinsic} is in block {block}, but the chain holds other weights");
        Ok(SubmitOutcome::Unknown { detail })
    }
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
            parameters: SubnetParameters {
                tempo: snapshot.hyperparameters.tempo,
                weights_rate_limit: snapshot.hyperparameters.weights_rate_limit,
                weights_version: snapshot.hyperparameters.weights_version,
                min_allowed_weights: snapshot.hyperparameters.min_allowed_weights,
                commit_reveal: snapshot.hyperparameters.commit_reveal,
            },
        })
    }

    fn own_hotkey(&self) -> Option<Hotkey> {
        self.wallet.as_ref().map(|wallet| wallet.hotkey().clone())
    }

    async fn set_weights(&self, request: &WeightRequest) -> Result<SubmitOutcome, PortError> {
        let wallet = self.wallet.as_ref().ok_or(PortError::NoWallet)?;
        let snapshot = self
            .client
            .snapshot(request.netuid, &At::Best)
            .await
            .map_err(port_error)?;
        let scaled = quantise(&request.uids, &request.weights).map_err(port_error)?;
        let order = WeightsOrder {
            netuid: request.netuid,
            mechanism: None,
            uids: scaled.uids,
            values: scaled.values,
            version_key: snapshot.hyperparameters.weights_version,
        };
        let report = Box::pin(self.client.submit_weights(wallet, &order, &mut |pending| {
            tracing::info!(extrinsic.hash = %pending.extrinsic_hash, signed_at = pending.signed_at,
                last_valid = pending.last_valid, "weights signed");
        }))
        .await
        .map_err(port_error)?;
        let outcome = match report.outcome {
            Outcome::Unknown(pending) => Box::pin(self.client.resolve(&pending)).await,
            known => known,
        };
        Ok(match outcome {
            Outcome::Included(inclusion) => {
                let ticket = report.commit.as_ref();
                self.included(wallet, &order, inclusion, ticket, report.verified)
                    .await?
            }
            Outcome::Failed(refusal) => SubmitOutcome::Refused {
                error: refusal.name,
                remedy: refusal.remedy,
                retry_at: None,
            },
            Outcome::Unknown(pending) => SubmitOutcome::Unknown {
                detail: pending.detail,
            },
        })
    }

    async fn weights_of(&self, netuid: Netuid, uid: Uid) -> Result<Vec<(u16, u16)>, PortError> {
        self.client
            .weights_of(netuid, uid, &At::Finalized)
            .await
            .map_err(port_error)
    }
}
