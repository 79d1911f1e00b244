//! What a store's answer means.

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use quick_xml::Reader;
use quick_xml::events::Event;
use std::error::Error;

/// Longest error code that is taken for one.
const MAX_CODE: usize = 64;

/// A failed request, sorted. The text is what the store answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The store said: no such key or bucket, or not for you.
    Missing(String),
    /// The store refuses us because this machine's clock is wrong.
    Clock(String),
    /// Anything else: the store is busy, broken, unavailable, or answers what we did not ask.
    Fault(String),
    /// The request could not even be formed.
    Unusable(String),
}

pub(crate) fn sort<E>(error: &SdkError<E, HttpResponse>) -> Answer
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match error {
        SdkError::ConstructionFailure(_) => Answer::Unusable(words(error)),
        SdkError::ServiceError(inner) => refusal(inner.raw()),
        // A success that could not be read is a fault.
        SdkError::ResponseError(inner) if inner.raw().status().is_success() => {
            Answer::Fault(words(error))
        }
        SdkError::ResponseError(inner) => refusal(inner.raw()),
        _ => Answer::Fault(words(error)),
    }
}

fn refusal(response: &HttpResponse) -> Answer {
    refused(response.status().as_u16(), response.body().bytes())
}

/// A refusal by its HTTP status and body; `None` for a body that could not be read to its end. Only an S3 error document
/// or a bare 404 speaks about the object: anything else comes from somebody in between (PROTOCOL §6).
fn refused(status: u16, body: Option<&[u8]>) -> Answer {
    let Some(code) = body.and_then(error_code) else {
        return match (status, body) {
            (404, Some(body)) if body.trim_ascii().is_empty() => Answer::Missing("404".to_owned()),
            _ => Answer::Fault(format!(
                "the answer was {status} without an S3 error document"
            )),
        };
    };
    let words = format!("{status} {code}");
    match (status, code.as_str()) {
        // Says nothing about the object: every request would get it.
        (_, "RequestTimeTooSkewed") => Answer::Clock(words),
        // 401 is what R2 answers to an access key that it does not know (any more).
        (401 | 403 | 404, _) | (400, "KeyTooLongError") => Answer::Missing(words),
        _ => Answer::Fault(format!("the store answered {words}")),
    }
}

/// The code of an S3 error document: `<Error><Code>NoSuchKey</Code>…</Error>`. Linear in the body, unlike the SDK's own
/// reading, which takes seconds for some thousand nested elements.
pub(crate) fn error_code(body: &[u8]) -> Option<String> {
    let mut reader = Reader::from_reader(body);
    let (mut depth, mut in_code, mut code) = (0_usize, false, None);
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) => {
                depth += 1;
                let name = start.local_name();
                if depth == 1 && name.as_ref() != b"Error" {
                    return None;
                }
                in_code = depth == 2 && name.as_ref() == b"Code";
            }
            Event::Text(text) if in_code && code.is_none() => {
                code = std::str::from_utf8(&text).ok().map(str::to_owned);
            }
            Event::End(_) => {
                in_code = false;
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return code.filter(|code| is_code(code));
                }
            }
            Event::Eof => return None,
            _ => {}
        }
    }
}

fn is_code(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    !text.is_empty() && text.len() <= MAX_CODE && text.bytes().all(plain)
}

/// An error and its causes, each said once.
pub(crate) fn words(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(code: &str) -> Vec<u8> {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>m</Message></Error>"
        )
        .into_bytes()
    }

    #[test]
    fn a_refusal_by_the_store_counts_as_missing_and_is_quoted() {
        for (status, code) in [
            (404, "NoSuchKey"),
            (404, "NoSuchBucket"),
            (403, "AccessDenied"),
            (403, "SignatureDoesNotMatch"),
            (401, "Unauthorized"),
            (400, "KeyTooLongError"),
        ] {
            assert_eq!(
                refused(status, Some(&document(code))),
                Answer::Missing(format!("{status} {code}"))
            );
        }
        for blank in [&b""[..], b" \r\n"] {
            assert_eq!(refused(404, Some(blank)), Answer::Missing("404".into()));
        }
    }

    #[test]
    fn faults_of_the_store_are_no_statement_about_the_object() {
        for (status, code) in [
            (500, "InternalError"),
            (503, "SlowDown"),
            (429, "TooManyRequests"),
            (301, "PermanentRedirect"),
            (307, "TemporaryRedirect"),
            (400, "RequestTimeout"),
        ] {
            let answer = refused(status, Some(&document(code)));
            assert!(
                matches!(&answer, Answer::Fault(text) if text.contains(code)),
                "{answer:?}"
            );
        }
    }

    #[test]
    fn only_an_s3_error_document_or_a_bare_404_is_an_answer_of_the_store() {
        let bomb = format!(
            "<!DOCTYPE a [<!ENTITY b \"{}\">]><a>&b;&b;</a>",
            "x".repeat(9000)
        );
        let deep = "<Error>".to_owned() + &"<a>".repeat(8000);
        for body in [
            "<html><body><h1>404 Not Found</h1></body></html>",
            "<html><Code>NoSuchKey</Code></html>",
            "NoSuchKey",
            "{\"Code\": \"NoSuchKey\"}",
            "<Error><Message>m</Message></Error>",
            "<Error><Code></Code></Error>",
            "<Error><Code>No\u{1b}[2J</Code></Error>",
            "<Error><Code>NoSuchKey",
            &bomb,
            &deep,
        ] {
            for status in [401, 403, 404] {
                let answer = refused(status, Some(body.as_bytes()));
                assert!(
                    matches!(&answer, Answer::Fault(text) if text.contains(&status.to_string())),
                    "{answer:?}"
                );
            }
        }
        for status in [401, 403] {
            assert!(matches!(refused(status, Some(b"")), Answer::Fault(_)));
        }
        assert!(matches!(refused(404, None), Answer::Fault(_)));
        assert!(matches!(refused(404, Some(b"\xff\xfe")), Answer::Fault(_)));
    }

    #[test]
    fn a_wrong_clock_of_ours_is_never_held_against_a_miner() {
        let answer = refused(403, Some(&document("RequestTimeTooSkewed")));
        assert!(matches!(answer, Answer::Clock(_)));
    }
}
