use std::panic::Location;
use std::time::Duration;

/// Between two looks, at first: most of what is waited for is there in milliseconds.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// Between two looks, later.
const PAUSE: Duration = Duration::from_millis(20);

/// Asks again until there is an answer, and gives it; `None` when there was none within the time.
pub async fn within<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    // Written out: the future of an `AsyncFnMut` is not `Send` where a test must spawn it.
    let looking = async {
        let mut pauses = Pauses::default();
        loop {
            if let Some(answer) = ask() {
                return answer;
            }
            pauses.next().await;
        }
    };
    tokio::time::timeout(limit, looking).await.ok()
}

/// [`within`] for a question that takes its time and may change what it looks at.
pub async fn answered_within<T>(
    limit: Duration,
    mut ask: impl AsyncFnMut() -> Option<T>,
) -> Option<T> {
    let looking = async {
        let mut pauses = Pauses::default();
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            pauses.next().await;
        }
    };
    tokio::time::timeout(limit, looking).await.ok()
}

/// Pauses between two looks.
struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Self {
        Self(FIRST_PAUSE)
    }
}

impl Pauses {
    async fn next(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(PAUSE);
    }
}

/// Asks again until the answer is yes; panics at the caller's line when it is not within the time.
#[track_caller]
pub fn eventually<F, Fut>(limit: Duration, mut ask: F) -> impl Future<Output = ()>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let caller = Location::caller();
    async move {
        let looking = async {
            while !ask().await {
                tokio::time::sleep(PAUSE).await;
            }
        };
        let answer = tokio::time::timeout(limit, looking).await;
        assert!(answer.is_ok(), "not so within {limit:?}: {caller}");
    }
}
