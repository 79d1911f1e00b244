use crate::clips::{Clip, Waiting, posted};
use crate::keys::{Keys, RoundKeys};
use crate::link::{Ask, Links};
use crate::meter::{Call, Meter};
use crate::options::{Address, RedisOptions};
use crate::script::Scripts;
use async_trait::async_trait;
use nexis_ports::{Board, BoardError, Leadership, Posted, Stage, Tally, Write};
use nexis_protocol::{Hotkey, IntervalId, JobId, LeaderEpoch};
use redis::aio::PubSub;
use redis::{Cmd, Script};
use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;

/// Highest row that can be waited for. A bitmap of this many rows has 2 MB; data sets end far below.
const MAX_ROW: u32 = 1 << 24;
/// A retired round's stage in the scripts.
const RETIRED: u8 = 9;

/// A [`Board`] that any number of processes share. Clones share the connections.
#[derive(Clone)]
pub struct RedisBoard {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) links: Links,
    pub(crate) keys: Keys,
    pub(crate) scripts: Scripts,
    pub(crate) meter: Meter,
    /// Verdicts and questions that wait for the next call.
    pub(crate) waiting: Waiting,
    pub(crate) retention_ms: u64,
    fact_retention_ms: u64,
    pub(crate) answer_within: Duration,
    /// The epoch that this process has stamped on every listed interval.
    stamped: AtomicU64,
    /// The subscription that [`Board::changed`] listens on; hints wait in it between two calls.
    pub(crate) hints: Mutex<Option<PubSub>>,
}

/// What a leader's script answers.
enum Verdict {
    Applied,
    Already,
    NotOpen,
}

fn millis(duration: Duration) -> u64 {
    // Redis takes signed 64 bits and adds the time of day.
    u64::try_from(duration.as_millis())
        .unwrap_or(u64::MAX)
        .clamp(1, i64::MAX as u64 / 4)
}

fn verdict(ours: LeaderEpoch, (code, newest): (i64, String)) -> Result<Verdict, BoardError> {
    match code {
        1 => Ok(Verdict::Applied),
        0 => Ok(Verdict::Already),
        -2 => Ok(Verdict::NotOpen),
        -1 => Err(BoardError::Fenced {
            ours,
            newest: read(&newest)?,
        }),
        other => Err(BoardError::Corrupt(format!("a script answered {other}"))),
    }
}

pub(crate) fn read<T: FromStr>(text: &str) -> Result<T, BoardError> {
    text.parse()
        .map_err(|_| BoardError::Corrupt(format!("'{text}' where an id should be")))
}

const fn number(stage: Stage) -> u8 {
    match stage {
        Stage::Miners => 0,
        Stage::Clips => 1,
        Stage::Closed => 2,
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

impl RedisBoard {
    /// Connects, and checks that the server answers and lets us in.
    pub async fn connect(options: RedisOptions) -> Result<Self, BoardError> {
        let address = Address::parse(&options.url)?;
        let meter = Meter::new(&options.metrics);
        let (size, answer) = (options.connections, options.answer_within);
        let links = Links::new(address, size, answer, meter.clone()).await?;
        let inner = Inner {
            links,
            keys: Keys::new(options.netuid),
            scripts: Scripts::new(),
            meter,
            waiting: Waiting::new(),
            retention_ms: millis(options.retention),
            fact_retention_ms: millis(options.fact_retention),
            answer_within: options.answer_within,
            stamped: AtomicU64::new(0),
            hints: Mutex::new(None),
        };
        let board = Self {
            inner: Arc::new(inner),
        };
        board.look().await?;
        Ok(board)
    }

    /// Whether the board answers.
    pub async fn look(&self) -> Result<(), BoardError> {
        // The lease, because that a cluster answers one node's PING says nothing about the slot it lies in.
        let lease = self.inner.keys.lease();
        let links = &self.inner.links;
        links
            .ask::<Option<String>>(Call::Read, &Ask::One(Cmd::get(&lease)))
            .await
            .map(|_| ())
    }

    async fn script<T: redis::FromRedisValue>(
        &self,
        call: Call,
        script: &Script,
        keys: &[String],
        arguments: &[&[u8]],
    ) -> Result<T, BoardError> {
        let mut invocation = script.prepare_invoke();
        for key in keys {
            invocation.key(key);
        }
        for argument in arguments {
            invocation.arg(*argument);
        }
        self.inner.links.ask(call, &Ask::Script(invocation)).await
    }

    /// Checks, in the slot that knows, that the epoch leads.
    async fn enter(
        &self,
        epoch: LeaderEpoch,
        interval: IntervalId,
        how: &str,
    ) -> Result<(), BoardError> {
        let inner = &self.inner;
        let answer = self
            .script(
                Call::Lead,
                &inner.scripts.enter,
                &[inner.keys.epoch(), inner.keys.rounds()],
                &[
                    epoch.to_string().as_bytes(),
                    interval.to_string().as_bytes(),
                    how.as_bytes(),
                ],
            )
            .await?;
        verdict(epoch, answer).map(|_| ())
    }

    async fn listed(&self) -> Result<Vec<IntervalId>, BoardError> {
        let key = &self.inner.keys.rounds();
        let listed: Vec<String> = self
            .inner
            .links
            .ask(Call::Read, &Ask::One(Cmd::zrange(key, 0, -1)))
            .await?;
        listed.iter().map(|text| read(text)).collect()
    }

    /// Makes every listed interval refuse older epochs.
    async fn stamp(&self, epoch: LeaderEpoch) -> Result<(), BoardError> {
        if self.inner.stamped.load(Ordering::Acquire) == epoch.get() {
            return Ok(());
        }
        for interval in self.listed().await? {
            let keys = [self.inner.keys.round(interval).meta()];
            let retention = self.inner.retention_ms.to_string();
            let arguments = [epoch.to_string(), retention];
            let arguments = arguments.each_ref().map(String::as_bytes);
            let _: i64 = self
                .script(Call::Lead, &self.inner.scripts.stamp, &keys, &arguments)
                .await?;
        }
        self.inner.stamped.store(epoch.get(), Ordering::Release);
        Ok(())
    }

    async fn stage(&self, interval: IntervalId) -> Result<Option<u8>, BoardError> {
        let key = &self.inner.keys.round(interval).meta();
        let stage: Option<u8> = self
            .inner
            .links
            .ask(Call::Read, &Ask::One(Cmd::hget(key, "stage")))
            .await?;
        Ok(stage.filter(|stage| *stage != RETIRED))
    }

    async fn post_report(&self, job: &JobId, result: Vec<u8>) -> Result<Posted, BoardError> {
        let inner = &self.inner;
        let names = inner.keys.round(job.interval());
        let keys = [
            names.meta(),
            names.miners_wanted(),
            names.miners_got(),
            names.miners_late(),
        ];
        let (retention, channel) = (inner.retention_ms.to_string(), inner.keys.channel());
        let arguments = [
            job.hotkey().as_str().as_bytes(),
            &result,
            retention.as_bytes(),
            channel.as_bytes(),
        ];
        let script = &inner.scripts.post_miner;
        posted(self.script(Call::Post, script, &keys, &arguments).await?)
    }

    async fn wanted_report(&self, job: &JobId) -> Result<bool, BoardError> {
        let names = self.inner.keys.round(job.interval());
        let hotkey = job.hotkey().as_str();
        let mut ask = redis::pipe();
        ask.atomic()
            .hget(names.meta(), "stage")
            .sismember(names.miners_wanted(), hotkey)
            .hexists(names.miners_got(), hotkey);
        let (stage, expected, there): (Option<u8>, bool, bool) =
            self.inner.links.ask(Call::Wanted, &Ask::Many(ask)).await?;
        Ok(stage == Some(number(Stage::Miners)) && expected && !there)
    }

    pub(crate) async fn clip_miners(&self, keys: &RoundKeys) -> Result<Vec<Hotkey>, BoardError> {
        let key = &keys.clip_miners();
        let miners: Vec<String> = self
            .inner
            .links
            .ask(Call::Read, &Ask::One(Cmd::smembers(key)))
            .await?;
        let mut miners: Vec<Hotkey> = miners
            .iter()
            .map(|text| read(text))
            .collect::<Result<_, _>>()?;
        miners.sort();
        Ok(miners)
    }

    pub(crate) async fn hash(&self, key: String) -> Result<Vec<(String, Vec<u8>)>, BoardError> {
        let key = &key;
        self.inner
            .links
            .ask(Call::Read, &Ask::One(Cmd::hgetall(key)))
            .await
    }

    pub(crate) async fn bits(&self, key: String) -> Result<Vec<u8>, BoardError> {
        let key = &key;
        let bits: Option<Vec<u8>> = self
            .inner
            .links
            .ask(Call::Read, &Ask::One(Cmd::get(key)))
            .await?;
        Ok(bits.unwrap_or_default())
    }
}

#[async_trait]
impl Board for RedisBoard {
    async fn campaign(&self, who: &str, ttl: Duration) -> Result<Leadership, BoardError> {
        let inner = &self.inner;
        let keys = [inner.keys.lease(), inner.keys.epoch()];
        let ttl = millis(ttl).to_string();
        let (leads, text): (i64, String) = self
            .script(
                Call::Lease,
                &inner.scripts.campaign,
                &keys,
                &[who.as_bytes(), ttl.as_bytes()],
            )
            .await?;
        if leads == 0 {
            return Ok(Leadership::Follower { holder: text });
        }
        let epoch = read(&text)?;
        self.stamp(epoch).await?;
        Ok(Leadership::Leader(epoch))
    }

    async fn resign(&self, epoch: LeaderEpoch) -> Result<(), BoardError> {
        let inner = &self.inner;
        let keys = [inner.keys.lease(), inner.keys.epoch()];
        let arguments = [epoch.to_string(), inner.keys.channel()];
        let arguments = arguments.each_ref().map(String::as_bytes);
        let _: i64 = self
            .script(Call::Lease, &inner.scripts.resign, &keys, &arguments)
            .await?;
        Ok(())
    }

    async fn open(
        &self,
        epoch: LeaderEpoch,
        interval: IntervalId,
        plan: Vec<u8>,
        expected: &[JobId],
    ) -> Result<Write, BoardError> {
        let inner = &self.inner;
        let mut hotkeys: Vec<&str> = Vec::with_capacity(expected.len());
        for id in expected {
            match id {
                JobId::Miner {
                    interval: of,
                    hotkey,
                } if *of == interval => {
                    hotkeys.push(hotkey.as_str());
                }
                _ => return Err(cannot_be_expected(id, interval, Stage::Miners)),
            }
        }
        hotkeys.sort_unstable();
        hotkeys.dedup();
        self.enter(epoch, interval, "list").await?;
        let keys = inner.keys.round(interval);
        let head = [
            epoch.to_string(),
            inner.retention_ms.to_string(),
            inner.keys.channel(),
        ];
        let mut arguments: Vec<&[u8]> = head.iter().map(String::as_bytes).collect();
        arguments.push(&plan);
        arguments.extend(hotkeys.iter().map(|hotkey| hotkey.as_bytes()));
        let answer = self
            .script(
                Call::Lead,
                &inner.scripts.open,
                &[keys.meta(), keys.miners_wanted()],
                &arguments,
            )
            .await?;
        match verdict(epoch, answer)? {
            Verdict::Applied => Ok(Write::Applied),
            Verdict::Already | Verdict::NotOpen => Ok(Write::Already),
        }
    }

    async fn advance(
        &self,
        epoch: LeaderEpoch,
        interval: IntervalId,
        to: Stage,
        plan: Vec<u8>,
        expected: &[JobId],
    ) -> Result<Write, BoardError> {
        let inner = &self.inner;
        let mut rows: BTreeMap<&Hotkey, Vec<u8>> = BTreeMap::new();
        for id in expected {
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
        let count: usize = rows
            .values()
            .flatten()
            .map(|byte| byte.count_ones() as usize)
            .sum();
        let names = inner.keys.round(interval);
        let mut keys = vec![
            names.meta(),
            names.miners_wanted(),
            names.miners_got(),
            names.clip_miners(),
        ];
        keys.extend(rows.keys().map(|hotkey| names.clips_wanted(hotkey)));
        let head = [
            epoch.to_string(),
            inner.retention_ms.to_string(),
            inner.keys.channel(),
            number(to).to_string(),
        ];
        let count = count.to_string();
        let mut arguments: Vec<&[u8]> = head.iter().map(String::as_bytes).collect();
        arguments.extend([plan.as_slice(), count.as_bytes()]);
        for (hotkey, bits) in &rows {
            arguments.extend([hotkey.as_str().as_bytes(), bits.as_slice()]);
        }
        let answer = self
            .script(Call::Lead, &inner.scripts.advance, &keys, &arguments)
            .await?;
        match verdict(epoch, answer)? {
            Verdict::Applied => Ok(Write::Applied),
            Verdict::Already => Ok(Write::Already),
            Verdict::NotOpen => {
                // Either the caller is wrong, or the board was emptied and we do not lead any more.
                self.enter(epoch, interval, "check").await?;
                Err(BoardError::Refused(format!(
                    "interval {interval} is not open"
                )))
            }
        }
    }

    async fn retire(&self, epoch: LeaderEpoch, interval: IntervalId) -> Result<Write, BoardError> {
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
        for hotkey in self.clip_miners(&names).await? {
            keys.push(names.clips_wanted(&hotkey));
            keys.push(names.clips_have(&hotkey));
            keys.push(names.clips_got(&hotkey));
        }
        let arguments = [
            epoch.to_string(),
            inner.retention_ms.to_string(),
            inner.keys.channel(),
        ];
        let arguments = arguments.each_ref().map(String::as_bytes);
        let answer = self
            .script(Call::Lead, &inner.scripts.retire, &keys, &arguments)
            .await?;
        let write = match verdict(epoch, answer)? {
            Verdict::Applied => Write::Applied,
            Verdict::Already | Verdict::NotOpen => Write::Already,
        };
        let keys = [inner.keys.epoch(), inner.keys.rounds()];
        let arguments = [epoch.to_string(), interval.to_string()];
        let arguments = arguments.each_ref().map(String::as_bytes);
        let answer = self
            .script(Call::Lead, &inner.scripts.leave, &keys, &arguments)
            .await?;
        verdict(epoch, answer)?;
        Ok(write)
    }

    async fn rounds(&self) -> Result<Vec<IntervalId>, BoardError> {
        let mut open = Vec::new();
        for interval in self.listed().await? {
            // Listed but never opened (a leader died in between), or expired: not open.
            if self.stage(interval).await?.is_some() {
                open.push(interval);
            }
        }
        Ok(open)
    }

    async fn tally(&self, interval: IntervalId) -> Result<Option<Tally>, BoardError> {
        let key = &self.inner.keys.round(interval).meta();
        let fields = &["stage", "want0", "done0", "want1", "done1"];
        let (stage, a, b, c, d): (
            Option<u8>,
            Option<u64>,
            Option<u64>,
            Option<u64>,
            Option<u64>,
        ) = self
            .inner
            .links
            .ask(Call::Read, &Ask::One(Cmd::hmget(key, fields)))
            .await?;
        let [want0, done0, want1, done1] = [a, b, c, d];
        let tally = |stage, expected: Option<u64>, done: Option<u64>| {
            let (expected, done) = (expected.unwrap_or(0), done.unwrap_or(0));
            Ok(Some(Tally {
                stage,
                expected,
                done,
            }))
        };
        match stage {
            None | Some(RETIRED) => Ok(None),
            Some(0) => tally(Stage::Miners, want0, done0),
            Some(1) => tally(Stage::Clips, want1, done1),
            Some(2) => tally(Stage::Closed, None, None),
            Some(other) => Err(BoardError::Corrupt(format!("stage {other} of {interval}"))),
        }
    }

    async fn plan(
        &self,
        interval: IntervalId,
        stage: Stage,
    ) -> Result<Option<Vec<u8>>, BoardError> {
        let key = &self.inner.keys.round(interval).meta();
        let field = &format!("plan{}", number(stage));
        self.inner
            .links
            .ask(Call::Read, &Ask::One(Cmd::hget(key, field)))
            .await
    }

    async fn post(&self, job: &JobId, result: Vec<u8>) -> Result<Posted, BoardError> {
        match Clip::of(job) {
            Some(clip) => self.post_clip(clip, result).await,
            // Boxed: large and rare beside the other.
            None => Box::pin(self.post_report(job, result)).await,
        }
    }

    async fn wanted(&self, job: &JobId) -> Result<bool, BoardError> {
        match Clip::of(job) {
            Some(clip) => self.wanted_clip(clip).await,
            None => Box::pin(self.wanted_report(job)).await,
        }
    }

    async fn missing(&self, interval: IntervalId, stage: Stage) -> Result<Vec<JobId>, BoardError> {
        self.missing_of(interval, stage).await
    }

    async fn results(
        &self,
        interval: IntervalId,
        stage: Stage,
    ) -> Result<Vec<(JobId, Vec<u8>)>, BoardError> {
        self.results_of(interval, stage).await
    }

    async fn late(&self, interval: IntervalId) -> Result<Vec<(JobId, Vec<u8>)>, BoardError> {
        self.late_of(interval).await
    }

    async fn fact(&self, name: &str) -> Result<Option<Vec<u8>>, BoardError> {
        let key = &self.inner.keys.fact(name);
        self.inner
            .links
            .ask(Call::Read, &Ask::One(Cmd::get(key)))
            .await
    }

    async fn set_fact(
        &self,
        epoch: LeaderEpoch,
        name: &str,
        value: Vec<u8>,
    ) -> Result<(), BoardError> {
        let inner = &self.inner;
        let keys = [inner.keys.epoch(), inner.keys.fact(name)];
        let (ours, channel) = (epoch.to_string(), inner.keys.channel());
        let retention = inner.fact_retention_ms.to_string();
        let arguments = [
            ours.as_bytes(),
            &value,
            retention.as_bytes(),
            channel.as_bytes(),
        ];
        let answer = self
            .script(Call::Lead, &inner.scripts.set_fact, &keys, &arguments)
            .await?;
        verdict(epoch, answer).map(|_| ())
    }

    async fn changed(&self, at_most: Duration) {
        self.wait_for_change(at_most).await;
    }
}
