//! Who can be drawn in an interval (PROTOCOL §9).

use crate::credentials::ReadCredentials;
use crate::ids::Hotkey;

/// The candidates of an interval: hotkeys of the metagraph, in its order (by uid), that committed usable read
/// credentials and that the operator does not exclude. The validator's own hotkey is one like any other.
pub fn candidates<'a>(
    metagraph: impl IntoIterator<Item = &'a Hotkey>,
    commitment: impl Fn(&Hotkey) -> Option<&'a str>,
    is_excluded: impl Fn(&Hotkey) -> bool,
) -> Vec<Hotkey> {
    metagraph
        .into_iter()
        .filter(|hotkey| !is_excluded(hotkey))
        .filter(|hotkey| commitment(hotkey).is_some_and(is_usable))
        .cloned()
        .collect()
}

fn is_usable(commitment: &str) -> bool {
    ReadCredentials::decode(commitment).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::IntervalId;
    use crate::profile::Profile;
    use crate::sampling::{interval_seed, select_miners};
    use std::collections::BTreeMap;

    fn hotkey(uid: u8) -> Hotkey {
        Hotkey::from_public_key(&[uid; 32])
    }

    fn usable() -> String {
        "a1".repeat(64)
    }

    #[test]
    fn uncommitted_hotkeys_use_up_no_slots() {
        let metagraph: Vec<Hotkey> = (0..=255).map(hotkey).collect();
        let committed: BTreeMap<Hotkey, String> =
            (0..60_u8).map(|nth| (hotkey(nth * 4), usable())).collect();
        let found = candidates(
            &metagraph,
            |hotkey| committed.get(hotkey).map(String::as_str),
            |_| false,
        );
        assert_eq!(
            found,
            (0..60_u8).map(|nth| hotkey(nth * 4)).collect::<Vec<_>>()
        );
        let seed = interval_seed(IntervalId::new(100));
        for (profile, drawn) in [("readme", 30), ("2026-04-13", 35)] {
            let profile = Profile::by_name(profile).unwrap();
            assert_eq!(
                select_miners(&found, |_| false, &seed, &profile).len(),
                drawn
            );
        }
    }

    #[test]
    fn a_commitment_counts_only_when_its_credentials_can_be_used() {
        let metagraph: Vec<Hotkey> = (0..5).map(hotkey).collect();
        let committed: BTreeMap<Hotkey, String> = [
            (0, usable()),
            (1, "a".repeat(127)),
            (2, "g".repeat(128)),
            (3, "a".repeat(100) + " " + &"a".repeat(27)),
        ]
        .into_iter()
        .map(|(uid, text)| (hotkey(uid), text))
        .collect();
        let of = |excluded: Option<Hotkey>| {
            candidates(
                &metagraph,
                |hotkey| committed.get(hotkey).map(String::as_str),
                |hotkey| Some(hotkey) == excluded.as_ref(),
            )
        };
        assert_eq!(of(None), [hotkey(0)]);
        assert!(of(Some(hotkey(0))).is_empty());
    }
}
