//! Bytes of other people's that a worker holds stay within its budget, however many and large the clips are.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod made;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use nexis_media::PoolOptions;
use nexis_ports::{Bucket, BucketAccess, FetchError, FetchLimits, Fetched, Object};
use nexis_protocol::profile::Profile;
use nexis_protocol::{Digest, IntervalId, Netuid};
use nexis_wire::{ClipJob, JobRules};
use nexis_worker::clip_job::{self, Frames, Tools};
use nexis_worker::fetch::{Means, Patience};
use nexis_worker::measure::Prober;
use nexis_worker::room::Room;
use tokio::task::JoinSet;

const CLIP: u64 = 1 << 20;
const JOBS: u32 = 64;

/// Bytes that are alive, and the most that ever were.
#[derive(Default)]
struct Live {
    now: AtomicU64,
    most: AtomicU64,
}

/// An object's bytes that tell when they are gone.
struct Counted(Vec<u8>, Arc<Live>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.now.fetch_sub(self.0.len() as u64, Ordering::SeqCst);
    }
}

/// Every object is larger than an allotment, and takes its time to come.
struct LargeObjects(Arc<Live>);

#[async_trait]
impl Bucket for LargeObjects {
    async fn fetch(
        &self,
        _access: &BucketAccess,
        _key: &str,
        limits: FetchLimits,
    ) -> Result<Fetched, FetchError> {
        if limits.max_bytes < CLIP {
            return Ok(Fetched::TooLarge { bytes: CLIP });
        }
        let bytes = vec![7; usize::try_from(CLIP).unwrap()];
        let now = self.0.now.fetch_add(CLIP, Ordering::SeqCst) + CLIP;
        self.0.most.fetch_max(now, Ordering::SeqCst);
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        Ok(Fetched::Found(Object {
            digest: Digest::of(&bytes),
            bytes: Bytes::from_owner(Counted(bytes, Arc::clone(&self.0))),
            last_modified: None,
        }))
    }
}

fn job(row: u32) -> ClipJob {
    let hotkey = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
    let profile = Profile::by_name("readme").unwrap();
    let rules = JobRules {
        max_dataset_bytes: CLIP,
        max_asset_bytes: CLIP,
        max_frame_bytes: CLIP,
        ..JobRules::plain(Netuid::new(70), profile)
    };
    // Not what comes: the bytes are hashed and not measured.
    made::job(IntervalId::new(850), hotkey.parse().unwrap(), row, rules)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_large_clips_at_once_stay_within_the_bytes_that_are_allowed() {
    let program = Some(PathBuf::from(env!("CARGO_BIN_EXE_nexis-worker")));
    let prober = Arc::new(
        Prober::with(PoolOptions {
            program,
            ..PoolOptions::new(1)
        })
        .unwrap(),
    );
    let (live, allowed) = (Arc::new(Live::default()), 24 * CLIP);
    let room = Room::shared(allowed, u16::try_from(JOBS).unwrap(), 4);
    let free = room.free();
    let bucket = Arc::new(LargeObjects(Arc::clone(&live)));
    let mut jobs = JoinSet::new();
    for row in 0..JOBS {
        let (room, bucket, prober) = (room.clone(), Arc::clone(&bucket), Arc::clone(&prober));
        jobs.spawn(async move {
            let tools = Tools {
                means: Means {
                    bucket: bucket.as_ref(),
                    room: &room,
                    patience: Patience::Whole,
                },
                prober: &prober,
                vision: None,
            };
            clip_job::run(&job(row), &tools, Frames::WhenACheckNeedsThem).await
        });
    }
    let all = tokio::time::timeout(Duration::from_secs(60), jobs.join_all()).await;
    let all = all.expect("no job waits for ever");
    assert_eq!(
        all.iter().filter(|report| report.is_ok()).count(),
        JOBS as usize
    );
    let most = live.most.load(Ordering::SeqCst);
    assert!(
        most <= allowed,
        "{most} bytes were held, {allowed} are allowed"
    );
    assert!(
        most > 2 * CLIP,
        "several jobs were under way at once: {most}"
    );
    assert_eq!(live.now.load(Ordering::SeqCst), 0);
    assert_eq!(room.free(), free, "all of it is free again");
}
