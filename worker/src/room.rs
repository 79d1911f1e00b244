//! How many bytes of other people's the worker holds at one time, all jobs together.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What one unit of the semaphore stands for: with KiB its 32-bit numbers reach 4 TiB.
const UNIT: u64 = 1024;

/// A budget of bytes. A job waits until there is room for the most it can need, and gives back what it does not need as
/// soon as it knows. Who waits longest is served first, so a large job is not passed by small ones for ever.
#[derive(Debug, Clone)]
pub struct Room {
    units: Arc<Semaphore>,
    all: u32,
}

/// Bytes that are set aside; they are free again when this is dropped.
#[derive(Debug)]
pub struct Reserved(OwnedSemaphorePermit);

impl Room {
    /// Room for so many bytes.
    pub fn new(bytes: u64) -> Self {
        let all = units(bytes).max(1);
        Self {
            units: Arc::new(Semaphore::new(all as usize)),
            all,
        }
    }

    /// Waits for `bytes`. What is larger than all the room there is gets all of it, alone.
    pub async fn reserve(&self, bytes: u64) -> Reserved {
        let wanted = units(bytes).min(self.all);
        let permit = Arc::clone(&self.units).acquire_many_owned(wanted).await;
        Reserved(permit.expect("the semaphore is never closed"))
    }

    /// Bytes that are free now.
    pub fn free(&self) -> u64 {
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

    #[tokio::test]
    async fn what_is_not_needed_is_free_at_once_and_the_rest_at_the_end() {
        let room = Room::new(1 << 20);
        let mut held = room.reserve(1 << 20).await;
        assert_eq!(room.free(), 0);
        held.keep(1 << 10);
        assert_eq!(room.free(), (1 << 20) - (1 << 10));
        drop(held);
        assert_eq!(room.free(), 1 << 20);
    }

    #[tokio::test]
    async fn more_than_there_is_waits_for_all_of_it_and_not_for_ever() {
        let room = Room::new(1 << 20);
        let small = room.reserve(1).await;
        let large = tokio::spawn({
            let room = room.clone();
            async move { room.reserve(u64::MAX).await }
        });
        tokio::task::yield_now().await;
        assert!(!large.is_finished(), "one byte is not free");
        drop(small);
        drop(large.await.unwrap());
        assert_eq!(room.free(), 1 << 20);
    }
}
