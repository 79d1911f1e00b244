//! Sending, following, and finding out.
//!
//! Every attempt ends as one of three: in a final block and executed, refused with a name, or
//! unknown. Unknown is resolved by looking at final blocks until the signature has expired, never by
//! sending again blindly. One flight per hotkey at a time.

use crate::calls::Call;
use crate::client::{At, AtBlock, ChainClient, parse_hash, show};
use crate::error::ChainError;
use crate::refusal::{PoolAnswer, Refusal, Verdict, of_pool, of_validation};
use crate::wallet::Wallet;
use crate::weights::as_stored;
use async_trait::async_trait;
use nexis_ports::CommitTicket;
use nexis_protocol::{BlockNumber, Hotkey, Netuid};
use parity_scale_codec::Decode as _;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use subxt::SubstrateConfig;
use subxt::config::substrate::BlakeTwo256;
use subxt::config::{DefaultExtrinsicParamsBuilder, Hasher as _};
use subxt::error::DispatchError;
use subxt::events::Phase;
use subxt::transactions::{SubmittableTransaction, ValidationResult};
use subxt::utils::{AccountId32, H256};
use subxt_rpcs::methods::legacy::TransactionStatus;
use tokio::time::{Instant, sleep, timeout};

/// Blocks for which a signature is good, longest first: short, so that a stuck one dies before the next attempt;
/// the shorter ones are for the end of an epoch.
const MORTALITIES: [u64; 3] = [16, 8, 4];
/// Times we sign anew in one attempt when the nonce or the runtime moved under us.
const SIGNATURES: u32 = 3;

/// An extrinsic that is in a final block and was executed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inclusion {
    /// Height of the block.
    pub block: u64,
    /// Its hash, hex with 0x.
    pub block_hash: String,
    /// Hash of the extrinsic, hex with 0x.
    pub extrinsic_hash: String,
}

/// A signed extrinsic. Keep it before it is sent: after a crash it tells where to look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingExtrinsic {
    /// Its hash, hex with 0x.
    pub extrinsic_hash: String,
    /// Block it was signed at; it can only be in later ones.
    pub signed_at: u64,
    /// Last block that can hold it.
    pub last_valid: u64,
    /// What happened.
    pub detail: String,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// In a final block and executed.
    Included(Inclusion),
    /// Refused, by name.
    Failed(Refusal),
    /// We cannot tell yet: give it to [`ChainClient::resolve`] before anything else is sent.
    Unknown(PendingExtrinsic),
}

/// Weights to set or commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightsOrder {
    /// The subnet.
    pub netuid: Netuid,
    /// The mechanism; none is the first one.
    pub mechanism: Option<u8>,
    /// Slots.
    pub uids: Vec<u16>,
    /// Shares, the largest being `u16::MAX` (see [`crate::weights::quantise`]).
    pub values: Vec<u16>,
    /// Our version key.
    pub version_key: u64,
    /// Whose slots these are, same length; empty: not looked at. When one belongs to somebody else at the block
    /// that we sign at, nothing is sent.
    pub owners: Vec<Hotkey>,
    /// The last block that may hold the extrinsic.
    pub not_after: Option<BlockNumber>,
}

/// What became of a [`WeightsOrder`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightsReport {
    /// How the attempt ended.
    pub outcome: Outcome,
    /// Whether the weights (or the commit) were read back from the chain as sent.
    pub verified: bool,
    /// When the weights were committed: what to look for at the reveal.
    pub commit: Option<CommitTicket>,
}

/// Sees what is about to be sent, so that it can be kept.
#[async_trait]
pub trait OnSigned: Send {
    /// Called with each signature before it is sent; an error ends the attempt with nothing sent.
    async fn signed(
        &mut self,
        pending: &PendingExtrinsic,
        commit: Option<&CommitTicket>,
    ) -> Result<(), ChainError>;
}

/// Kept in memory only.
#[async_trait]
impl OnSigned for Vec<PendingExtrinsic> {
    async fn signed(
        &mut self,
        pending: &PendingExtrinsic,
        _: Option<&CommitTicket>,
    ) -> Result<(), ChainError> {
        self.push(pending.clone());
        Ok(())
    }
}

/// What a submission is bound to besides its call.
#[derive(Clone, Copy, Default)]
struct Terms<'a> {
    order: Option<&'a WeightsOrder>,
    commit: Option<&'a CommitTicket>,
}

impl Terms<'_> {
    /// Blocks for which a signature made at a block is good; `None`: no block is left.
    fn mortality(&self, signed_at: u64) -> Option<u64> {
        let last = self.order.and_then(|order| order.not_after);
        MORTALITIES
            .into_iter()
            .find(|blocks| last.is_none_or(|last| signed_at + blocks - 1 <= last.get()))
    }
}

/// Number under which a mechanism's weights are stored.
pub(crate) fn storage_index(netuid: Netuid, mechanism: Option<u8>) -> u16 {
    u16::from(mechanism.unwrap_or(0))
        .saturating_mul(4096)
        .saturating_add(netuid.get())
}

enum Step {
    Done(Outcome),
    Again(Refusal),
}

impl ChainClient {
    /// Publishes a commitment of at most 128 bytes.
    pub async fn set_commitment(
        &self,
        wallet: &Wallet,
        netuid: Netuid,
        data: Vec<u8>,
    ) -> Result<Outcome, ChainError> {
        let call = Call::SetCommitment { netuid, data };
        self.submit(wallet, &call, &mut Vec::new()).await
    }

    /// Sets the weights, or commits them when the subnet has commit-reveal switched on at the block
    /// that we sign at; then reads them back.
    ///
    /// An error means that nothing was sent. Everything after sending is an [`Outcome`].
    pub async fn submit_weights(
        &self,
        wallet: &Wallet,
        order: &WeightsOrder,
        on_signed: &mut dyn OnSigned,
    ) -> Result<WeightsReport, ChainError> {
        // To the end: only the node that took the extrinsic knows of it before it is in a block, and another one may
        // be some blocks behind when we read back.
        let _stay = self.inner.pool.stay();
        let view = self.at(&At::Best).await?;
        let key = (order.netuid.get(),);
        let commit: bool = self
            .read(&view, "SubtensorModule", "CommitRevealWeightsEnabled", key)
            .await?;
        let (call, ticket) = if commit {
            let (call, ticket) = self.prepare_commit(wallet, order, &view).await?;
            (call, Some(ticket))
        } else {
            (set_call(order), None)
        };
        let terms = Terms {
            order: Some(order),
            commit: ticket.as_ref(),
        };
        let outcome = Box::pin(self.submit_under(wallet, &call, terms, on_signed)).await?;
        let Outcome::Included(inclusion) = &outcome else {
            return Ok(WeightsReport {
                outcome,
                verified: false,
                commit: ticket,
            });
        };
        let commit = match ticket {
            Some(ticket) => Some(self.included_ticket(ticket, inclusion.block).await),
            None => None,
        };
        let at = At::Hash(inclusion.block_hash.clone());
        let checked = match &commit {
            Some(ticket) => self.commit_is_stored(ticket, &at).await,
            None => self.weights_are_stored(wallet, order, &at).await,
        };
        let verified = checked.unwrap_or_else(|error| {
            tracing::warn!(%error, "weights are on the chain, reading them back failed");
            false
        });
        Ok(WeightsReport {
            outcome,
            verified,
            commit,
        })
    }

    /// Whether the chain holds exactly these weights.
    pub async fn weights_are_stored(
        &self,
        wallet: &Wallet,
        order: &WeightsOrder,
        at: &At,
    ) -> Result<bool, ChainError> {
        let Some(uid) = self.uid_of(order.netuid, wallet.hotkey(), at).await? else {
            return Ok(false);
        };
        let view = self.at(at).await?;
        let index = storage_index(order.netuid, order.mechanism);
        let found: Vec<(u16, u16)> = self
            .read(&view, "SubtensorModule", "Weights", (index, uid.get()))
            .await?;
        Ok(found == as_stored(&order.uids, &order.values))
    }

    /// Signs, validates, sends and follows one call to its end.
    ///
    /// `on_signed` sees each signature before it is sent. An error means that nothing was sent.
    pub async fn submit(
        &self,
        wallet: &Wallet,
        call: &Call,
        on_signed: &mut dyn OnSigned,
    ) -> Result<Outcome, ChainError> {
        self.submit_under(wallet, call, Terms::default(), on_signed)
            .await
    }

    async fn submit_under(
        &self,
        wallet: &Wallet,
        call: &Call,
        terms: Terms<'_>,
        on_signed: &mut dyn OnSigned,
    ) -> Result<Outcome, ChainError> {
        let flight = {
            let mut flights = self
                .inner
                .flights
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            Arc::clone(flights.entry(wallet.hotkey().public_key()).or_default())
        };
        let _alone = flight.lock().await;
        let _stay = self.inner.pool.stay();
        let mut last = None;
        for attempt in 0..SIGNATURES {
            if attempt > 0 {
                sleep(self.block_time().await?.min(Duration::from_secs(6)) / 2).await;
            }
            match Box::pin(self.attempt(wallet, call, terms, on_signed)).await? {
                Step::Done(outcome) => return Ok(outcome),
                Step::Again(refusal) => {
                    tracing::info!(call = call.name(), why = refusal.name, "signing anew");
                    last = Some(refusal);
                }
            }
        }
        Ok(Outcome::Failed(
            last.unwrap_or_else(|| Refusal::named("NeverIncluded")),
        ))
    }

    /// Why nothing may be signed at this block, when so.
    async fn hindrance(
        &self,
        view: &AtBlock,
        call: &Call,
        terms: Terms<'_>,
    ) -> Result<Option<&'static str>, ChainError> {
        if let Some(check) = self.self_check()
            && !check.allows(call.need())
        {
            let names = check.missing_for(call.need()).join(", ");
            tracing::error!(
                call = call.name(),
                names,
                "the runtime lacks what this call needs"
            );
            return Ok(Some("RuntimeIncompatible"));
        }
        let Some(order) = terms.order.filter(|order| !order.owners.is_empty()) else {
            return Ok(None);
        };
        let snapshot = self
            .snapshot(order.netuid, &At::Hash(show(view.block_hash())))
            .await?;
        let moved = order.uids.iter().zip(&order.owners).find(|(uid, owner)| {
            snapshot
                .neuron(owner)
                .is_none_or(|neuron| neuron.uid.get() != **uid)
        });
        if let Some((uid, owner)) = moved {
            let block = view.block_number();
            tracing::warn!(block, uid, %owner, "the slot is not this hotkey's any more: nothing was sent");
            return Ok(Some("SlotsChanged"));
        }
        Ok(None)
    }

    async fn attempt(
        &self,
        wallet: &Wallet,
        call: &Call,
        terms: Terms<'_>,
        on_signed: &mut dyn OnSigned,
    ) -> Result<Step, ChainError> {
        let view = self.at(&At::Best).await?;
        if let Some(name) = self.hindrance(&view, call, terms).await? {
            return Ok(Step::Done(Outcome::Failed(Refusal::named(name))));
        }
        let Some(mortality) = terms.mortality(view.block_number()) else {
            return Ok(Step::Done(Outcome::Failed(Refusal::named("EpochOver"))));
        };
        let (signed, bytes) = self.sign_at(&view, wallet, call, mortality).await?;
        let mut pending = PendingExtrinsic {
            extrinsic_hash: show(BlakeTwo256.hash(&bytes)),
            signed_at: view.block_number(),
            last_valid: view.block_number() + mortality,
            detail: String::new(),
        };
        match self
            .timed("validating the extrinsic", signed.validate())
            .await
        {
            Ok(result) => {
                if let Some((refusal, verdict)) = of_validation(&result) {
                    return Ok(match verdict {
                        Verdict::SignAgain => Step::Again(refusal),
                        Verdict::Final => Step::Done(Outcome::Failed(refusal)),
                    });
                }
                debug_assert!(
                    matches!(result, ValidationResult::Valid(_)),
                    "of_validation says so"
                );
            }
            Err(error) if error.is_transient() => return Err(error),
            Err(error) => tracing::warn!(%error, "the node does not validate, sending anyway"),
        }
        on_signed.signed(&pending, terms.commit).await?;
        let legacy = self.legacy();
        let mut watch = match legacy.author_submit_and_watch_extrinsic(&bytes).await {
            Ok(watch) => watch,
            Err(subxt_rpcs::Error::User(user)) => match of_pool(user.code, &user.message) {
                PoolAnswer::Refused(refusal, Verdict::SignAgain) => {
                    return Ok(Step::Again(refusal));
                }
                PoolAnswer::Refused(refusal, Verdict::Final) => {
                    return Ok(Step::Done(Outcome::Failed(refusal)));
                }
                PoolAnswer::Unclear(detail) => {
                    pending.detail = detail;
                    return Ok(Step::Done(self.resolve(&pending).await));
                }
            },
            Err(other) => {
                pending.detail = format!("sending: {other}");
                return Ok(Step::Done(self.resolve(&pending).await));
            }
        };
        let patience = self.patience().await;
        let deadline = Instant::now() + patience;
        pending.detail = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match timeout(left, watch.next()).await {
                Err(_) => break format!("no end within {patience:?}"),
                Ok(None) => break "the node stopped reporting".to_owned(),
                Ok(Some(Err(error))) => break format!("following: {error}"),
                Ok(Some(Ok(status))) => match status {
                    TransactionStatus::Finalized(hash) => {
                        match self.look_into(hash, &pending.extrinsic_hash).await {
                            Ok(Some(outcome)) => return Ok(Step::Done(outcome)),
                            Ok(None) => break "the reported block does not hold it".to_owned(),
                            Err(error) => break error.to_string(),
                        }
                    }
                    TransactionStatus::Usurped(_)
                    | TransactionStatus::Dropped
                    | TransactionStatus::Invalid
                    | TransactionStatus::FinalityTimeout(_) => break format!("{status:?}"),
                    _ => {}
                },
            }
        };
        drop(watch);
        Ok(Step::Done(self.resolve(&pending).await))
    }

    async fn sign_at(
        &self,
        view: &AtBlock,
        wallet: &Wallet,
        call: &Call,
        mortality: u64,
    ) -> Result<
        (
            SubmittableTransaction<
                SubstrateConfig,
                subxt::client::OnlineClientAtBlockImpl<SubstrateConfig>,
            >,
            Vec<u8>,
        ),
        ChainError,
    > {
        let account = AccountId32(wallet.hotkey().public_key());
        // Counts the pool, unlike subxt's own default.
        let nonce = self
            .legacy()
            .system_account_next_index(&account)
            .await
            .map_err(|e| self.rpc_error("the hotkey's nonce", &e))?;
        let params = DefaultExtrinsicParamsBuilder::<SubstrateConfig>::new()
            .mortal_from_unchecked(mortality, view.block_number(), view.block_hash())
            .nonce(nonce)
            .build();
        let payload = call.payload()?;
        let mut signable = view
            .transactions()
            .create_signable_offline(&payload, params)
            .map_err(|e| ChainError::of(call.name(), e))?;
        let signed = signable
            .sign(wallet)
            .map_err(|e| ChainError::of(call.name(), e))?;
        let bytes = signed.encoded().to_vec();
        Ok((signed, bytes))
    }

    /// Time within which a signed extrinsic must have ended.
    async fn patience(&self) -> Duration {
        let block = self.block_time().await.unwrap_or(Duration::from_secs(12));
        let [longest, ..] = MORTALITIES;
        let blocks = u32::try_from(longest).unwrap_or(16) + 10;
        block * blocks + Duration::from_secs(5)
    }

    /// Finds out what became of a signed extrinsic by walking the final blocks it can be in.
    ///
    /// Waits until its signature has expired. Ends as [`Outcome::Unknown`] only when the chain cannot
    /// be read for that long, or the node has forgotten how it ended.
    pub async fn resolve(&self, pending: &PendingExtrinsic) -> Outcome {
        self.find(pending).await.unwrap_or_else(|forgotten| {
            Outcome::Unknown(PendingExtrinsic {
                detail: forgotten.to_string(),
                ..pending.clone()
            })
        })
    }

    /// The same; an error says that a block holds it whose state the node has discarded, which no waiting mends.
    pub(crate) async fn find(&self, pending: &PendingExtrinsic) -> Result<Outcome, ChainError> {
        let deadline = Instant::now() + self.patience().await + self.read_budget();
        let pause = self.block_time().await.unwrap_or(Duration::from_secs(12)) / 2;
        let mut next = pending.signed_at + 1;
        let mut trouble = pending.detail.clone();
        tracing::info!(
            extrinsic = pending.extrinsic_hash,
            trouble,
            "looking for it on the chain"
        );
        loop {
            match self.search(&mut next, pending).await {
                Ok(Some(outcome)) => return Ok(outcome),
                Ok(None) => {}
                Err(forgotten @ ChainError::StatePruned(_)) => return Err(forgotten),
                Err(error) => trouble = error.to_string(),
            }
            if Instant::now() >= deadline {
                return Ok(Outcome::Unknown(PendingExtrinsic {
                    detail: trouble,
                    ..pending.clone()
                }));
            }
            sleep(pause.max(Duration::from_millis(20))).await;
        }
    }

    async fn search(
        &self,
        next: &mut u64,
        pending: &PendingExtrinsic,
    ) -> Result<Option<Outcome>, ChainError> {
        let end = self.head_finalized().await?.number.get();
        while *next <= end.min(pending.last_valid) {
            let head = self.head_at(BlockNumber::new(*next)).await?;
            let hash = parse_hash(&head.hash)?;
            if let Some(outcome) = self.look_into(hash, &pending.extrinsic_hash).await? {
                return Ok(Some(outcome));
            }
            *next += 1;
        }
        let expired = *next > pending.last_valid;
        Ok(expired.then(|| Outcome::Failed(Refusal::named("NeverIncluded"))))
    }

    /// What a block says about an extrinsic; `None` when it does not hold it.
    async fn look_into(&self, block: H256, extrinsic: &str) -> Result<Option<Outcome>, ChainError> {
        let what = format!("block {}", show(block));
        let details = self
            .legacy()
            .chain_get_block(Some(block))
            .await
            .map_err(|e| self.rpc_error(&what, &e))?
            .ok_or_else(|| ChainError::UnknownBlock(what.clone()))?;
        let wanted = parse_hash(extrinsic)?;
        let position = details
            .block
            .extrinsics
            .iter()
            .position(|bytes| BlakeTwo256.hash(&bytes.0) == wanted);
        let Some(position) = position.and_then(|p| u32::try_from(p).ok()) else {
            return Ok(None);
        };
        let view = self.at(&At::Hash(show(block))).await?;
        let number = view.block_number();
        let events = self
            .timed("the block's events", view.events().fetch())
            .await?;
        for event in events.iter() {
            let event = event.map_err(|e| ChainError::of("an event", e))?;
            if event.phase() != Phase::ApplyExtrinsic(position) || event.pallet_name() != "System" {
                continue;
            }
            match event.event_name() {
                "ExtrinsicSuccess" => {
                    return Ok(Some(Outcome::Included(Inclusion {
                        block: number,
                        block_hash: show(block),
                        extrinsic_hash: extrinsic.to_owned(),
                    })));
                }
                "ExtrinsicFailed" => {
                    let name = dispatch_name(event.field_bytes(), &view);
                    return Ok(Some(Outcome::Failed(Refusal::included(name, number))));
                }
                _ => {}
            }
        }
        Err(ChainError::Decode {
            what,
            detail: "the block does not say how the extrinsic ended".into(),
        })
    }
}

fn set_call(order: &WeightsOrder) -> Call {
    Call::SetWeights {
        netuid: order.netuid,
        mechanism: order.mechanism,
        uids: order.uids.clone(),
        values: order.values.clone(),
        version_key: order.version_key,
    }
}

/// Name of the error in an `ExtrinsicFailed` event.
fn dispatch_name(bytes: &[u8], view: &AtBlock) -> String {
    match DispatchError::decode_from(bytes, view.metadata()) {
        Ok(DispatchError::Module(module)) => match module.details() {
            Ok(details) => details.variant.name.clone(),
            Err(_) => format!("ModuleError{:?}", module.bytes()),
        },
        Ok(other) => format!("{other:?}"),
        // At least the kind: the first byte numbers the variant.
        Err(_) => format!(
            "DispatchError{}",
            u8::decode(&mut &*bytes).unwrap_or(u8::MAX)
        ),
    }
}
