//! The board's state as a plain value. Every change is an [`Entry`]; what is in memory is what applying
//! the journal's entries in order gives.

use nexis_ports::{BoardError, Posted, Stage, Tally, Write};
use nexis_protocol::{Hotkey, IntervalId, JobId, LeaderEpoch};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How many retired intervals are remembered: four weeks of ten-minute intervals. A job that is older
/// than that has long left every queue.
const RETIRED_KEPT: usize = 4_096;

/// One change, as the journal keeps it. Variants are only ever added at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Entry {
    Epoch(LeaderEpoch),
    Open {
        interval: IntervalId,
        plan: Vec<u8>,
        expected: Expected,
    },
    Advance {
        interval: IntervalId,
        to: Stage,
        plan: Vec<u8>,
        expected: Expected,
    },
    Retire {
        interval: IntervalId,
    },
    Post {
        job: JobId,
        result: Vec<u8>,
    },
    Fact {
        name: String,
        value: Vec<u8>,
    },
    Discard {
        interval: IntervalId,
    },
    Forget {
        interval: IntervalId,
        jobs: Vec<JobId>,
    },
}

/// Ids of one stage of one round, each hotkey once: a full interval's 1.3 million ids take 3 MB.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub(crate) struct Expected {
    miners: BTreeSet<Hotkey>,
    clips: BTreeMap<Hotkey, BTreeSet<u32>>,
}

impl Expected {
    /// Refuses ids that could never be posted to this stage: they would hang the round.
    pub(crate) fn new(
        interval: IntervalId,
        stage: Stage,
        ids: &[JobId],
    ) -> Result<Self, BoardError> {
        let mut expected = Self::default();
        for id in ids {
            if id.interval() != interval || stage_of(id) != stage {
                return Err(BoardError::Refused(format!(
                    "job '{id}' cannot be waited for in stage {stage:?} of interval {interval}"
                )));
            }
            match id {
                JobId::Miner { hotkey, .. } => {
                    expected.miners.insert(hotkey.clone());
                }
                JobId::Clip { hotkey, row, .. } => {
                    expected
                        .clips
                        .entry(hotkey.clone())
                        .or_default()
                        .insert(*row);
                }
            }
        }
        Ok(expected)
    }

    fn ids(self, interval: IntervalId) -> impl Iterator<Item = JobId> {
        let miners = self
            .miners
            .into_iter()
            .map(move |hotkey| JobId::Miner { interval, hotkey });
        let clips = self.clips.into_iter().flat_map(move |(hotkey, rows)| {
            rows.into_iter().map(move |row| JobId::Clip {
                interval,
                hotkey: hotkey.clone(),
                row,
            })
        });
        miners.chain(clips)
    }
}

/// The stage that a job's result belongs to.
pub(crate) const fn stage_of(id: &JobId) -> Stage {
    match id {
        JobId::Miner { .. } => Stage::Miners,
        JobId::Clip { .. } => Stage::Clips,
    }
}

/// All that the board knows.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct State {
    epoch: LeaderEpoch,
    rounds: BTreeMap<IntervalId, Round>,
    retired: BTreeSet<IntervalId>,
    facts: BTreeMap<String, Vec<u8>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Round {
    stage: Stage,
    plans: BTreeMap<Stage, Vec<u8>>,
    miners: Slots,
    clips: Slots,
    late: BTreeMap<JobId, Vec<u8>>,
}

/// Expected ids with the results that count.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Slots {
    results: BTreeMap<JobId, Option<Vec<u8>>>,
    done: u64,
}

impl Slots {
    fn of(expected: Expected, interval: IntervalId) -> Self {
        Self {
            results: expected.ids(interval).map(|id| (id, None)).collect(),
            done: 0,
        }
    }
}

impl Round {
    fn slots(&self, stage: Stage) -> Option<&Slots> {
        match stage {
            Stage::Miners => Some(&self.miners),
            Stage::Clips => Some(&self.clips),
            Stage::Closed => None,
        }
    }

    fn slots_mut(&mut self, id: &JobId) -> &mut Slots {
        match stage_of(id) {
            Stage::Miners => &mut self.miners,
            Stage::Clips | Stage::Closed => &mut self.clips,
        }
    }
}

impl State {
    pub(crate) const fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    fn fence(&self, ours: LeaderEpoch) -> Result<(), BoardError> {
        if ours == self.epoch {
            Ok(())
        } else {
            Err(BoardError::Fenced {
                ours,
                newest: self.epoch,
            })
        }
    }

    /// What opening would do.
    pub(crate) fn judge_open(
        &self,
        epoch: LeaderEpoch,
        interval: IntervalId,
    ) -> Result<Write, BoardError> {
        self.fence(epoch)?;
        if self.retired.contains(&interval) {
            return Ok(Write::Retired);
        }
        if self.rounds.contains_key(&interval) {
            return Ok(Write::Already);
        }
        Ok(Write::Applied)
    }

    /// What advancing would do.
    pub(crate) fn judge_advance(
        &self,
        epoch: LeaderEpoch,
        interval: IntervalId,
        seen: Option<u64>,
        to: Stage,
    ) -> Result<Write, BoardError> {
        self.fence(epoch)?;
        if self.retired.contains(&interval) {
            return Ok(Write::Already);
        }
        match self.rounds.get(&interval) {
            Some(round) if round.stage >= to => Ok(Write::Already),
            Some(round) => {
                let done = round.slots(round.stage).map_or(0, |slots| slots.done);
                Ok(match seen {
                    Some(seen) if seen != done => Write::Changed,
                    _ => Write::Applied,
                })
            }
            None => Err(BoardError::Refused(format!(
                "interval {interval} is not open"
            ))),
        }
    }

    /// What retiring would do.
    pub(crate) fn judge_retire(
        &self,
        epoch: LeaderEpoch,
        interval: IntervalId,
    ) -> Result<Write, BoardError> {
        self.fence(epoch)?;
        Ok(if self.retired.contains(&interval) {
            Write::Already
        } else {
            Write::Applied
        })
    }

    /// What discarding would do.
    pub(crate) fn judge_discard(
        &self,
        epoch: LeaderEpoch,
        interval: IntervalId,
    ) -> Result<Write, BoardError> {
        self.fence(epoch)?;
        let is_known = self.rounds.contains_key(&interval) || self.retired.contains(&interval);
        Ok(if is_known {
            Write::Applied
        } else {
            Write::Already
        })
    }

    /// What forgetting would do.
    pub(crate) fn judge_forget(
        &self,
        epoch: LeaderEpoch,
        interval: IntervalId,
        jobs: &[JobId],
    ) -> Result<Write, BoardError> {
        self.fence(epoch)?;
        let counts = |job: &JobId| {
            let round = self.rounds.get(&interval)?;
            let slots = round.slots(stage_of(job))?;
            (round.stage == stage_of(job) && slots.results.get(job)?.is_some()).then_some(())
        };
        Ok(if jobs.iter().any(|job| counts(job).is_some()) {
            Write::Applied
        } else {
            Write::Already
        })
    }

    /// Whether a fact may be written.
    pub(crate) fn judge_fact(&self, epoch: LeaderEpoch) -> Result<(), BoardError> {
        self.fence(epoch)
    }

    /// What posting would do.
    pub(crate) fn judge_post(&self, job: &JobId) -> Posted {
        let Some(round) = self.rounds.get(&job.interval()) else {
            return Posted::Unknown;
        };
        let stage = stage_of(job);
        match round.slots(stage).and_then(|slots| slots.results.get(job)) {
            None => Posted::Unknown,
            Some(Some(_)) => Posted::Duplicate,
            Some(None) if round.stage == stage => Posted::First,
            Some(None) if round.late.contains_key(job) => Posted::Duplicate,
            Some(None) => Posted::Late,
        }
    }

    pub(crate) fn wanted(&self, job: &JobId) -> bool {
        self.judge_post(job) == Posted::First
    }

    /// Applies an entry that a `judge_…` allowed. Entries that change nothing any more do nothing.
    pub(crate) fn apply(&mut self, entry: Entry) {
        match entry {
            Entry::Epoch(epoch) => self.epoch = self.epoch.max(epoch),
            Entry::Open {
                interval,
                plan,
                expected,
            } => {
                if self.rounds.contains_key(&interval) || self.retired.contains(&interval) {
                    return;
                }
                let round = Round {
                    stage: Stage::Miners,
                    plans: BTreeMap::from([(Stage::Miners, plan)]),
                    miners: Slots::of(expected, interval),
                    clips: Slots::default(),
                    late: BTreeMap::new(),
                };
                self.rounds.insert(interval, round);
            }
            Entry::Advance {
                interval,
                to,
                plan,
                expected,
            } => {
                let Some(round) = self.rounds.get_mut(&interval) else {
                    return;
                };
                if round.stage >= to {
                    return;
                }
                round.stage = to;
                round.plans.insert(to, plan);
                if to == Stage::Clips {
                    round.clips = Slots::of(expected, interval);
                }
            }
            Entry::Retire { interval } => {
                self.rounds.remove(&interval);
                self.retired.insert(interval);
                while self.retired.len() > RETIRED_KEPT {
                    self.retired.pop_first();
                }
            }
            Entry::Post { job, result } => {
                let posted = self.judge_post(&job);
                let Some(round) = self.rounds.get_mut(&job.interval()) else {
                    return;
                };
                match posted {
                    Posted::First => {
                        let slots = round.slots_mut(&job);
                        slots.done += 1;
                        slots.results.insert(job, Some(result));
                    }
                    Posted::Late => {
                        round.late.insert(job, result);
                    }
                    Posted::Duplicate | Posted::Unknown => {}
                }
            }
            Entry::Fact { name, value } => {
                self.facts.insert(name, value);
            }
            Entry::Discard { interval } => {
                self.rounds.remove(&interval);
                self.retired.remove(&interval);
            }
            Entry::Forget { interval, jobs } => {
                if let Some(round) = self.rounds.get_mut(&interval) {
                    round.forget(&jobs);
                }
            }
        }
    }

    /// The shortest list of entries that gives this state.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let mut entries = vec![Entry::Epoch(self.epoch)];
        let retired = self.retired.iter().map(|interval| Entry::Retire {
            interval: *interval,
        });
        entries.extend(retired);
        for (name, value) in &self.facts {
            entries.push(Entry::Fact {
                name: name.clone(),
                value: value.clone(),
            });
        }
        for (interval, round) in &self.rounds {
            round.write(*interval, &mut entries);
        }
        entries
    }

    pub(crate) fn open_rounds(&self) -> Vec<IntervalId> {
        self.rounds.keys().copied().collect()
    }

    pub(crate) fn tally(&self, interval: IntervalId) -> Option<Tally> {
        let round = self.rounds.get(&interval)?;
        let (expected, done) = round
            .slots(round.stage)
            .map_or((0, 0), |slots| (slots.results.len() as u64, slots.done));
        Some(Tally {
            stage: round.stage,
            expected,
            done,
        })
    }

    pub(crate) fn plan(&self, interval: IntervalId, stage: Stage) -> Option<Vec<u8>> {
        self.rounds.get(&interval)?.plans.get(&stage).cloned()
    }

    pub(crate) fn missing(&self, interval: IntervalId, stage: Stage) -> Vec<JobId> {
        self.slots(interval, stage)
            .into_iter()
            .flat_map(|slots| &slots.results)
            .filter(|(_, result)| result.is_none())
            .map(|(id, _)| id.clone())
            .collect()
    }

    pub(crate) fn results(&self, interval: IntervalId, stage: Stage) -> Vec<(JobId, Vec<u8>)> {
        self.slots(interval, stage)
            .into_iter()
            .flat_map(|slots| &slots.results)
            .filter_map(|(id, result)| Some((id.clone(), result.clone()?)))
            .collect()
    }

    pub(crate) fn results_of(
        &self,
        interval: IntervalId,
        stage: Stage,
        hotkey: &Hotkey,
    ) -> Vec<(JobId, Vec<u8>)> {
        let Some(slots) = self.slots(interval, stage) else {
            return Vec::new();
        };
        let hotkey = || hotkey.clone();
        let row = |row| JobId::Clip {
            interval,
            hotkey: hotkey(),
            row,
        };
        let report = JobId::Miner {
            interval,
            hotkey: hotkey(),
        };
        let range = match stage {
            Stage::Miners => report.clone()..=report,
            Stage::Clips | Stage::Closed => row(0)..=row(u32::MAX),
        };
        let results = slots.results.range(range);
        results
            .filter_map(|(id, result)| Some((id.clone(), result.clone()?)))
            .collect()
    }

    pub(crate) fn late(&self, interval: IntervalId) -> Vec<(JobId, Vec<u8>)> {
        let round = self.rounds.get(&interval);
        let late = round.into_iter().flat_map(|round| &round.late);
        late.map(|(id, result)| (id.clone(), result.clone()))
            .collect()
    }

    pub(crate) fn fact(&self, name: &str) -> Option<Vec<u8>> {
        self.facts.get(name).cloned()
    }

    fn slots(&self, interval: IntervalId, stage: Stage) -> Option<&Slots> {
        self.rounds.get(&interval)?.slots(stage)
    }
}

impl Round {
    fn forget(&mut self, jobs: &[JobId]) {
        for job in jobs.iter().filter(|job| stage_of(job) == self.stage) {
            let slots = match self.stage {
                Stage::Miners => &mut self.miners,
                Stage::Clips | Stage::Closed => &mut self.clips,
            };
            let counted = slots.results.get_mut(job).and_then(Option::take);
            slots.done -= u64::from(counted.is_some());
        }
    }

    /// Entries in an order that gives each result back its standing: counting ones before their stage
    /// closes, late ones after.
    fn write(&self, interval: IntervalId, entries: &mut Vec<Entry>) {
        let expected = |slots: &Slots| {
            let mut expected = Expected::default();
            for id in slots.results.keys() {
                match id {
                    JobId::Miner { hotkey, .. } => {
                        expected.miners.insert(hotkey.clone());
                    }
                    JobId::Clip { hotkey, row, .. } => {
                        expected
                            .clips
                            .entry(hotkey.clone())
                            .or_default()
                            .insert(*row);
                    }
                }
            }
            expected
        };
        for (stage, plan) in &self.plans {
            let (interval, plan, to) = (interval, plan.clone(), *stage);
            let slots = self.slots(*stage);
            let expected = slots.map(expected).unwrap_or_default();
            entries.push(if to == Stage::Miners {
                Entry::Open {
                    interval,
                    plan,
                    expected,
                }
            } else {
                Entry::Advance {
                    interval,
                    to,
                    plan,
                    expected,
                }
            });
            for (job, result) in slots.into_iter().flat_map(|slots| &slots.results) {
                if let Some(result) = result {
                    entries.push(Entry::Post {
                        job: job.clone(),
                        result: result.clone(),
                    });
                }
            }
        }
        for (job, result) in &self.late {
            entries.push(Entry::Post {
                job: job.clone(),
                result: result.clone(),
            });
        }
    }
}

#[cfg(test)]
mod golden;
