//! `nexis replay`: computes the decisions of stored intervals again and compares bytes.

use anyhow::Result;
use nexis_local::DirArchive;
use nexis_protocol::IntervalId;
use nexis_runtime::Exit;
use nexis_scheduler::ledger::{self, DecisionFile};
use nexis_scheduler::reduce;

/// Runs the command; the exit code is not 0 when anything differs.
pub async fn run(archive: &DirArchive, only: &[IntervalId]) -> Result<Exit> {
    let replayed = replay(archive, only).await?;
    let mut differ = 0;
    for one in &replayed {
        match &one.difference {
            None => println!(
                "interval {}: {} decisions, equal bytes",
                one.interval, one.decisions
            ),
            Some(difference) => {
                differ += 1;
                println!("interval {}: DIFFERS: {difference}", one.interval);
            }
        }
    }
    println!("{} replayed, {differ} differ", replayed.len());
    Ok(if differ == 0 {
        Exit::Asked
    } else {
        Exit::TaskDied
    })
}

/// One interval computed again.
#[derive(Debug)]
pub struct Replayed {
    /// The interval.
    pub interval: IntervalId,
    /// Decisions in it.
    pub decisions: usize,
    /// What differs; `None`: equal bytes.
    pub difference: Option<String>,
}

/// Replays the given intervals, or all that are decided.
pub async fn replay(archive: &DirArchive, only: &[IntervalId]) -> Result<Vec<Replayed>> {
    let intervals = if only.is_empty() {
        ledger::decided(archive).await?
    } else {
        only.to_vec()
    };
    let mut replayed = Vec::new();
    for interval in intervals {
        replayed.push(one(archive, interval).await?);
    }
    Ok(replayed)
}

async fn one(archive: &DirArchive, interval: IntervalId) -> Result<Replayed> {
    let evidence = ledger::load_evidence(archive, interval).await?;
    let index = ledger::load_index(archive, evidence.plan.index).await?;
    let (clips, decisions, absent) = reduce::replay(&evidence, &index);
    let count = decisions.len();
    let mut again = DecisionFile {
        interval_id: interval,
        decisions,
        absent,
    };
    let stored = ledger::decision_bytes(archive, interval)
        .await?
        .unwrap_or_default();
    if again.to_bytes() != stored {
        again.decisions = reduce::in_selection_order(&evidence.plan, again.decisions);
    }
    let difference = if clips != evidence.clips {
        Some("arbitration or sampling gave something else".to_owned())
    } else if again.to_bytes() != stored {
        Some("the decisions' bytes differ".to_owned())
    } else {
        None
    };
    Ok(Replayed {
        interval,
        decisions: count,
        difference,
    })
}
