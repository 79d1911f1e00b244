//! What an earlier leader leaves in the archive while the next one takes over.
#![expect(clippy::unwrap_used, reason = "a test's failure is a panic")]

use async_trait::async_trait;
use nexis_local::{DirArchive, HandClock, LocalBoard, LocalQueue, LocalQueueOptions};
use nexis_ports::conformance::still::{NoBucket, StillChain};
use nexis_ports::{Archive, ArchiveError, Board as _};
use nexis_protocol::calendar::Calendar;
use nexis_protocol::profile::Profile;
use nexis_protocol::{BlockNumber, Digest, Hotkey, IntervalId, Netuid};
use nexis_scheduler::ledger::DecisionFile;
use nexis_scheduler::{Keeping, Scheduler, SchedulerOptions, SchedulerPorts};
use nexis_testkit::eventually;
use nexis_wire::{JobRules, PlannedMiner, RoundPlan, Wire as _};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const NETUID: Netuid = Netuid::new(70);
const BLOCK: u64 = 10_000;

/// An archive into which somebody else puts an object right after the rounds were first listed.
struct Shared {
    inner: DirArchive,
    theirs: Mutex<Option<(String, Vec<u8>)>>,
}

#[async_trait]
impl Archive for Shared {
    async fn put(&self, name: &str, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.inner.put(name, bytes).await
    }

    async fn create(&self, name: &str, bytes: &[u8]) -> Result<bool, ArchiveError> {
        self.inner.create(name, bytes).await
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, ArchiveError> {
        self.inner.get(name).await
    }

    async fn remove(&self, name: &str) -> Result<bool, ArchiveError> {
        self.inner.remove(name).await
    }

    /// The old leader stores its plan when this one has just found that there is none.
    async fn list_from(
        &self,
        prefix: &str,
        start: &str,
        limit: usize,
    ) -> Result<Vec<String>, ArchiveError> {
        let names = self.inner.list_from(prefix, start, limit).await?;
        let is_round =
            |(name, _): &mut (String, Vec<u8>)| prefix != "rounds/" && name.starts_with(prefix);
        let theirs = self.theirs.lock().unwrap().take_if(is_round);
        if let Some((name, bytes)) = theirs {
            self.inner.put(&name, &bytes).await?;
        }
        Ok(names)
    }
}

fn plan(interval: IntervalId, miner: Hotkey, rules: &JobRules) -> RoundPlan {
    RoundPlan {
        interval,
        rules: rules.clone(),
        roster_block: BLOCK,
        roster_hash: String::new(),
        validator: None,
        seed: String::new(),
        invalid: Vec::new(),
        miners: vec![PlannedMiner {
            hotkey: miner,
            commitment: None,
        }],
        index: Digest::of(b""),
        miners_deadline: BLOCK + 1_000,
        clips_deadline: BLOCK + 2_000,
    }
}

/// Found by the simulation on a busy machine ("round 110 is lost"): the old leader woke and stored the plan that it had
/// made, and the new one, which listed the rounds twice, took it for a round that had been opened.
#[tokio::test]
async fn a_plan_that_the_old_leader_stores_while_the_next_one_looks_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let [own, miner] = [1, 2].map(|byte| Hotkey::from_public_key(&[byte; 32]));
    let rules = JobRules::plain(NETUID, Profile::default());
    let calendar = Calendar::of(&rules.profile);
    let interval = calendar.newest_eligible(BlockNumber::new(BLOCK)).unwrap();
    let archive = DirArchive::open(folder.path()).unwrap();
    let before = DecisionFile {
        interval_id: calendar.previous(interval),
        decisions: Vec::new(),
        absent: Vec::new(),
    };
    let name = format!("rounds/{:012}/decisions.json", before.interval_id.get());
    archive.put(&name, &before.to_bytes()).await.unwrap();
    let theirs = (
        format!("rounds/{:012}/plan.bin", interval.get()),
        plan(interval, miner.clone(), &rules).encode(),
    );
    let board = LocalBoard::open(&folder.path().join("board"), Arc::new(HandClock::new())).unwrap();
    let ports = SchedulerPorts {
        queue: Arc::new(LocalQueue::new(LocalQueueOptions::default())),
        board: Arc::new(board.clone()),
        chain: Arc::new(StillChain::new(BLOCK, [own.clone(), miner], own)),
        archive: Arc::new(Shared {
            inner: archive,
            theirs: Mutex::new(Some(theirs)),
        }),
        bucket: Arc::new(NoBucket),
    };
    let options = SchedulerOptions {
        name: "the next leader".to_owned(),
        rules,
        record_info: None,
        index: nexis_scheduler::IndexLimits::default(),
        exclude: BTreeSet::new(),
        miners_deadline_blocks: 1_000,
        clips_deadline_blocks: 2_000,
        lease: Duration::from_secs(60),
        republish_after: Duration::from_secs(30),
        poll: Duration::from_millis(5),
        submit: false,
        max_open_rounds: 2,
        retry_unit: Duration::from_millis(5),
        clock: || 1_700_000_000.0,
        keeping: Keeping::default(),
    };
    let stop = CancellationToken::new();
    let scheduler = Scheduler::new(ports, options, Arc::new(|_| {}));
    let running = tokio::spawn({
        let stop = stop.clone();
        async move { scheduler.run(stop).await }
    });
    eventually(Duration::from_secs(20), async || {
        board.rounds().await.unwrap().contains(&interval)
    })
    .await;
    stop.cancel();
    running.await.unwrap().unwrap();
}
