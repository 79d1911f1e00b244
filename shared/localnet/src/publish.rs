//! Publishing every miner's package as intervals begin.

use crate::clips::Clips;
use crate::keys::bucket_access;
use crate::miner::MinerKind;
use crate::package::{Miner, package};
use nexis_bucket::{BucketStore, FetchError, ObjectStore, StoreError};
use nexis_devchain::DevChainHandle;
use nexis_protocol::IntervalId;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Uploads side by side: the store signs and hashes, and two cores are shared with the validator.
const UPLOADERS: usize = 4;
/// Stores tell times in whole seconds: a copy must come in a later one.
const COPY_DELAY: Duration = Duration::from_millis(1100);
/// Intervals whose packages stay in the store: a validator that was away for a while still finds them.
const KEPT_INTERVALS: u64 = 10;

/// A package could not be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// No request can be formed.
    #[error("using the store")]
    Request(#[from] FetchError),
    /// An upload failed.
    #[error("uploading a package")]
    Write(#[from] StoreError),
    /// An uploading task died.
    #[error("an uploading task died")]
    Died(#[from] tokio::task::JoinError),
}

pub(crate) struct Publisher {
    seed: u64,
    length: u64,
    miners: Vec<Miner>,
    clips: Arc<Clips>,
    store: BucketStore,
    objects: PathBuf,
}

impl Publisher {
    pub fn new(
        seed: u64,
        length: u64,
        miners: Vec<Miner>,
        clips: Clips,
        store: BucketStore,
        objects: PathBuf,
    ) -> Self {
        Self {
            seed,
            length,
            miners,
            clips: Arc::new(clips),
            store,
            objects,
        }
    }

    /// Publishes the packages of one interval: copies last, so that they are younger than what they copy.
    pub async fn publish(&self, interval: IntervalId) -> Result<(), PublishError> {
        let copies = |miner: &&Miner| miner.kind.copies();
        let originals: Vec<&Miner> = self.miners.iter().filter(|miner| !copies(miner)).collect();
        self.upload(interval, &originals).await?;
        let copycats: Vec<&Miner> = self.miners.iter().filter(copies).collect();
        if !copycats.is_empty() {
            tokio::time::sleep(COPY_DELAY).await;
            self.upload(interval, &copycats).await?;
        }
        self.forget(interval).await
    }

    async fn upload(&self, interval: IntervalId, miners: &[&Miner]) -> Result<(), PublishError> {
        let turns = Arc::new(Semaphore::new(UPLOADERS));
        let victim = self
            .miners
            .iter()
            .find(|miner| miner.kind == MinerKind::Honest)
            .cloned();
        let mut uploads = JoinSet::new();
        for miner in miners {
            let bucket = miner.key.hotkey().bucket_name();
            let own = self
                .store
                .objects(bucket_access(self.seed, &bucket, "write"))?;
            let (miner, victim) = ((*miner).clone(), victim.clone());
            let (turns, clips, seed) = (Arc::clone(&turns), Arc::clone(&self.clips), self.seed);
            uploads.spawn(async move {
                let _turn = turns.acquire_owned().await.expect("never closed");
                for upload in package(seed, &miner, interval, victim.as_ref(), &clips) {
                    own.put(&upload.key, upload.body, upload.content_type)
                        .await?;
                }
                Ok::<_, PublishError>(())
            });
        }
        while let Some(uploaded) = uploads.join_next().await {
            uploaded??;
        }
        Ok(())
    }

    /// Removes packages that no validator asks for any more: a fast chain would fill the disk.
    async fn forget(&self, newest: IntervalId) -> Result<(), PublishError> {
        let Some(old) = newest.get().checked_sub(KEPT_INTERVALS * self.length) else {
            return Ok(());
        };
        let folders: Vec<PathBuf> = self
            .miners
            .iter()
            .map(|miner| {
                self.objects
                    .join(miner.key.hotkey().bucket_name())
                    .join(old.to_string())
            })
            .collect();
        tokio::task::spawn_blocking(move || {
            for folder in folders.iter().filter(|folder| folder.exists()) {
                if let Err(error) = std::fs::remove_dir_all(folder) {
                    tracing::warn!(%error, folder = %folder.display(), "an old package stays");
                }
            }
        })
        .await?;
        Ok(())
    }

    /// Publishes `from` and every following interval as soon as it begins, until `stop`.
    pub async fn follow(
        self,
        chain: Arc<DevChainHandle>,
        from: IntervalId,
        block_time: Duration,
        stop: CancellationToken,
    ) {
        let mut next = from.get();
        let mut clock = tokio::time::interval(block_time.min(Duration::from_millis(500)));
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = clock.tick() => {}
            }
            if chain.head().number < next {
                continue;
            }
            let published = tokio::select! {
                () = stop.cancelled() => return,
                published = self.publish(IntervalId::new(next)) => published,
            };
            match published {
                Ok(()) => {
                    tracing::info!(interval.id = next, "all packages are published");
                    next += self.length;
                }
                Err(error) => tracing::error!(%error, interval.id = next, "publishing again"),
            }
        }
    }
}
