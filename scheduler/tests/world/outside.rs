//! The outside of a simulated validator: chain, gates in front of board and archive, a worker whose reports follow
//! from the job alone.

use async_trait::async_trait;
use nexis_ports::{
    Archive, ArchiveError, Board, BoardError, Bucket, BucketAccess, Chain, ChainError,
    CommitTicket, FetchError, FetchLimits, Fetched, Head, Leadership, Neuron, Posted, RevealState,
    Roster, Settlement, SignedSubmission, Stage, SubmissionJournal, SubmitOutcome,
    SubnetParameters, Tally, WeightRequest, Write,
};
use nexis_protocol::claim::{Claims, RowFacts};
use nexis_protocol::clip::ClipVerdict;
use nexis_protocol::picture::Pictures;
use nexis_protocol::reason::Reason;
use nexis_protocol::row::{RowRef, Rows};
use nexis_protocol::{BlockNumber, Digest, Hotkey, IntervalId, JobId, LeaderEpoch, Netuid, Uid};
use nexis_wire::{
    ClipJob, ClipReport, MinerJob, MinerReport, PackedRows, ReportOutcome, ScreenedReport, Wire,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// Registered hotkeys; uid 0 is the validator.
pub const NEURONS: u8 = 7;
/// Its report never comes before its stage is closed.
pub const SLOW_MINER: u8 = 3;
/// The verdict of its row 0 never comes before its stage is closed.
pub const SLOW_CLIP: u8 = 5;

pub fn hotkey(uid: u8) -> Hotkey {
    Hotkey::from_public_key(&[uid + 1; 32])
}

pub fn uid_of(hotkey: &Hotkey) -> u8 {
    hotkey.public_key()[0] - 1
}

/// A job whose result comes too late.
pub fn is_slow(job: &JobId) -> bool {
    match job {
        JobId::Miner { hotkey, .. } => uid_of(hotkey) == SLOW_MINER,
        JobId::Clip { hotkey, row, .. } => uid_of(hotkey) == SLOW_CLIP && *row == 0,
    }
}

/// A chain whose blocks come when the driver says so.
pub struct SimChain {
    pub head: watch::Sender<u64>,
    /// Submissions that reached the chain: block, uids, weights.
    pub submitted: Mutex<Vec<(u64, Vec<u16>, Vec<u16>)>>,
    /// Signatures made.
    pub signed: AtomicU64,
    /// Block of each signature that is on the chain.
    pub included: Mutex<BTreeMap<String, u64>>,
    /// Signatures that were looked for: they have expired.
    pub resolved: Mutex<BTreeSet<String>>,
    /// The next submission reaches the chain, and its caller never hears of it.
    pub swallow: AtomicBool,
    pub swallowed: AtomicBool,
}

impl SimChain {
    pub fn at(head: u64) -> Self {
        Self {
            head: watch::Sender::new(head),
            submitted: Mutex::default(),
            signed: AtomicU64::new(0),
            included: Mutex::default(),
            resolved: Mutex::default(),
            swallow: AtomicBool::new(false),
            swallowed: AtomicBool::new(false),
        }
    }
}

fn refused(error: &str) -> SubmitOutcome {
    SubmitOutcome::Refused {
        error: error.to_owned(),
        remedy: String::new(),
        retry_at: None,
    }
}

fn head(number: u64) -> Head {
    Head {
        number: BlockNumber::new(number),
        hash: format!("0x{number:064x}"),
    }
}

#[async_trait]
impl Chain for SimChain {
    async fn head(&self) -> Result<Head, ChainError> {
        Ok(head(*self.head.borrow()))
    }

    async fn next_head(&self, after: BlockNumber, at_most: Duration) -> Result<Head, ChainError> {
        let mut heads = self.head.subscribe();
        let newer = heads.wait_for(|head| *head > after.get());
        let _timeout_is_an_answer_too = tokio::time::timeout(at_most, newer).await.is_err();
        Ok(head(*self.head.borrow()))
    }

    async fn roster(&self, _: Netuid, at: Option<BlockNumber>) -> Result<Roster, ChainError> {
        let block = at.map_or(*self.head.borrow(), BlockNumber::get);
        let last_update = self
            .submitted
            .lock()
            .unwrap()
            .last()
            .map_or(0, |(block, ..)| *block);
        let neurons = (0..NEURONS).map(|uid| Neuron {
            uid: Uid::new(u16::from(uid)),
            hotkey: hotkey(uid),
            validator_permit: uid == 0,
            stake_rao: 0,
            last_update: if uid == 0 { last_update } else { 0 },
        });
        Ok(Roster {
            block: BlockNumber::new(block),
            hash: head(block).hash,
            neurons: neurons.collect(),
            commitments: (1..NEURONS)
                .map(|uid| (hotkey(uid), "a".repeat(128)))
                .collect(),
            parameters: SubnetParameters {
                tempo: 99,
                weights_rate_limit: 0,
                weights_version: 0,
                min_allowed_weights: 0,
                commit_reveal: false,
            },
        })
    }

    fn own_hotkey(&self) -> Option<Hotkey> {
        Some(hotkey(0))
    }

    async fn set_weights(
        &self,
        request: &WeightRequest,
        journal: &mut dyn SubmissionJournal,
    ) -> Result<SubmitOutcome, ChainError> {
        let scaled =
            nexis_protocol::weights::scale_to_u16(&request.uids, &request.weights).unwrap();
        let block = *self.head.borrow();
        let count = self.signed.fetch_add(1, Ordering::SeqCst);
        let signed = SignedSubmission {
            netuid: request.netuid,
            extrinsic: format!("0x{count:064x}"),
            signed_at: block,
            last_valid: block + 16,
            weights: scaled.clone(),
            commit: None,
        };
        journal.signed(&signed).await?;
        let (uids, shares) = scaled.into_iter().unzip();
        let block = *self.head.borrow();
        {
            // As on the chain, a signature is good for one place.
            let mut submitted = self.submitted.lock().unwrap();
            if self.resolved.lock().unwrap().contains(&signed.extrinsic) {
                return Ok(refused("Outdated"));
            }
            submitted.push((block, uids, shares));
            self.included
                .lock()
                .unwrap()
                .insert(signed.extrinsic.clone(), block);
        }
        if self.swallow.swap(false, Ordering::SeqCst) {
            self.swallowed.store(true, Ordering::SeqCst);
            std::future::pending::<()>().await;
        }
        Ok(SubmitOutcome::Verified {
            block,
            extrinsic: signed.extrinsic,
        })
    }

    /// Time stands still while anything is left to do: a signature that is looked for and not there expires.
    async fn resolve(&self, signed: &SignedSubmission) -> Result<SubmitOutcome, ChainError> {
        let _no_submission_in_between = self.submitted.lock().unwrap();
        let included = self
            .included
            .lock()
            .unwrap()
            .get(&signed.extrinsic)
            .copied();
        self.resolved
            .lock()
            .unwrap()
            .insert(signed.extrinsic.clone());
        Ok(match included {
            Some(block) => SubmitOutcome::Verified {
                block,
                extrinsic: signed.extrinsic.clone(),
            },
            None => refused("NeverIncluded"),
        })
    }

    async fn reveal(&self, _: &CommitTicket) -> Result<RevealState, ChainError> {
        Ok(RevealState::Unseen) // This chain has no commits.
    }

    async fn weights_of(&self, _: Netuid, _: Uid) -> Result<Vec<(u16, u16)>, ChainError> {
        let submitted = self.submitted.lock().unwrap();
        Ok(submitted.last().map_or_else(Vec::new, |(_, uids, shares)| {
            uids.iter().copied().zip(shares.iter().copied()).collect()
        }))
    }
}

/// No bucket at all: workers are simulated.
pub struct NoBucket;

#[async_trait]
impl Bucket for NoBucket {
    async fn fetch(
        &self,
        _: &BucketAccess,
        _: &str,
        _: FetchLimits,
    ) -> Result<Fetched, FetchError> {
        Ok(Fetched::Missing)
    }
}

/// Stands before every call of one scheduler; shut, the scheduler sleeps in the middle of whatever it does.
#[derive(Clone)]
pub struct Gate(Arc<Lock>);

struct Lock {
    open: watch::Sender<bool>,
    /// Calls that still pass before the gate shuts by itself.
    fuse: AtomicI64,
    /// Looks that ended with nothing left to do.
    quiet: AtomicU64,
}

impl Gate {
    pub fn open() -> Self {
        Self(Arc::new(Lock {
            open: watch::Sender::new(true),
            fuse: AtomicI64::new(i64::MAX),
            quiet: AtomicU64::new(0),
        }))
    }

    /// Shuts before the call that comes after so many.
    pub fn shut_after(&self, calls: u32) {
        self.0.fuse.store(calls.into(), Ordering::SeqCst);
    }

    /// Lets everything pass again.
    pub fn wake(&self) {
        self.0.fuse.store(i64::MAX, Ordering::SeqCst);
        self.0.open.send_replace(true);
    }

    pub fn is_shut(&self) -> bool {
        !*self.0.open.borrow()
    }

    pub fn quiet_looks(&self) -> u64 {
        self.0.quiet.load(Ordering::SeqCst)
    }

    async fn pass(&self) {
        if self.0.fuse.fetch_sub(1, Ordering::SeqCst) == 0 {
            self.0.open.send_replace(false);
        }
        let mut state = self.0.open.subscribe();
        let _open = state
            .wait_for(|open| *open)
            .await
            .expect("the gate holds its own sender");
    }
}

pub struct GatedArchive<A> {
    pub gate: Gate,
    pub inner: A,
    /// Different bytes that were stored of a round, by object.
    pub stored: Arc<Mutex<BTreeMap<String, Vec<Vec<u8>>>>>,
}

impl<A> GatedArchive<A> {
    fn note(&self, name: &str, bytes: &[u8]) {
        if name.starts_with("rounds/") {
            let mut stored = self.stored.lock().unwrap();
            let versions = stored.entry(name.to_owned()).or_default();
            if !versions.iter().any(|known| known == bytes) {
                versions.push(bytes.to_vec());
            }
        }
    }
}

#[async_trait]
impl<A: Archive> Archive for GatedArchive<A> {
    async fn put(&self, name: &str, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.gate.pass().await;
        self.inner.put(name, bytes).await?;
        self.note(name, bytes);
        Ok(())
    }

    async fn create(&self, name: &str, bytes: &[u8]) -> Result<bool, ArchiveError> {
        self.gate.pass().await;
        let created = self.inner.create(name, bytes).await?;
        if created {
            self.note(name, bytes);
        }
        Ok(created)
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, ArchiveError> {
        self.gate.pass().await;
        self.inner.get(name).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, ArchiveError> {
        self.gate.pass().await;
        self.inner.list(prefix).await
    }
}

pub struct GatedBoard<B> {
    pub gate: Gate,
    pub inner: B,
}

#[async_trait]
impl<B: Board> Board for GatedBoard<B> {
    async fn campaign(&self, who: &str, ttl: Duration) -> Result<Leadership, BoardError> {
        self.gate.pass().await;
        self.inner.campaign(who, ttl).await
    }
    async fn resign(&self, epoch: LeaderEpoch) -> Result<(), BoardError> {
        self.inner.resign(epoch).await
    }
    async fn open(
        &self,
        epoch: LeaderEpoch,
        interval: IntervalId,
        plan: Vec<u8>,
        expected: &[JobId],
    ) -> Result<Write, BoardError> {
        self.gate.pass().await;
        self.inner.open(epoch, interval, plan, expected).await
    }
    async fn advance(
        &self,
        epoch: LeaderEpoch,
        interval: IntervalId,
        to: Stage,
        plan: Vec<u8>,
        expected: &[JobId],
    ) -> Result<Write, BoardError> {
        self.gate.pass().await;
        self.inner
            .advance(epoch, interval, to, plan, expected)
            .await
    }
    async fn retire(&self, epoch: LeaderEpoch, interval: IntervalId) -> Result<Write, BoardError> {
        self.gate.pass().await;
        self.inner.retire(epoch, interval).await
    }
    async fn rounds(&self) -> Result<Vec<IntervalId>, BoardError> {
        self.gate.pass().await;
        self.inner.rounds().await
    }
    async fn tally(&self, interval: IntervalId) -> Result<Option<Tally>, BoardError> {
        self.gate.pass().await;
        self.inner.tally(interval).await
    }
    async fn plan(
        &self,
        interval: IntervalId,
        stage: Stage,
    ) -> Result<Option<Vec<u8>>, BoardError> {
        self.gate.pass().await;
        self.inner.plan(interval, stage).await
    }
    async fn post(&self, job: &JobId, result: Vec<u8>) -> Result<Posted, BoardError> {
        self.gate.pass().await;
        self.inner.post(job, result).await
    }
    async fn wanted(&self, job: &JobId) -> Result<bool, BoardError> {
        self.gate.pass().await;
        self.inner.wanted(job).await
    }
    async fn missing(&self, interval: IntervalId, stage: Stage) -> Result<Vec<JobId>, BoardError> {
        self.gate.pass().await;
        self.inner.missing(interval, stage).await
    }
    async fn results(
        &self,
        interval: IntervalId,
        stage: Stage,
    ) -> Result<Vec<(JobId, Vec<u8>)>, BoardError> {
        self.gate.pass().await;
        self.inner.results(interval, stage).await
    }
    async fn late(&self, interval: IntervalId) -> Result<Vec<(JobId, Vec<u8>)>, BoardError> {
        self.gate.pass().await;
        self.inner.late(interval).await
    }
    async fn fact(&self, name: &str) -> Result<Option<Vec<u8>>, BoardError> {
        self.gate.pass().await;
        self.inner.fact(name).await
    }
    async fn set_fact(
        &self,
        epoch: LeaderEpoch,
        name: &str,
        value: Vec<u8>,
    ) -> Result<(), BoardError> {
        self.gate.pass().await;
        self.inner.set_fact(epoch, name, value).await
    }
    async fn changed(&self, at_most: Duration) {
        self.gate.0.quiet.fetch_add(1, Ordering::SeqCst);
        self.inner.changed(at_most).await;
    }
}

/// A number that follows from its arguments alone.
fn draw(hotkey: &Hotkey, interval: IntervalId, what: &str) -> u8 {
    Digest::of(format!("{hotkey}:{interval}:{what}").as_bytes())
        .to_string()
        .as_bytes()[0]
}

/// The report of a miner job: one miner is rejected, two publish the same rows, the rest is honest.
pub fn miner_report(job: &MinerJob) -> MinerReport {
    let uid = uid_of(&job.hotkey);
    let outcome = if uid == 0 || uid == 1 && draw(&job.hotkey, job.interval, "files") % 2 == 0 {
        ReportOutcome::Rejected {
            reasons: vec![Reason::MissingSubmissionFiles],
            detail: "nothing is there".to_owned(),
            notes: BTreeMap::new(),
        }
    } else {
        let source = if uid == 6 { 4 } else { uid };
        let ids: Vec<String> = (0..3 + u32::from(source) % 3)
            .map(|row| format!("clip-{source}-{row}"))
            .collect();
        let url = format!(
            "https://www.youtube.com/watch?v=video{:06}",
            job.interval.get() * 10 + u64::from(source)
        );
        let video = url[url.len() - 11..].to_owned();
        let mut rows = Rows::default();
        let mut facts = Vec::new();
        for (start, id) in (0..).map(|row| f64::from(row) * 5.0).zip(&ids) {
            let caption = "a lake between mountains";
            rows.push(RowRef {
                clip_id: id,
                clip_uri: "clips/one.mp4",
                first_frame_uri: "frames/one.jpg",
                source_video_id: &video,
                split_group_id: &video,
                split: "train",
                caption,
                source_video_url: &url,
                clip_sha256: Some(Digest::of(id.as_bytes())),
                first_frame_sha256: None,
                clip_start_sec: start,
                duration_sec: 5.0,
                width: 1280,
                height: 720,
                num_frames: 150,
                fps: 30.0,
                has_audio: true,
            })
            .unwrap();
            facts.push(RowFacts {
                clip_id: id,
                source_video_id: &video,
                source_video_url: &url,
                caption,
                clip_start_sec: start,
            });
        }
        ReportOutcome::Screened(Box::new(ScreenedReport {
            spec_id: "video_v1".to_owned(),
            category: None,
            submitted_at: f64::from(uid),
            claims: Claims::collect(facts, &job.rules.profile),
            rows: PackedRows::pack(rows),
        }))
    };
    MinerReport {
        interval: job.interval,
        hotkey: job.hotkey.clone(),
        outcome,
        manifest_sha256: None,
        dataset_sha256: None,
    }
}

/// The report of a clip job: some clips are not there.
pub fn clip_report(job: &ClipJob) -> ClipReport {
    let gone = uid_of(&job.hotkey) != 4 && draw(&job.hotkey, job.interval, &job.clip_id) % 5 == 0;
    let failures = if gone {
        vec![Reason::MissingClipAsset {
            clip_id: job.clip_id.clone(),
        }]
    } else {
        Vec::new()
    };
    ClipReport {
        interval: job.interval,
        hotkey: job.hotkey.clone(),
        row: job.row,
        verdict: ClipVerdict {
            failures,
            advisories: Vec::new(),
        },
        measured: None,
        pictures: Pictures::default(),
        caption: Vec::new(),
        category: Vec::new(),
        frame_names: Vec::new(),
    }
}

/// The result of any job, by the bytes that the queue carries.
pub fn result(route: nexis_ports::Route, body: &[u8]) -> (JobId, Vec<u8>) {
    match route {
        nexis_ports::Route::Miner => {
            let job = MinerJob::decode(body).unwrap();
            (job.id(), miner_report(&job).encode())
        }
        nexis_ports::Route::Clip => {
            let job = ClipJob::decode(body).unwrap();
            (job.id(), clip_report(&job).encode())
        }
    }
}

/// How a simulated worker treats one delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// As it should.
    Good,
    /// Gives it back unread.
    Dropped,
    /// Posts, and never acknowledges.
    NotAcknowledged,
    /// Posts two times.
    Twice,
}

/// Works off one route until the queue ends.
pub async fn work(
    board: Arc<dyn Board>,
    queue: Arc<dyn nexis_ports::Queue>,
    route: nexis_ports::Route,
    mut treatment: impl FnMut() -> Treatment,
) {
    let mut deliveries = queue.consume(route, 3).await.unwrap();
    while let Ok(delivery) = deliveries.next().await {
        let how = treatment();
        if how == Treatment::Dropped {
            drop(delivery);
            continue;
        }
        let (id, bytes) = result(route, &delivery.message.body);
        if is_slow(&id) {
            post_when_late(Arc::clone(&board), id, bytes);
            delivery.settle(Settlement::Ack).await.unwrap();
            continue;
        }
        if board.wanted(&id).await.unwrap() {
            board.post(&id, bytes.clone()).await.unwrap();
        }
        match how {
            Treatment::Twice => {
                let again = board.post(&id, bytes).await.unwrap();
                assert!(
                    matches!(again, Posted::Duplicate | Posted::Unknown | Posted::Late),
                    "{again:?}"
                );
            }
            Treatment::NotAcknowledged => {
                drop(delivery);
                continue;
            }
            Treatment::Good | Treatment::Dropped => {}
        }
        delivery.settle(Settlement::Ack).await.unwrap();
    }
}

/// Posts a result after its stage was closed.
fn post_when_late(board: Arc<dyn Board>, id: JobId, bytes: Vec<u8>) {
    let board = Arc::downgrade(&board);
    tokio::spawn(async move {
        let own = match &id {
            JobId::Miner { .. } => Stage::Miners,
            JobId::Clip { .. } => Stage::Clips,
        };
        loop {
            let Some(board) = board.upgrade() else { return };
            match board.tally(id.interval()).await.unwrap() {
                None => return,
                Some(tally) if tally.stage > own => {
                    board.post(&id, bytes).await.unwrap();
                    return;
                }
                Some(_) => {}
            }
            drop(board);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
}
