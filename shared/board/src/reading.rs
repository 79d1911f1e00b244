//! Reading what a round holds. Not one snapshot: results are only ever added, and a closed stage's are fixed.

use crate::board::RedisBoard;
use crate::board::known;
use crate::link::Ask;
use crate::meter::Call;
use nexis_ports::{BoardError, Stage};
use nexis_protocol::{Hotkey, IntervalId, JobId};
use redis::Cmd;

/// Some megabytes of data sets as large as they get; a round trip more costs nothing beside that.
const REPORTS_AT_A_TIME: usize = 16;

impl RedisBoard {
    pub(crate) async fn missing_of(
        &self,
        interval: IntervalId,
        stage: Stage,
    ) -> Result<Vec<JobId>, BoardError> {
        let names = self.inner.keys.round(interval);
        let mut missing = Vec::new();
        match stage {
            Stage::Miners => {
                // The difference of set and hash, in one transaction.
                let mut ask = redis::pipe();
                ask.atomic()
                    .smembers(names.miners_wanted())
                    .hkeys(names.miners_got());
                let (wanted, got): (Vec<String>, std::collections::HashSet<String>) =
                    self.inner.links.ask(Call::Read, &Ask::Many(ask)).await?;
                let wanted = wanted.iter().filter(|hotkey| !got.contains(*hotkey));
                let ids = wanted.filter_map(|text| known(text));
                missing.extend(ids.map(|hotkey| JobId::Miner { interval, hotkey }));
                missing.sort();
            }
            Stage::Clips => {
                for hotkey in self.clip_miners(&names).await? {
                    let mut bits = self.bits(names.clips_wanted(&hotkey)).await?;
                    let have = self.bits(names.clips_have(&hotkey)).await?;
                    bits.iter_mut()
                        .zip(have)
                        .for_each(|(want, have)| *want &= !have);
                    missing.extend(rows_of(&bits).map(|row| JobId::Clip {
                        interval,
                        hotkey: hotkey.clone(),
                        row,
                    }));
                }
            }
            Stage::Closed => {}
        }
        Ok(missing)
    }

    pub(crate) async fn results_of(
        &self,
        interval: IntervalId,
        stage: Stage,
    ) -> Result<Vec<(JobId, Vec<u8>)>, BoardError> {
        let names = self.inner.keys.round(interval);
        let mut results = Vec::new();
        match stage {
            Stage::Miners => {
                for (hotkey, body) in self.reports(names.miners_got()).await? {
                    let hotkey = known(&hotkey);
                    results.extend(hotkey.map(|hotkey| (JobId::Miner { interval, hotkey }, body)));
                }
            }
            Stage::Clips => {
                for hotkey in self.clip_miners(&names).await? {
                    results.extend(self.verdicts(interval, &hotkey).await?);
                }
            }
            Stage::Closed => {}
        }
        results.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(results)
    }

    pub(crate) async fn results_of_miner(
        &self,
        interval: IntervalId,
        stage: Stage,
        hotkey: &Hotkey,
    ) -> Result<Vec<(JobId, Vec<u8>)>, BoardError> {
        match stage {
            Stage::Miners => {
                let key = self.inner.keys.round(interval).miners_got();
                let ask = Ask::One(Cmd::hget(&key, hotkey.as_str()));
                let body: Option<Vec<u8>> = self.inner.links.ask(Call::Read, &ask).await?;
                let hotkey = hotkey.clone();
                let result = body.map(|body| (JobId::Miner { interval, hotkey }, body));
                Ok(result.into_iter().collect())
            }
            Stage::Clips => {
                let mut verdicts = self.verdicts(interval, hotkey).await?;
                verdicts.sort_by(|a, b| a.0.cmp(&b.0));
                Ok(verdicts)
            }
            Stage::Closed => Ok(Vec::new()),
        }
    }

    async fn verdicts(
        &self,
        interval: IntervalId,
        hotkey: &Hotkey,
    ) -> Result<Vec<(JobId, Vec<u8>)>, BoardError> {
        let key = self.inner.keys.round(interval).clips_got(hotkey);
        let verdicts = self.hash(key).await?.into_iter();
        let id = |row| JobId::Clip {
            interval,
            hotkey: hotkey.clone(),
            row,
        };
        Ok(verdicts
            .filter_map(|(row, body)| Some((id(known(&row)?), body)))
            .collect())
    }

    /// A hash with large values, some at a time: the server copies an answer before it sends it, and all reports of a
    /// full interval are a quarter of a gigabyte.
    async fn reports(&self, key: String) -> Result<Vec<(String, Vec<u8>)>, BoardError> {
        let links = &self.inner.links;
        let fields: Vec<String> = links.ask(Call::Read, &Ask::One(Cmd::hkeys(&key))).await?;
        let mut reports = Vec::with_capacity(fields.len());
        for some in fields.chunks(REPORTS_AT_A_TIME) {
            let ask = Ask::One(Cmd::hmget(&key, some));
            let bodies: Vec<Option<Vec<u8>>> = links.ask(Call::Read, &ask).await?;
            for (field, body) in some.iter().zip(bodies) {
                let gone =
                    || BoardError::Unavailable("a report went while all were read".to_owned());
                reports.push((field.clone(), body.ok_or_else(gone)?));
            }
        }
        Ok(reports)
    }

    pub(crate) async fn late_of(
        &self,
        interval: IntervalId,
    ) -> Result<Vec<(JobId, Vec<u8>)>, BoardError> {
        let names = self.inner.keys.round(interval);
        let mut late = Vec::new();
        for (hotkey, body) in self.hash(names.miners_late()).await? {
            let hotkey = known(&hotkey);
            late.extend(hotkey.map(|hotkey| (JobId::Miner { interval, hotkey }, body)));
        }
        for (name, body) in self.hash(names.clips_late()).await? {
            late.extend(known(&format!("clip/{interval}/{name}")).map(|id| (id, body)));
        }
        late.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(late)
    }
}

fn rows_of(bits: &[u8]) -> impl Iterator<Item = u32> + '_ {
    bits.iter().zip(0_u32..).flat_map(|(byte, at)| {
        (0..8)
            .filter(move |bit| byte & (0x80 >> bit) != 0)
            .map(move |bit| at * 8 + bit)
    })
}
