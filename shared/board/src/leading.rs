//! What only a leader writes about rounds. Each is one script in the round's slot, refused when a newer leader has
//! stamped the round.

use crate::board::{RedisBoard, number, read};
use crate::keys::RoundKeys;
use crate::meter::Call;
use nexis_ports::{BoardError, Stage, Write};
use nexis_protocol::{Hotkey, IntervalId, JobId, LeaderEpoch};
use std::collections::{BTreeMap, BTreeSet};

/// Highest row that can be waited for. A bitmap of this many rows has 2 MB; data sets end far below.
const MAX_ROW: u32 = 1 << 24;
/// What a leader's script answers.
pub(crate) enum Verdict {
    Applied,
    Already,
    NotOpen,
    Retired,
    Changed,
}

pub(crate) fn verdict(
    ours: LeaderEpoch,
    (code, newest): (i64, String),
) -> Result<Verdict, BoardError> {
    match code {
        1 => Ok(Verdict::Applied),
        0 => Ok(Verdict::Already),
        2 => Ok(Verdict::Retired),
        3 => Ok(Verdict::Changed),
        -2 => Ok(Verdict::NotOpen),
        -1 => Err(BoardError::Fenced {
            ours,
            newest: read(&newest)?,
        }),
        other => Err(BoardError::Corrupt(format!("a script answered {other}"))),
    }
}

fn cannot_be_expected(id: &JobId, interval: IntervalId, stage: Stage) -> BoardError {
    BoardError::Refused(format!(
        "job '{id}' cannot be waited for in stage {stage:?} of interval {interval}"
    ))
}

fn set_bit(bits: &mut Vec<u8>, row: u32) {
    let at = (row / 8) as usize;
    if bits.len() <= at {
        bits.resize(at + 1, 0);
    }
    // Redis counts bits from the most significant one.
    bits[at] |= 0x80 >> (row % 8);
}

/// Where a round moves on to.
pub(crate) struct Next<'a> {
    /// Results of the current stage that the caller read.
    pub(crate) seen: Option<u64>,
    pub(crate) to: Stage,
    pub(crate) plan: Vec<u8>,
    pub(crate) expected: &'a [JobId],
}

/// How a round goes.
#[derive(Clone, Copy)]
pub(crate) enum Removal {
    /// Its decisions are archived: a mark stays.
    Retire,
    /// It is opened again: nothing stays but the fence.
    Discard,
}

/// A miner's ids as the scripts take them.
fn miners_of(ids: &[JobId], interval: IntervalId) -> Result<BTreeSet<&str>, BoardError> {
    let hotkey = |id| match id {
        &JobId::Miner {
            interval: of,
            ref hotkey,
        } if of == interval => Ok(hotkey.as_str()),
        other => Err(cannot_be_expected(other, interval, Stage::Miners)),
    };
    ids.iter().map(hotkey).collect()
}

/// Per miner its rows as a bitmap.
fn rows_of(
    ids: &[JobId],
    interval: IntervalId,
    to: Stage,
) -> Result<BTreeMap<&Hotkey, Vec<u8>>, BoardError> {
    let mut rows: BTreeMap<&Hotkey, Vec<u8>> = BTreeMap::new();
    for id in ids {
        match id {
            JobId::Clip {
                interval: of,
                hotkey,
                row,
            } if *of == interval && to == Stage::Clips && *row < MAX_ROW => {
                set_bit(rows.entry(hotkey).or_default(), *row);
            }
            _ => return Err(cannot_be_expected(id, interval, to)),
        }
    }
    Ok(rows)
}

impl RedisBoard {
    pub(crate) async fn open_round(
        &self,
        epoch: LeaderEpoch,
        interval: IntervalId,
        plan: &[u8],
        expected: &[JobId],
    ) -> Result<Write, BoardError> {
        let inner = &self.inner;
        let hotkeys = miners_of(expected, interval)?;
        self.enter(epoch, interval, "list").await?;
        let names = inner.keys.round(interval);
        let head = [epoch.to_string(), inner.keys.channel()];
        let mut arguments: Vec<&[u8]> = head.iter().map(String::as_bytes).collect();
        arguments.push(plan);
        arguments.extend(hotkeys.iter().map(|hotkey| hotkey.as_bytes()));
        let keys = [
            names.meta(),
            names.miners_wanted(),
            names.miners_got(),
            names.miners_late(),
            names.clip_miners(),
            names.clips_late(),
        ];
        let answer = self
            .script(Call::Lead, &inner.scripts.open, &keys, &arguments)
            .await?;
        let write = written(verdict(epoch, answer)?);
        if write == Write::Retired {
            self.leave(epoch, interval).await?;
        }
        Ok(write)
    }

    pub(crate) async fn advance_round(
        &self,
        epoch: LeaderEpoch,
        interval: IntervalId,
        next: Next<'_>,
    ) -> Result<Write, BoardError> {
        let inner = &self.inner;
        let rows = rows_of(next.expected, interval, next.to)?;
        let ones = rows.values().flatten().map(|byte| byte.count_ones());
        let count = ones.map(u64::from).sum::<u64>().to_string();
        let names = inner.keys.round(interval);
        let mut keys = vec![
            names.meta(),
            names.miners_wanted(),
            names.miners_got(),
            names.clip_miners(),
        ];
        keys.extend(rows.keys().flat_map(|hotkey| of_miner(&names, hotkey)));
        let head = [
            epoch.to_string(),
            next.seen.map_or(String::new(), |seen| seen.to_string()),
            inner.keys.channel(),
            number(next.to).to_string(),
        ];
        let mut arguments: Vec<&[u8]> = head.iter().map(String::as_bytes).collect();
        arguments.extend([next.plan.as_slice(), count.as_bytes()]);
        for (hotkey, bits) in &rows {
            arguments.extend([hotkey.as_str().as_bytes(), bits.as_slice()]);
        }
        let answer = self
            .script(Call::Lead, &inner.scripts.advance, &keys, &arguments)
            .await?;
        let answer = verdict(epoch, answer)?;
        if matches!(answer, Verdict::NotOpen) {
            // Either the caller is wrong, or the board was emptied and we do not lead any more.
            self.enter(epoch, interval, "check").await?;
            let what = format!("interval {interval} is not open");
            return Err(BoardError::Refused(what));
        }
        Ok(written(answer))
    }

    pub(crate) async fn remove_round(
        &self,
        epoch: LeaderEpoch,
        interval: IntervalId,
        how: Removal,
    ) -> Result<Write, BoardError> {
        let inner = &self.inner;
        self.enter(epoch, interval, "check").await?;
        let names = inner.keys.round(interval);
        let mut keys = vec![
            names.meta(),
            names.miners_wanted(),
            names.miners_got(),
            names.miners_late(),
            names.clip_miners(),
            names.clips_late(),
        ];
        for hotkey in self.miners_of_round(&names).await? {
            keys.extend(of_miner(&names, &hotkey));
        }
        let mark = match how {
            Removal::Retire => "9",
            Removal::Discard => "",
        };
        let head = [
            epoch.to_string(),
            inner.retention_ms.to_string(),
            inner.keys.channel(),
            mark.to_owned(),
        ];
        let arguments = head.each_ref().map(String::as_bytes);
        let answer = self
            .script(Call::Lead, &inner.scripts.retire, &keys, &arguments)
            .await?;
        let write = written(verdict(epoch, answer)?);
        self.leave(epoch, interval).await?;
        Ok(write)
    }

    pub(crate) async fn forget_results(
        &self,
        epoch: LeaderEpoch,
        interval: IntervalId,
        jobs: &[JobId],
    ) -> Result<Write, BoardError> {
        let inner = &self.inner;
        self.enter(epoch, interval, "check").await?;
        let names = inner.keys.round(interval);
        let mut keys = vec![names.meta(), names.miners_got()];
        let mut arguments = vec![epoch.to_string(), inner.keys.channel()];
        for job in jobs.iter().filter(|job| job.interval() == interval) {
            match job {
                JobId::Miner { hotkey, .. } => {
                    arguments.extend(["0".to_owned(), hotkey.to_string()]);
                }
                JobId::Clip { hotkey, row, .. } => {
                    // The place of the miner's first key, as Lua counts.
                    arguments.extend([(keys.len() + 1).to_string(), row.to_string()]);
                    keys.extend([names.clips_have(hotkey), names.clips_got(hotkey)]);
                }
            }
        }
        let arguments: Vec<&[u8]> = arguments.iter().map(String::as_bytes).collect();
        let answer = self
            .script(Call::Lead, &inner.scripts.forget, &keys, &arguments)
            .await?;
        Ok(written(verdict(epoch, answer)?))
    }

    /// Takes an interval off the list of open ones.
    pub(crate) async fn leave(
        &self,
        epoch: LeaderEpoch,
        interval: IntervalId,
    ) -> Result<(), BoardError> {
        let inner = &self.inner;
        let keys = [inner.keys.epoch(), inner.keys.rounds()];
        let arguments = [epoch.to_string(), interval.to_string()];
        let arguments = arguments.each_ref().map(String::as_bytes);
        let answer = self
            .script(Call::Lead, &inner.scripts.leave, &keys, &arguments)
            .await?;
        verdict(epoch, answer).map(|_| ())
    }

    /// Every miner that keys of the round may be named after, also when some of its keys are gone.
    async fn miners_of_round(&self, names: &RoundKeys) -> Result<BTreeSet<Hotkey>, BoardError> {
        let mut miners = BTreeSet::new();
        for key in [names.clip_miners(), names.miners_wanted()] {
            match self.members(key).await {
                Ok(members) => miners.extend(members),
                // A key of another type names nobody.
                Err(BoardError::Corrupt(_) | BoardError::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(miners)
    }
}

/// Keys of one miner's clips.
fn of_miner(names: &RoundKeys, hotkey: &Hotkey) -> [String; 3] {
    [
        names.clips_wanted(hotkey),
        names.clips_have(hotkey),
        names.clips_got(hotkey),
    ]
}

fn written(verdict: Verdict) -> Write {
    match verdict {
        Verdict::Applied => Write::Applied,
        Verdict::Already | Verdict::NotOpen => Write::Already,
        Verdict::Retired => Write::Retired,
        Verdict::Changed => Write::Changed,
    }
}
