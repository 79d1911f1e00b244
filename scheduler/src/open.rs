//! Opening a round: who counts, by which rules, under which seed. The plan goes to the archive first, so that a
//! round whose board was lost is opened again with the very same plan.

use crate::context::Scheduler;
use crate::error::SchedulerError;
use crate::event::Event;
use crate::round::At;
use crate::{ledger, reduce};
use nexis_ports::{ChainError, FetchLimits, Fetched, Roster, Write};
use nexis_protocol::calendar::Calendar;
use nexis_protocol::record_info::RecordIndex;
use nexis_protocol::{BlockNumber, Digest, Hotkey, IntervalId, JobId, candidates};
use nexis_wire::{PlannedMiner, RoundPlan, Wire};
use std::collections::BTreeSet;

/// What opening came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Opened {
    /// The round is open.
    Open,
    /// Its decisions are in the archive already.
    Decided,
}

pub(crate) async fn open_round(scheduler: &Scheduler, at: At) -> Result<Opened, SchedulerError> {
    let archive = scheduler.ports.archive.as_ref();
    let board = scheduler.ports.board.as_ref();
    let At {
        epoch,
        head,
        interval,
    } = at;
    if ledger::is_decided(archive, interval).await? {
        return Ok(Opened::Decided);
    }
    let mut plan = match ledger::load_plan(archive, interval).await? {
        Some(plan) => plan,
        None => {
            let plan = make_plan(scheduler, interval, head).await?;
            ledger::keep_plan(archive, plan).await?
        }
    };
    // A plan from before a long outage would close at once; waiting is counted from now.
    plan.miners_deadline = plan
        .miners_deadline
        .max(head.get() + scheduler.options.miners_deadline_blocks);
    plan.clips_deadline = plan
        .clips_deadline
        .max(head.get() + scheduler.options.clips_deadline_blocks);
    let expected: Vec<JobId> = reduce::miner_ids(&plan);
    let bytes = plan.encode();
    let opened = board.open(epoch, interval, bytes.clone(), &expected);
    if opened.await? == Write::Retired {
        tracing::warn!(
            "the board has this interval as decided, and the archive, which was restored or changed, has no decisions \
             of it: it is decided again"
        );
        board.discard(epoch, interval).await?;
        board.open(epoch, interval, bytes, &expected).await?;
    }
    tracing::info!(interval.id = %interval, miners = plan.miners.len(), "round opened");
    scheduler.emit(&Event::Opened {
        interval,
        miners: plan.miners.len(),
    });
    Ok(Opened::Open)
}

async fn make_plan(
    scheduler: &Scheduler,
    interval: IntervalId,
    head: BlockNumber,
) -> Result<RoundPlan, SchedulerError> {
    let options = &scheduler.options;
    let calendar = Calendar::of(&options.rules.profile);
    debug_assert!(calendar.is_interval(interval), "{interval} is off the grid");
    let settled = calendar.eligible_from(interval);
    let roster = roster_at(scheduler, settled.min(head)).await?;
    let index = read_index(scheduler).await?;
    let text = index.serialize();
    let digest = Digest::of(text.as_bytes());
    ledger::store_index(scheduler.ports.archive.as_ref(), digest, &text).await?;
    let seed = nexis_protocol::sampling::interval_seed(interval);
    let candidates = candidates(&roster, &options.exclude)?;
    let miners = reduce::draw_miners(&options.rules, &seed, candidates, &[])
        .into_iter()
        .map(|hotkey| PlannedMiner {
            commitment: roster.commitments.get(&hotkey).cloned(),
            hotkey,
        })
        .collect();
    Ok(RoundPlan {
        interval,
        rules: options.rules.clone(),
        roster_block: roster.block.get(),
        roster_hash: roster.hash,
        validator: scheduler.ports.chain.own_hotkey(),
        seed,
        invalid: Vec::new(),
        miners,
        index: digest,
        miners_deadline: head.get() + options.miners_deadline_blocks,
        clips_deadline: head.get() + options.clips_deadline_blocks,
    })
}

/// Who can be drawn. Commitments none of which can be decoded are a fault of ours (a runtime that this version does
/// not know), never a finding that nobody committed.
fn candidates(roster: &Roster, exclude: &BTreeSet<String>) -> Result<Vec<Hotkey>, SchedulerError> {
    let raw = roster.raw_commitments;
    if raw > 0 && roster.unreadable_commitments == raw {
        return Err(SchedulerError::Commitments { raw });
    }
    Ok(candidates::candidates(
        roster.neurons.iter().map(|neuron| &neuron.hotkey),
        |hotkey| roster.commitments.get(hotkey).map(String::as_str),
        |hotkey| exclude.contains(hotkey.as_str()),
    ))
}

/// The roster at the first block at which the interval was eligible; nodes that have forgotten that block's
/// state give the newest one instead (the plan says which block it was).
async fn roster_at(scheduler: &Scheduler, at: BlockNumber) -> Result<Roster, SchedulerError> {
    match scheduler
        .ports
        .chain
        .roster(scheduler.netuid(), Some(at))
        .await
    {
        Err(ChainError::StatePruned(block)) => {
            tracing::warn!(
                block,
                "the node has forgotten that block: taking the newest roster"
            );
            Ok(scheduler
                .ports
                .chain
                .roster(scheduler.netuid(), None)
                .await?)
        }
        other => Ok(other?),
    }
}

/// The global overlap index. "There is none" is an empty one; "could not be read" is not (PROTOCOL §13).
async fn read_index(scheduler: &Scheduler) -> Result<RecordIndex, SchedulerError> {
    let Some((access, key)) = &scheduler.options.record_info else {
        return Ok(RecordIndex::default());
    };
    let index = &scheduler.options.index;
    let bucket = scheduler.ports.bucket.as_ref();
    let limits = FetchLimits::new(index.max_bytes, index.budget);
    // A store that does not answer is reported soon; only one that sends bytes may take the whole budget.
    let short = FetchLimits {
        budget: index.budget.min(scheduler.options.lease / 2),
        ..limits
    };
    let first = bucket.fetch(access, key, short).await;
    let fetched = match first {
        Ok(Fetched::TooSlow { .. }) if short.budget < limits.budget => {
            bucket.fetch(access, key, limits).await
        }
        other => other,
    };
    match fetched {
        Ok(Fetched::Found(object)) => RecordIndex::parse(&object.bytes)
            .map_err(|fault| SchedulerError::Index(fault.to_string())),
        Ok(Fetched::Missing { .. }) => Ok(RecordIndex::default()),
        Ok(Fetched::TooLarge { bytes }) => Err(SchedulerError::IndexTooLarge {
            bytes,
            most: limits.max_bytes,
        }),
        Ok(Fetched::Unreachable { last } | Fetched::TooSlow { last }) => {
            Err(SchedulerError::Index(last))
        }
        Err(fault) => Err(SchedulerError::Index(fault.to_string())),
    }
}
