//! Panics that are caught and not printed.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Calls; `None` when the call panicked. The process's panic hook does not hear of it: a miner could fill the log with
/// backtraces. The hook is wrapped once; panics elsewhere go through to the one that stood there.
pub(crate) fn catch<T>(call: impl FnOnce() -> T) -> Option<T> {
    static WRAP: Once = Once::new();
    WRAP.call_once(|| {
        let loud = take_hook();
        set_hook(Box::new(move |info| {
            if !QUIET.get() {
                loud(info);
            }
        }));
    });
    let was_quiet = QUIET.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(call));
    QUIET.set(was_quiet);
    outcome.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_answer_and_quiet_ends_with_the_call() {
        assert_eq!(catch(|| 5), Some(5));
        assert_eq!(catch(|| -> u8 { panic!("must not be printed") }), None);
        assert!(!QUIET.get());
    }
}
