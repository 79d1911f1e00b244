//! Records of submissions that earlier versions wrote are read for ever: what was sent must not be forgotten by an
//! update.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use nexis_ports::SubmitOutcome;
use nexis_protocol::WeightEpoch;
use nexis_scheduler::{SubmissionRecord, SubmissionState};

/// A file of `golden/submissions`; none of them is ever changed. A new form of the record gets a folder of its own.
fn kept(text: &str) -> SubmissionRecord {
    serde_json::from_str(text).unwrap()
}

#[test]
fn records_of_version_2_are_read_as_what_they_were() {
    let ticket_block = |record: &SubmissionRecord| match &record.state {
        SubmissionState::Committed { block, ticket, .. }
        | SubmissionState::Done(SubmitOutcome::Committed { block, ticket, .. }) => {
            assert_eq!(ticket.expected, [(0, 65535), (3, 21845)]);
            assert_eq!(ticket.reveal_deadline, 1980);
            Some(*block)
        }
        SubmissionState::Done(SubmitOutcome::Verified { block, .. }) => Some(*block),
        _ => None,
    };
    let states = [
        (include_str!("golden/submissions/v2/armed.json"), None),
        (include_str!("golden/submissions/v2/sent.json"), None),
        (include_str!("golden/submissions/v2/missed.json"), None),
        (
            include_str!("golden/submissions/v2/committed.json"),
            Some(1260),
        ),
        (
            include_str!("golden/submissions/v2/verified.json"),
            Some(1260),
        ),
        (
            include_str!("golden/submissions/v2/revealed.json"),
            Some(1260),
        ),
    ];
    for (text, block) in states {
        let record = kept(text);
        assert_eq!(record.epoch, WeightEpoch::new(5), "{text}");
        assert_eq!(ticket_block(&record), block, "{text}");
        assert_eq!(record.weights.len(), 2);
        assert_eq!((record.weights[0].0, record.weights[0].2), (3, 0.25));
        assert_eq!((record.attempts, record.missed_reveals), (2, 1));
        assert_eq!(
            record.last_error.as_deref(),
            Some("the chain did not answer")
        );
        let again = kept(&serde_json::to_string(&record).unwrap());
        assert_eq!(again, record, "{text}");
    }
    assert_eq!(kept(states[0].0).state, SubmissionState::Armed);
    assert_eq!(kept(states[1].0).state, SubmissionState::Sent);
}
