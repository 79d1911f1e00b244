use std::panic::Location;
use std::time::Duration;

/// Between two looks. Short: what is waited for is usually there in milliseconds.
const PAUSE: Duration = Duration::from_millis(20);

/// Asks again until the answer is yes; panics at the caller's line when it is not within the time.
#[track_caller]
pub fn eventually<F, Fut>(within: Duration, mut ask: F) -> impl Future<Output = ()>
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
        let answer = tokio::time::timeout(within, looking).await;
        assert!(answer.is_ok(), "not so within {within:?}: {caller}");
    }
}
