//! A Redis that loses one key of an open round, whichever: nothing is decided from the remainder. The round is opened
//! again from its plan, and its decisions are those of the undisturbed run.
#![expect(clippy::unwrap_used, reason = "a test's failure is a panic")]

#[path = "world/chain.rs"]
mod chain;
#[path = "world/worker.rs"]
#[expect(dead_code, reason = "the simulation treats deliveries in more ways")]
mod worker;

/// What the shared worker asks about outages: there are none here.
mod outages {
    use nexis_protocol::JobId;
    use std::sync::atomic::AtomicBool;

    #[derive(Default)]
    pub struct Switches {
        pub hung: AtomicBool,
        pub stores: AtomicBool,
    }

    impl Switches {
        /// They would come when the round is gone for a moment.
        #[expect(clippy::unused_self, reason = "as the simulation's")]
        pub fn late_results_come(&self) -> bool {
            false
        }

        #[expect(clippy::unused_self, reason = "as the simulation's")]
        pub fn is_first(&self, _: &JobId) -> bool {
            false
        }
    }
}

use chain::{SimChain, hotkey};
use nexis_board::{RedisBoard, RedisOptions};
use nexis_local::{DirArchive, LocalQueue, LocalQueueOptions};
use nexis_ports::conformance::still::NoBucket;
use nexis_ports::{Board, Queue, Route, Stage};
use nexis_protocol::profile::Profile;
use nexis_protocol::{IntervalId, Netuid};
use nexis_scheduler::{IndexLimits, Scheduler, SchedulerOptions, SchedulerPorts, ledger};
use nexis_testkit::{Redis, eventually};
use nexis_wire::JobRules;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use worker::{Treatment, is_slow, work};

const PATIENCE: Duration = Duration::from_secs(60);
const ROUND: IntervalId = IntervalId::new(100);

fn rules(netuid: Netuid) -> JobRules {
    let mut profile = Profile::default();
    profile.interval_length_blocks = 10;
    profile.weight_period_blocks = 30;
    profile.miner_sample_rate = 1.0;
    JobRules::plain(netuid, profile)
}

/// Whether every result of the round's stage that comes before its deadline is in.
async fn waits_for_slow_ones(board: &RedisBoard, stage: Stage) -> bool {
    let tally = board.tally(ROUND).await.unwrap();
    let missing = board.missing(ROUND, stage).await.unwrap();
    tally.is_some_and(|tally| tally.stage == stage)
        && !missing.is_empty()
        && missing.iter().all(is_slow)
}

/// Decides one round, with a key lost in a stage; gives its decisions without their time.
async fn decided(redis: &Redis, netuid: u16, lost: Option<(Stage, &str)>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let netuid = Netuid::new(netuid);
    let options = RedisOptions::new(redis.url(), netuid);
    let board = Arc::new(RedisBoard::connect(options).await.unwrap());
    let queue = Arc::new(LocalQueue::new(LocalQueueOptions::default()));
    let archive = DirArchive::open(folder.path()).unwrap();
    let chain = Arc::new(SimChain::at(115));
    let workers = Route::ALL.map(|route| {
        let (board, queue) = (Arc::clone(&board), Arc::clone(&queue));
        let (board, queue): (Arc<dyn Board>, Arc<dyn Queue>) = (board, queue);
        let good = || Treatment::Good;
        tokio::spawn(work(board, queue, route, Arc::default(), good))
    });
    let ports = SchedulerPorts {
        queue: queue.clone(),
        board: board.clone(),
        chain: chain.clone(),
        archive: Arc::new(archive.clone()),
        bucket: Arc::new(NoBucket),
    };
    let options = SchedulerOptions {
        name: "one".to_owned(),
        rules: rules(netuid),
        record_info: None,
        index: IndexLimits::default(),
        exclude: BTreeSet::new(),
        miners_deadline_blocks: 2,
        clips_deadline_blocks: 4,
        lease: Duration::from_secs(30),
        republish_after: Duration::from_millis(300),
        poll: Duration::from_millis(5),
        submit: false,
        max_open_rounds: 1,
        retry_unit: Duration::from_millis(1),
        keeping: nexis_scheduler::Keeping::default(),
        clock: || 1_700_000_000.0,
    };
    let stop = CancellationToken::new();
    let scheduler = Scheduler::new(ports, options, Arc::new(|_| {}));
    let running = tokio::spawn({
        let stop = stop.clone();
        async move { scheduler.run(stop).await }
    });
    let mut lost = lost;
    while !ledger::is_decided(&archive, ROUND).await.unwrap() {
        eventually(PATIENCE, async || {
            ledger::is_decided(&archive, ROUND).await.unwrap()
                || waits_for_slow_ones(&board, Stage::Miners).await
                || waits_for_slow_ones(&board, Stage::Clips).await
        })
        .await;
        if let Some((stage, key)) = lost
            && waits_for_slow_ones(&board, stage).await
        {
            let key = format!("{{nexis:{netuid}:i:{ROUND}}}:{key}");
            assert!(redis.ask(&format!("DEL {key}")).contains(":1"), "no {key}");
            lost = None;
            continue;
        }
        chain.head.send_modify(|head| *head += 1);
        // The next turn comes when the scheduler has looked at this block.
        let asked = chain.asked.load(Ordering::SeqCst);
        eventually(PATIENCE, async || {
            chain.asked.load(Ordering::SeqCst) > asked + 3
        })
        .await;
    }
    assert_eq!(lost, None, "the round was over before");
    stop.cancel();
    running.await.unwrap().unwrap();
    for worker in workers {
        worker.abort();
    }
    let file = ledger::load(&archive, ROUND).await.unwrap().unwrap();
    String::from_utf8(file.to_bytes()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whichever_key_of_a_round_is_lost_its_decisions_are_the_same() {
    let redis = Redis::start();
    let whole = decided(&redis, 1, None).await;
    for said in ["\"accepted\":true", "\"absent\":[\""] {
        assert!(whole.contains(said), "no {said}: {whole}");
    }
    // Two miners with clips; the verdict of one row of the second is late.
    let (one, slow) = (hotkey(4), hotkey(5));
    let of = |name: &str, miner: &nexis_protocol::Hotkey| format!("{name}:{miner}");
    let mut keys = vec![
        (Stage::Miners, "m:want".to_owned()),
        (Stage::Miners, "m:got".to_owned()),
        (Stage::Miners, "meta".to_owned()),
        (Stage::Clips, "m:got".to_owned()),
        (Stage::Clips, "c:who".to_owned()),
        (Stage::Clips, "meta".to_owned()),
    ];
    for name in ["c:want", "c:have", "c:got"] {
        keys.push((Stage::Clips, of(name, &one)));
    }
    keys.push((Stage::Clips, of("c:want", &slow)));
    for (netuid, (stage, key)) in (2..).zip(&keys) {
        let ours = decided(&redis, netuid, Some((*stage, key))).await;
        assert_eq!(ours, whole, "{key} was lost in {stage:?}");
    }
}
