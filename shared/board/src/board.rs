use crate::clips::{Clip, Waiting, posted};
use crate::hints::Hints;
use crate::keys::{Keys, RoundKeys};
use crate::leading::{Next, Removal, verdict};
use crate::link::{Ask, Links};
use crate::meter::{Call, Meter};
use crate::options::{RedisOptions, Site};
use crate::script::Scripts;
use async_trait::async_trait;
use nexis_ports::{Board, BoardError, Leadership, Posted, Stage, Tally, Write};
use nexis_protocol::{Hotkey, IntervalId, JobId, LeaderEpoch};
use redis::{Cmd, Script};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;

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
    pub(crate) hints: Mutex<Option<Hints>>,
}

fn millis(duration: Duration) -> u64 {
    // Redis takes signed 64 bits and adds the time of day.
    u64::try_from(duration.as_millis())
        .unwrap_or(u64::MAX)
        .clamp(1, i64::MAX as u64 / 4)
}

/// An id that somebody else may have written: `None`, and a warning, when it is not one.
pub(crate) fn known<T: FromStr>(text: &str) -> Option<T> {
    let id = text.parse().ok();
    if id.is_none() {
        tracing::warn!(text, "ignoring what is not an id among the board's keys");
    }
    id
}

pub(crate) fn read<T: FromStr>(text: &str) -> Result<T, BoardError> {
    text.parse()
        .map_err(|_| BoardError::Corrupt(format!("'{text}' where an id should be")))
}

pub(crate) const fn number(stage: Stage) -> u8 {
    match stage {
        Stage::Miners => 0,
        Stage::Clips => 1,
        Stage::Closed => 2,
    }
}

impl RedisBoard {
    /// Connects, and checks that the server answers and lets us in.
    pub async fn connect(options: RedisOptions) -> Result<Self, BoardError> {
        let site = Site::new(options.addresses?, options.tls)?;
        let meter = Meter::new(&options.metrics);
        let (size, answer) = (options.connections, options.answer_within);
        let links = Links::new(site, size, answer, meter.clone()).await?;
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
        board.check().await?;
        Ok(board)
    }

    pub(crate) async fn script<T: redis::FromRedisValue>(
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
    pub(crate) async fn enter(
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
        Ok(listed.iter().filter_map(|text| known(text)).collect())
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
            let script = &self.inner.scripts.stamp;
            match self
                .script::<i64>(Call::Lead, script, &keys, &arguments)
                .await
            {
                // Retired, or never opened, by a leader that died before it could take it off the list.
                Ok(0) => self.leave(epoch, interval).await?,
                Ok(_) => {}
                // A key of another type: no leader can write there, and one round must not keep us from leading.
                Err(BoardError::Corrupt(error) | BoardError::Refused(error)) => {
                    tracing::warn!(%interval, error, "this round's keys on the board cannot be read");
                }
                Err(error) => return Err(error),
            }
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
        let channel = inner.keys.channel();
        let arguments = [
            job.hotkey().as_str().as_bytes(),
            &result,
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
        self.members(keys.clip_miners()).await
    }

    /// The hotkeys of a set, ascending.
    pub(crate) async fn members(&self, key: String) -> Result<Vec<Hotkey>, BoardError> {
        let ask = Ask::One(Cmd::smembers(&key));
        let members: Vec<String> = self.inner.links.ask(Call::Read, &ask).await?;
        let mut members: Vec<Hotkey> = members.iter().filter_map(|text| known(text)).collect();
        members.sort();
        Ok(members)
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
        self.open_round(epoch, interval, &plan, expected).await
    }

    async fn advance_from(
        &self,
        epoch: LeaderEpoch,
        interval: IntervalId,
        seen: Option<u64>,
        to: Stage,
        plan: Vec<u8>,
        expected: &[JobId],
    ) -> Result<Write, BoardError> {
        let next = Next {
            seen,
            to,
            plan,
            expected,
        };
        self.advance_round(epoch, interval, next).await
    }

    async fn retire(&self, epoch: LeaderEpoch, interval: IntervalId) -> Result<Write, BoardError> {
        self.remove_round(epoch, interval, Removal::Retire).await
    }

    async fn discard(&self, epoch: LeaderEpoch, interval: IntervalId) -> Result<Write, BoardError> {
        self.remove_round(epoch, interval, Removal::Discard).await
    }

    async fn forget(
        &self,
        epoch: LeaderEpoch,
        interval: IntervalId,
        jobs: &[JobId],
    ) -> Result<Write, BoardError> {
        self.forget_results(epoch, interval, jobs).await
    }

    async fn rounds(&self) -> Result<Vec<IntervalId>, BoardError> {
        let mut open = Vec::new();
        for interval in self.listed().await? {
            // Listed but never opened (a leader died in between), or expired: not open.
            match self.stage(interval).await {
                Ok(stage) => open.extend(stage.map(|_| interval)),
                // Whoever works on the round finds out what is wrong with it; the others are listed all the same.
                Err(BoardError::Corrupt(_) | BoardError::Refused(_)) => open.push(interval),
                Err(error) => return Err(error),
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

    async fn results_of(
        &self,
        interval: IntervalId,
        stage: Stage,
        hotkey: &Hotkey,
    ) -> Result<Vec<(JobId, Vec<u8>)>, BoardError> {
        self.results_of_miner(interval, stage, hotkey).await
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
