//! Whether an allocation failed inside C code that does not say so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use errno::{Errno, errno, set_errno};

/// Watches the C library's `errno` on this thread: every allocator sets it to `ENOMEM` when it fails, and nothing sets
/// it back on success. Later failures of other calls overwrite it, so it is checked as often as there is an occasion;
/// once seen it stays.
#[derive(Clone, Debug)]
pub(super) struct Watch(Arc<AtomicBool>);

impl Watch {
    pub(super) fn begin() -> Self {
        set_errno(Errno(0));
        Self(Arc::new(AtomicBool::new(false)))
    }

    pub(super) fn check(&self) {
        if errno().0 == libc::ENOMEM {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn ran_short(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
