//! What a store's answer means.

use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use std::error::Error;

/// A failed request, sorted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The store said: no such key or bucket, or not for you.
    Missing,
    /// The store refuses us because this machine's clock is wrong.
    Clock(String),
    /// Anything else: the store is busy, broken, away, or answers what we did not ask.
    Fault(String),
    /// The request could not even be formed.
    Unusable(String),
}

pub(crate) fn sort<E>(error: &SdkError<E, HttpResponse>) -> Answer
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match error {
        SdkError::ConstructionFailure(_) => {
            Answer::Unusable(DisplayErrorContext(error).to_string())
        }
        SdkError::ServiceError(inner) => {
            let status = inner.raw().status().as_u16();
            let code = inner.err().code().unwrap_or("no code");
            refusal(status, code)
        }
        SdkError::ResponseError(inner) => {
            let status = inner.raw().status().as_u16();
            // A success that could not be read is a fault; a refusal with an unreadable body is still one.
            if (200..300).contains(&status) {
                return Answer::Fault(DisplayErrorContext(error).to_string());
            }
            refusal(status, "unreadable answer")
        }
        _ => Answer::Fault(DisplayErrorContext(error).to_string()),
    }
}

/// A refusal by its HTTP status and error code.
fn refusal(status: u16, code: &str) -> Answer {
    match (status, code) {
        // Says nothing about the object: every request would get it.
        (_, "RequestTimeTooSkewed") => Answer::Clock(format!("status {status}, {code}")),
        (_, "NoSuchKey" | "NoSuchBucket" | "AccessDenied" | "KeyTooLongError") => Answer::Missing,
        // 401 is what R2 answers to an access key that it does not know (any more).
        (401 | 403 | 404, _) => Answer::Missing,
        _ => Answer::Fault(format!("status {status}, {code}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_by_the_store_counts_as_missing() {
        for (status, code) in [
            (404, "NoSuchKey"),
            (404, "NoSuchBucket"),
            (403, "AccessDenied"),
            (403, "SignatureDoesNotMatch"),
            (401, "Unauthorized"),
            (404, "no code"),
        ] {
            assert_eq!(refusal(status, code), Answer::Missing, "{status} {code}");
        }
        for (status, code) in [
            (500, "InternalError"),
            (503, "SlowDown"),
            (429, "TooManyRequests"),
            (301, "PermanentRedirect"),
            (307, "TemporaryRedirect"),
            (400, "RequestTimeout"),
            (408, "no code"),
        ] {
            assert!(
                matches!(refusal(status, code), Answer::Fault(_)),
                "{status} {code}"
            );
        }
    }

    #[test]
    fn a_wrong_clock_of_ours_is_never_held_against_a_miner() {
        assert!(matches!(
            refusal(403, "RequestTimeTooSkewed"),
            Answer::Clock(_)
        ));
    }
}
