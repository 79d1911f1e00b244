//! What the jobs of a worker share: memory for other people's bytes, and places to compute.
//!
//! Waiting for bytes costs next to nothing, so many jobs may do it at once: each may hold its *allotment* without asking.
//! What is larger than that waits for room among the large objects; what decoding needs waits for room to work in.
//! A job takes these in that order and holds each at most once, so jobs never wait for each other in a circle.

use nexis_ports::Route;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What one unit of a pool stands for: with KiB the semaphore's 32-bit numbers reach 4 TiB.
const UNIT: u64 = 1024;
/// Share of all memory that allotments get together; large objects and decoding get half of the rest each.
const ALLOTTED: u64 = 2;

/// A worker's memory and places to compute. Clones share them.
#[derive(Debug, Clone)]
pub struct Room {
    allotment: u64,
    large: Pool,
    working: Pool,
    miner: Arc<Semaphore>,
    clip: Arc<Semaphore>,
}

/// A budget of bytes. Whoever waits longest is served first, so a large request is not passed by small ones for ever.
#[derive(Debug, Clone)]
struct Pool {
    units: Arc<Semaphore>,
    all: u32,
}

/// Bytes that are set aside; they are free again when this is dropped.
#[derive(Debug)]
pub struct Reserved(OwnedSemaphorePermit);

/// A place to compute; free again when this is dropped.
#[derive(Debug)]
pub struct Computing(#[expect(dead_code, reason = "held, never read")] OwnedSemaphorePermit);

impl Room {
    /// Room for one job after another.
    pub fn new(bytes: u64) -> Self {
        Self::shared(bytes, 1, 1)
    }

    /// Room for `in_flight` jobs of each kind, of which `computing` of each kind compute at one time.
    pub fn shared(bytes: u64, in_flight: u16, computing: u16) -> Self {
        let jobs = u64::from(in_flight.max(1)) * Route::ALL.len() as u64;
        let places = || Arc::new(Semaphore::new(usize::from(computing.max(1))));
        let allotted = bytes / ALLOTTED;
        let each = (bytes - allotted) / 2;
        Self {
            allotment: (allotted / jobs).max(1),
            large: Pool::new(each),
            working: Pool::new(each),
            miner: places(),
            clip: places(),
        }
    }

    /// Bytes that a job may fetch without asking.
    pub const fn allotment(&self) -> u64 {
        self.allotment
    }

    /// Waits for room for large objects of `bytes` together. What is larger than all the room there is gets all of it,
    /// alone.
    pub async fn large(&self, bytes: u64) -> Reserved {
        self.large.reserve(bytes).await
    }

    /// Waits for `bytes` to decode or measure in. What is larger than all the room there is gets all of it, alone.
    pub async fn working(&self, bytes: u64) -> Reserved {
        self.working.reserve(bytes).await
    }

    /// Waits for a place to compute.
    pub async fn compute(&self, route: Route) -> Computing {
        let places = match route {
            Route::Miner => &self.miner,
            Route::Clip => &self.clip,
        };
        let place = Arc::clone(places).acquire_owned().await;
        Computing(place.expect("the semaphore is never closed"))
    }

    /// Bytes for large objects and for work that are free now.
    pub fn free(&self) -> (u64, u64) {
        (self.large.free(), self.working.free())
    }
}

impl Pool {
    fn new(bytes: u64) -> Self {
        let all = units(bytes).max(1);
        Self {
            units: Arc::new(Semaphore::new(all as usize)),
            all,
        }
    }

    async fn reserve(&self, bytes: u64) -> Reserved {
        let wanted = units(bytes).min(self.all);
        let permit = Arc::clone(&self.units).acquire_many_owned(wanted).await;
        Reserved(permit.expect("the semaphore is never closed"))
    }

    fn free(&self) -> u64 {
        self.units.available_permits() as u64 * UNIT
    }
}

impl Reserved {
    /// Gives back all but `bytes`.
    pub fn keep(&mut self, bytes: u64) {
        let unneeded = self.0.num_permits().saturating_sub(units(bytes) as usize);
        drop(self.0.split(unneeded));
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn all_shares_together_are_no_more_than_there_is() {
        for (bytes, in_flight) in [(MIB, 1), (1024 * MIB, 64), (100 * MIB, 1000)] {
            let room = Room::shared(bytes, in_flight, 4);
            let (large, working) = room.free();
            let allotted = room.allotment() * u64::from(in_flight) * 2;
            assert!(allotted + large + working <= bytes, "{bytes} {in_flight}");
            assert!(
                allotted + large + working > bytes / 2,
                "{bytes} {in_flight}"
            );
        }
    }

    #[tokio::test]
    async fn unneeded_bytes_are_free_at_once_and_the_rest_at_the_end() {
        let room = Room::new(4 * MIB);
        let mut held = room.large(MIB).await;
        assert_eq!(room.free(), (0, MIB));
        held.keep(1 << 10);
        assert_eq!(room.free(), (MIB - (1 << 10), MIB));
        drop(held);
        assert_eq!(room.free(), (MIB, MIB));
    }

    #[tokio::test]
    async fn a_request_beyond_all_the_room_waits_for_all_of_it_and_gets_it() {
        let room = Room::new(4 * MIB);
        let small = room.working(1).await;
        let large = tokio::spawn({
            let room = room.clone();
            async move { room.working(u64::MAX).await }
        });
        tokio::task::yield_now().await;
        assert!(!large.is_finished(), "one byte is not free");
        drop(small);
        drop(large.await.unwrap());
        assert_eq!(room.free().1, MIB);
    }

    #[tokio::test]
    async fn each_kind_of_job_has_its_own_places_to_compute() {
        let room = Room::shared(MIB, 8, 1);
        let miner = room.compute(Route::Miner).await;
        drop(room.compute(Route::Clip).await);
        let second = tokio::spawn({
            let room = room.clone();
            async move { room.compute(Route::Miner).await }
        });
        tokio::task::yield_now().await;
        assert!(!second.is_finished(), "there is one place");
        drop(miner);
        second.await.unwrap();
    }
}
