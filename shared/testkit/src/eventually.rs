use std::panic::Location;
use std::time::Duration;

/// Between two looks, at first: most of what is waited for is there in milliseconds.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// Between two looks, later.
const PAUSE: Duration = Duration::from_millis(20);

/// Asks again until there is an answer, and gives it; `None` when there was none within the time.
pub async fn within<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let looking = async {
        let mut pause = FIRST_PAUSE;
        loop {
            if let Some(answer) = ask() {
                return answer;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE);
        }
    };
    tokio::time::timeout(limit, looking).await.ok()
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
