//! Opening a round: who counts, by which rules, under which seed. The plan goes to the archive first, so that a
//! round whose board was lost is opened again with the very same plan.

use crate::context::Scheduler;
use crate::error::SchedulerError;
use crate::event::Event;
use crate::{ledger, reduce};
use nexis_ports::{ChainError, FetchLimits, Fetched, Roster};
use nexis_protocol::calendar::Calendar;
use nexis_protocol::record_info::RecordIndex;
use nexis_protocol::{BlockNumber, Digest, IntervalId, JobId, LeaderEpoch};
use nexis_wire::{PlannedMiner, RoundPlan, Wire};

/// Largest record-info object. 64 MiB hold some three million clip starts.
const MAX_RECORD_INFO_BYTES: u64 = 64 << 20;

pub(crate) async fn open_round(
    scheduler: &Scheduler,
    epoch: LeaderEpoch,
    interval: IntervalId,
    head: BlockNumber,
) -> Result<(), SchedulerError> {
    let archive = scheduler.ports.archive.as_ref();
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
    scheduler
        .ports
        .board
        .open(epoch, interval, plan.encode(), &expected)
        .await?;
    tracing::info!(interval.id = %interval, miners = plan.miners.len(), "round opened");
    scheduler.emit(&Event::Opened {
        interval,
        miners: plan.miners.len(),
    });
    Ok(())
}

async fn make_plan(
    scheduler: &Scheduler,
    interval: IntervalId,
    head: BlockNumber,
) -> Result<RoundPlan, SchedulerError> {
    let options = &scheduler.options;
    let settled = Calendar::of(&options.rules.profile).eligible_from(interval);
    let roster = roster_at(scheduler, settled.min(head)).await?;
    let index = read_index(scheduler).await?;
    let text = index.serialize();
    let digest = Digest::of(text.as_bytes());
    ledger::store_index(scheduler.ports.archive.as_ref(), digest, &text).await?;
    let seed = nexis_protocol::sampling::interval_seed(interval);
    let candidates = roster
        .neurons
        .iter()
        .map(|neuron| neuron.hotkey.clone())
        .filter(|hotkey| !options.exclude.contains(hotkey.as_str()));
    let miners = reduce::draw_miners(&options.rules, &seed, candidates.collect(), &[])
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
    let limits = FetchLimits {
        max_bytes: MAX_RECORD_INFO_BYTES,
        // Shorter than the lease: a store that is away must not cost the leadership, and is told about soon.
        budget: scheduler.options.lease / 2,
    };
    match scheduler.ports.bucket.fetch(access, key, limits).await {
        Ok(Fetched::Found(object)) => RecordIndex::parse(&object.bytes)
            .map_err(|fault| SchedulerError::Index(fault.to_string())),
        Ok(Fetched::Missing) => Ok(RecordIndex::default()),
        Ok(Fetched::TooLarge { bytes }) => Err(SchedulerError::Index(format!(
            "it has {bytes} bytes, more than the {MAX_RECORD_INFO_BYTES} we read"
        ))),
        Ok(Fetched::Unreachable { last } | Fetched::TooSlow { last }) => {
            Err(SchedulerError::Index(last))
        }
        Err(fault) => Err(SchedulerError::Index(fault.to_string())),
    }
}
