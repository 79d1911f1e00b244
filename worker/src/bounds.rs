//! Hard bounds of what a message may ask of a worker. The rules of a job come from the scheduler, and a message that was
//! tampered with obeys nobody's settings; but two workers must never judge by different rules, so the bounds are those of
//! the program and not this worker's settings.

use nexis_protocol::budget;
use nexis_wire::JobRules;
use std::time::Duration;

/// Largest object that is ever fetched.
const LARGEST_OBJECT: u64 = 1 << 30;
/// Largest amount of memory that reading one data set ever reserves.
const LARGEST_DECODING: u64 = 8 << 30;

/// Cuts rules to the bounds; those of an honest scheduler stay as they are.
pub(crate) fn clamp(rules: &mut JobRules, deadline: Duration) {
    let longest = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
    for (value, most) in [
        (&mut rules.max_dataset_bytes, LARGEST_OBJECT),
        (&mut rules.max_asset_bytes, LARGEST_OBJECT),
        (&mut rules.max_frame_bytes, LARGEST_OBJECT),
        (&mut rules.max_dataset_rows, budget::MAX_ROWS),
        (&mut rules.max_text_bytes, budget::MAX_TEXT_BYTES),
        (&mut rules.max_row_text_bytes, budget::MAX_ROW_TEXT_BYTES),
        (&mut rules.max_failure_bytes, budget::MAX_FAILURE_BYTES),
        (&mut rules.decode_memory_bytes, LARGEST_DECODING),
        (&mut rules.fetch_budget_ms, longest),
    ] {
        *value = (*value).min(most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nexis_protocol::Netuid;
    use nexis_protocol::profile::Profile;

    #[test]
    fn rules_of_an_honest_scheduler_stay_and_those_of_a_tampered_message_are_cut() {
        let honest = JobRules::plain(Netuid::new(70), Profile::default());
        let mut rules = honest.clone();
        clamp(&mut rules, Duration::from_secs(600));
        assert_eq!(rules, honest);
        let mut rules = JobRules {
            fetch_budget_ms: u64::MAX,
            max_dataset_bytes: u64::MAX,
            max_asset_bytes: u64::MAX,
            max_frame_bytes: u64::MAX,
            max_dataset_rows: u64::MAX,
            max_text_bytes: u64::MAX,
            max_row_text_bytes: u64::MAX,
            max_failure_bytes: u64::MAX,
            decode_memory_bytes: u64::MAX,
            ..honest
        };
        clamp(&mut rules, Duration::from_secs(600));
        assert_eq!(rules.fetch_budget_ms, 600_000);
        assert_eq!(rules.max_asset_bytes, LARGEST_OBJECT);
        assert_eq!(rules.max_dataset_rows, budget::MAX_ROWS);
        assert_eq!(rules.max_text_bytes, budget::MAX_TEXT_BYTES);
    }
}
