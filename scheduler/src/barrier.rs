//! Whether a stage's results may be used as they are: results that cannot be read are done again, a stage in which too
//! many stores could not be reached is held, and a round that lost part of its state is never decided from the rest.

use nexis_protocol::reason::Reason;
use nexis_protocol::{Hotkey, JobId};
use nexis_wire::{ClipReport, MinerReport, ReportOutcome, RoundPlan, Wire};
use std::collections::{BTreeMap, BTreeSet};

/// How often a job is done again because its result could not be read.
const MOST_REPEATS: u32 = 2;
/// Characters of a commitment that name the account, and with it the store.
const ACCOUNT: usize = 32;

/// Blocks before a stage in which too many stores were unreachable is tried again: at first, and at most.
pub(crate) const RETRY_BLOCKS: (u64, u64) = (5, 40);

/// A miner job's reports as read back.
pub(crate) struct Reports {
    /// One per result, in their order; `validation_exception` where the result cannot be read.
    pub(crate) reports: Vec<MinerReport>,
    /// Jobs whose result cannot be read.
    pub(crate) unreadable: Vec<JobId>,
}

/// Reads results one by one, and lets go of the bytes of each: a full interval's are half a gigabyte.
pub(crate) fn read_reports(results: Vec<(JobId, Vec<u8>)>) -> Reports {
    let mut unreadable = Vec::new();
    let reports = results
        .into_iter()
        .map(|(id, bytes)| {
            read_report(&id, &bytes).unwrap_or_else(|why| {
                let report = exception(&id, &why);
                unreadable.push(id);
                report
            })
        })
        .collect();
    Reports {
        reports,
        unreadable,
    }
}

/// Reads a report, and its rows, which are only needed after the barrier.
pub(crate) fn read_report(id: &JobId, bytes: &[u8]) -> Result<MinerReport, String> {
    let report = MinerReport::decode(bytes).map_err(|error| error.to_string())?;
    if report.hotkey != *id.hotkey() || report.interval != id.interval() {
        return Err("it is the report of another job".to_owned());
    }
    if let ReportOutcome::Screened(screened) = &report.outcome {
        let rows = screened.rows.unpack().map_err(|error| error.to_string())?;
        if rows.len() != screened.claims.len() {
            return Err("it has more or fewer rows than claims".to_owned());
        }
    }
    Ok(report)
}

/// What stands for a report that cannot be read (PROTOCOL §6: an unexpected error inside our own code).
pub(crate) fn exception(id: &JobId, why: &str) -> MinerReport {
    MinerReport {
        interval: id.interval(),
        hotkey: id.hotkey().clone(),
        outcome: ReportOutcome::Rejected {
            reasons: vec![Reason::ValidationException],
            detail: format!("the report of our own worker cannot be read: {why}"),
            notes: BTreeMap::new(),
        },
        manifest_sha256: None,
        dataset_sha256: None,
        unreachable: None,
    }
}

/// Reads a verdict; `None` when it cannot be read or is that of another job.
pub(crate) fn read_verdict(id: &JobId, bytes: &[u8]) -> Option<ClipReport> {
    let verdict = ClipReport::decode(bytes).ok()?;
    let own = JobId::Clip {
        interval: verdict.interval,
        hotkey: verdict.hotkey.clone(),
        row: verdict.row,
    };
    (own == *id).then_some(verdict)
}

/// Counts how often jobs were done again.
#[derive(Debug, Default)]
pub(crate) struct Repeats(BTreeMap<JobId, u32>);

impl Repeats {
    /// Those of the jobs that are to be done once more.
    pub(crate) fn again(&mut self, jobs: &[JobId]) -> Vec<JobId> {
        let mut again = Vec::new();
        for job in jobs {
            let count = self.0.entry(job.clone()).or_default();
            *count += 1;
            if *count <= MOST_REPEATS {
                again.push(job.clone());
            }
        }
        again
    }
}

/// What became of the stores that a stage needed, miner by miner.
pub(crate) struct Stores<'a> {
    account: BTreeMap<&'a Hotkey, &'a str>,
    unreachable: BTreeMap<&'a Hotkey, String>,
    reached: BTreeSet<&'a str>,
}

impl<'a> Stores<'a> {
    pub(crate) fn of(plan: &'a RoundPlan) -> Self {
        let account = plan.miners.iter().filter_map(|miner| {
            let account = miner.commitment.as_deref()?.get(..ACCOUNT)?;
            Some((&miner.hotkey, account))
        });
        Self {
            account: account.collect(),
            unreachable: BTreeMap::new(),
            reached: BTreeSet::new(),
        }
    }

    /// Takes one result's word: `fault` is the last one of a store that was not reached to the end of the budget.
    pub(crate) fn note(&mut self, hotkey: &Hotkey, fault: Option<&String>) {
        let Some((hotkey, account)) = self.account.get_key_value(hotkey) else {
            return;
        };
        match fault {
            Some(fault) => {
                self.unreachable.insert(hotkey, fault.clone());
            }
            None => {
                self.reached.insert(account);
            }
        }
    }

    /// Why the round is held: more than a third of its miners, of at least two accounts, could not be reached, and
    /// nobody reached any of those accounts. Then it is our network that is down and not their stores; a single store
    /// that is down counts as missing, as it does for every other validator.
    pub(crate) fn hold(&self) -> Option<String> {
        let accounts: BTreeSet<&str> = self
            .unreachable
            .keys()
            .filter_map(|hotkey| self.account.get(hotkey).copied())
            .collect();
        let (failed, all) = (self.unreachable.len(), self.account.len());
        if 3 * failed <= all || accounts.len() < 2 || !accounts.is_disjoint(&self.reached) {
            return None;
        }
        let last = self.unreachable.values().next().map_or("", String::as_str);
        Some(format!(
            "the stores of {failed} of {all} miners cannot be reached from here ({last}): check this site's network, \
             name resolution and NEXIS_R2_ENDPOINT"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nexis_protocol::profile::Profile;
    use nexis_protocol::{Digest, IntervalId, Netuid};
    use nexis_wire::{JobRules, PlannedMiner};
    use proptest::prelude::*;

    fn miner(number: u8) -> Hotkey {
        Hotkey::from_public_key(&[number; 32])
    }

    /// Miners by the account that they publish under.
    fn plan(accounts: &[u8]) -> RoundPlan {
        let miners = (0..).zip(accounts).map(|(number, account)| PlannedMiner {
            hotkey: miner(number),
            commitment: Some(format!("{account:032x}{}", "k".repeat(96))),
        });
        RoundPlan {
            interval: IntervalId::new(850),
            rules: JobRules::plain(Netuid::new(70), Profile::default()),
            roster_block: 0,
            roster_hash: String::new(),
            validator: None,
            seed: String::new(),
            invalid: Vec::new(),
            miners: miners.collect(),
            index: Digest::of(b""),
            miners_deadline: 0,
            clips_deadline: 0,
        }
    }

    fn is_held(accounts: &[u8], unreachable: &[bool]) -> bool {
        let plan = plan(accounts);
        let mut stores = Stores::of(&plan);
        for (number, failed) in (0..).zip(unreachable) {
            let fault = failed.then(|| "connection refused".to_owned());
            stores.note(&miner(number), fault.as_ref());
        }
        stores.hold().is_some()
    }

    #[test]
    fn our_own_network_holds_the_round_and_a_single_store_does_not() {
        assert!(is_held(&[1, 2, 3], &[true, true, true]));
        assert!(is_held(&[1, 2, 3, 4], &[true, true, false, false]));
        // A third, one account, or an account that somebody else reached.
        assert!(!is_held(
            &[1, 2, 3, 4, 5, 6],
            &[true, true, false, false, false, false]
        ));
        assert!(!is_held(&[1, 1, 1, 2], &[true, true, true, false]));
        assert!(!is_held(&[1, 2, 1, 2], &[true, true, false, false]));
        assert!(!is_held(&[], &[]));
    }

    proptest! {
        /// As many miners as an attacker likes, in as many accounts, do not hold a round unless they are more than a
        /// third of it.
        #[test]
        fn a_third_of_the_miners_cannot_hold_a_round(honest in 1_usize..40, share in 0_usize..=100) {
            let hostile = honest / 2 * share / 100;
            let accounts: Vec<u8> = (0..).take(honest + hostile).collect();
            let unreachable: Vec<bool> = (0..accounts.len()).map(|at| at >= honest).collect();
            prop_assert!(!is_held(&accounts, &unreachable));
        }
    }

    #[test]
    fn bytes_that_are_no_report_are_the_exception_of_that_miner_alone() {
        let id = |number| JobId::Miner {
            interval: IntervalId::new(850),
            hotkey: miner(number),
        };
        let good = exception(&id(1), "a good one").encode();
        let mut cut = good.clone();
        cut.truncate(12);
        let results = vec![
            (id(0), b"junk".to_vec()),
            (id(1), good.clone()),
            (id(2), cut),
            (id(3), good),
            (id(4), Vec::new()),
        ];
        let read = read_reports(results);
        assert_eq!(read.unreadable, [id(0), id(2), id(3), id(4)]);
        let hotkeys: Vec<&Hotkey> = read.reports.iter().map(|report| &report.hotkey).collect();
        assert_eq!(hotkeys.len(), 5);
        assert!(
            (0..5)
                .zip(hotkeys)
                .all(|(number, hotkey)| *hotkey == miner(number))
        );
        let mut repeats = Repeats::default();
        for _ in 0..MOST_REPEATS {
            assert_eq!(repeats.again(&read.unreadable), read.unreadable);
        }
        assert!(repeats.again(&read.unreadable).is_empty());
        assert_eq!(repeats.again(&[id(9)]), [id(9)]);
    }
}
