//! What becomes of jobs whose stores do not answer, are slow, or make our own code panic.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod made;
#[path = "stores/site.rs"]
mod site;

use nexis_amqp::topology::Topology;
use nexis_amqp::{AmqpOptions, AmqpQueue};
use nexis_ports::{Board as _, Route, Stage};
use nexis_protocol::Netuid;
use nexis_protocol::reason::Reason;
use nexis_testkit::{RabbitMq, answered_within, within};
use nexis_wire::ReportOutcome;
use site::{DRIP_MS, ROUND, SOON, Site, Store, miner_number};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The stage of the miner jobs on finney, 40 % of 50 blocks of 12 s, is 24 times as long as a transfer is watched before
/// its speed counts.
const STAGE: Duration = Duration::from_millis(DRIP_MS * 24);
const MINERS: u8 = 35;

#[tokio::test]
async fn one_worker_of_two_that_reaches_no_store_rejects_nobody_and_takes_no_more_jobs() {
    let site = Site::open(MINERS, 5).await;
    let sick = site.worker(|_| Store::Unreachable);
    let well = site.worker(|_| Store::Answers);
    site.publish_miners().await;
    site.all_done(SOON).await;
    for (miner, report) in site.reports().await {
        assert_eq!(report.unreachable, None, "miner {miner}");
        let ReportOutcome::Rejected { detail, .. } = &report.outcome else {
            panic!("nothing is there to be screened");
        };
        assert!(detail.contains("no such object"), "{detail}");
    }
    sick.page_says("object stores: no store answered the last")
        .await;
    sick.page_says("taking miner jobs: paused").await;
    assert_eq!(well.page(), "");
}

#[tokio::test]
async fn a_lone_worker_that_reaches_no_store_decides_nothing_until_one_answers() {
    decides_nothing_while(Store::Unreachable).await;
}

#[tokio::test]
async fn a_worker_with_a_wrong_clock_decides_nothing_until_it_is_right() {
    decides_nothing_while(Store::RefusesClock).await;
}

async fn decides_nothing_while(all: Store) {
    let site = Site::open(MINERS, 5).await;
    let worker = site.worker(move |_| all);
    site.publish_miners().await;
    worker.page_says("taking miner jobs: paused").await;
    let before = worker.stores.asked();
    let looked = within(SOON, || (worker.stores.asked() > before).then_some(())).await;
    looked.expect("it looks for a store now and then");
    assert_eq!(site.reports().await.len(), 0, "nobody was looked at");
    assert!(site.dead(Route::Miner).await.is_empty());
    worker.stores.set(|_| Store::Answers);
    site.all_done(SOON).await;
    assert_eq!(worker.page(), "", "it is ready again");
    assert!(
        site.reports()
            .await
            .values()
            .all(|report| report.unreachable.is_none())
    );
}

#[tokio::test]
async fn a_store_that_stays_unreachable_while_others_answer_is_missing_in_the_end_and_says_why() {
    let site = Site::open(MINERS, 5).await;
    let worker = site.worker(|miner| {
        if miner < 3 {
            Store::Unreachable
        } else {
            Store::Answers
        }
    });
    site.publish_miners().await;
    site.all_done(SOON).await;
    for (miner, report) in site.reports().await {
        let ReportOutcome::Rejected { reasons, .. } = &report.outcome else {
            panic!("nothing is there to be screened");
        };
        assert_eq!(reasons, &[Reason::MissingSubmissionFiles]);
        assert_eq!(report.unreachable.is_some(), miner < 3, "miner {miner}");
    }
    assert_eq!(worker.page(), "", "the worker is not to blame");
}

#[tokio::test]
async fn four_of_five_stores_that_drip_keep_no_honest_miner_waiting() {
    for miners in [MINERS, 250] {
        let site = Site::open(miners, 5).await;
        let worker = site.worker(|miner| {
            if miner % 5 == 0 {
                Store::Answers
            } else {
                Store::Drips
            }
        });
        let begun = Instant::now();
        site.publish_miners().await;
        let honest = || async {
            let reports = site.reports().await;
            (0..miners)
                .filter(|miner| miner % 5 == 0)
                .all(|miner| reports.contains_key(&miner))
                .then_some(())
        };
        let decided = answered_within(STAGE, honest).await;
        decided.expect("every honest miner is decided in time");
        println!(
            "{miners} miners: honest ones decided after {:?}",
            begun.elapsed()
        );
        assert!(worker.page().is_empty(), "{}", worker.page());
        // So are the others, as missing and not as an outage of ours.
        site.all_done(SOON).await;
        let blamed = site.reports().await;
        assert!(blamed.values().all(|report| report.unreachable.is_none()));
    }
}

/// Failures that a message survives.
const LIMIT: u32 = 3;

#[tokio::test]
async fn a_submission_that_makes_our_code_panic_is_rejected_at_the_limit_and_no_other() {
    panics_are_counted(Site::open(4, LIMIT).await).await;
}

#[tokio::test]
async fn a_panic_is_counted_by_a_real_broker_as_well() {
    let rabbit = RabbitMq::start();
    let topology = Topology {
        delivery_limit: LIMIT,
        ..Topology::new(Netuid::new(70))
    };
    let queue = AmqpQueue::connect(AmqpOptions::new(rabbit.url(), topology)).await;
    let queue = queue.unwrap();
    queue.apply().await.unwrap();
    panics_are_counted(Site::over(Arc::new(queue), 4, LIMIT).await).await;
}

async fn panics_are_counted(site: Site) {
    let worker = site.worker(|miner| {
        if miner == 2 {
            Store::Panics
        } else {
            Store::Answers
        }
    });
    let begun = Instant::now();
    site.publish_miners().await;
    site.all_done(SOON).await;
    let reports = site.reports().await;
    for (miner, report) in &reports {
        let ReportOutcome::Rejected { reasons, .. } = &report.outcome else {
            panic!("nothing is there to be screened");
        };
        let expected = if *miner == 2 {
            Reason::ValidationException
        } else {
            Reason::MissingSubmissionFiles
        };
        assert_eq!(reasons, &[expected], "miner {miner}");
    }
    let tries = worker.stores.asked_of(2);
    assert_eq!(tries, LIMIT + 1, "each panic counts as a delivery");
    assert!(begun.elapsed() > Duration::from_secs(1), "panics back off");
    assert!(site.dead(Route::Miner).await.is_empty());

    // The same with a clip.
    site.clips(&[2, 3]).await;
    site.all_done(SOON).await;
    let verdicts = site.verdicts().await;
    assert_eq!(verdicts[&2].verdict.failures, [Reason::ValidationException]);
    let [missing_clip, missing_frame] = &verdicts[&3].verdict.failures[..] else {
        panic!("{:?}", verdicts[&3]);
    };
    assert!(matches!(missing_clip, Reason::MissingClipAsset { .. }));
    assert!(matches!(
        missing_frame,
        Reason::MissingFirstFrameAsset { .. }
    ));
}

#[tokio::test]
async fn a_clip_job_without_usable_credentials_is_a_dead_letter() {
    let site = Site::open(1, 5).await;
    let _worker = site.worker(|_| Store::Answers);
    site.publish_miners().await;
    site.all_done(SOON).await;
    site.clips_with(&[0], |job| job.commitment.truncate(5))
        .await;
    let dead = answered_within(SOON, async || {
        let dead = site.dead(Route::Clip).await;
        (!dead.is_empty()).then_some(dead)
    });
    let dead = dead.await.expect("it goes to the dead letters");
    assert!(
        dead[0].1.starts_with("damaged: the job carries no usable"),
        "{dead:?}"
    );
}

#[tokio::test]
async fn a_copy_of_a_job_that_is_being_done_is_not_done_beside_it() {
    let site = Site::open(2, 5).await;
    let worker = site.worker(|miner| {
        if miner == 0 {
            Store::Drips
        } else {
            Store::Answers
        }
    });
    for _ in 0..10 {
        site.publish_miners().await;
    }
    site.all_done(SOON).await;
    assert!(worker.stores.asked_of(0) <= 4, "two objects, twice");
    let tally = site.board.tally(ROUND).await.unwrap().unwrap();
    assert_eq!((tally.stage, tally.done), (Stage::Miners, 2));
    let known: BTreeMap<u8, _> = site.reports().await;
    assert!(
        known
            .keys()
            .all(|miner| miner_number(&site::hotkey(*miner)) == Some(*miner))
    );
}
