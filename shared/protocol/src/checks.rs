//! The hard checks (PROTOCOL §8): over all rows left after pruning, rule by rule, in data set order.

use crate::bounded::Bounded;
use crate::claim::{CaptionVerdict, Claims};
use crate::profile::Profile;
use crate::prune::order_key;
use crate::reason::Reason;
use crate::uri::fits_path;
use std::collections::HashMap;

/// All failures of the kept rows, in the order in which other validators list them. No rows left is a pass.
/// A submission with a URL on which others' code raises has the one code `validation_exception`.
pub fn hard_checks(claims: &Claims, kept: &[u32], profile: &Profile) -> Vec<Reason> {
    let (failures, _) = hard_checks_within(claims, kept, profile, u64::MAX).into_parts();
    failures
}

/// The same, as far as they fit into this many bytes.
pub fn hard_checks_within(
    claims: &Claims,
    kept: &[u32],
    profile: &Profile,
    most_bytes: u64,
) -> Bounded {
    let mut failures = Bounded::new(most_bytes);
    if claims.has_refused_url() {
        failures.push(Reason::ValidationException);
        return failures;
    }
    let clip_id = |row: u32| claims.clip_id(row).unwrap_or_default().to_owned();
    for &row in kept {
        if claims.source(row).is_some_and(|source| !source.is_youtube) {
            failures.push(Reason::NonYoutubeSource {
                clip_id: clip_id(row),
            });
        }
    }
    push_overlaps(claims, kept, profile, &mut failures);
    for &row in kept {
        match claims.caption(row) {
            Some(CaptionVerdict::Empty) => {
                failures.push(Reason::EmptyCaption {
                    clip_id: clip_id(row),
                });
            }
            Some(CaptionVerdict::Short) => {
                failures.push(Reason::ShortCaption {
                    clip_id: clip_id(row),
                });
            }
            Some(CaptionVerdict::UrlLike) => {
                failures.push(Reason::UrlLikeCaption {
                    clip_id: clip_id(row),
                });
            }
            Some(CaptionVerdict::Fine) | None => {}
        }
    }
    if let Some(limit) = profile.clip_start_max_sec {
        for &row in kept {
            if claims.start_sec(row).is_some_and(|start| start > limit) {
                failures.push(Reason::ClipStartGt5000 {
                    clip_id: clip_id(row),
                });
            }
        }
    }
    failures
}

/// Neighbours of one source that start too close, sources in order of first appearance. The sort is stable
/// and takes both zeros for one, and the difference is a plain one, so infinite starts never overlap.
fn push_overlaps(claims: &Claims, kept: &[u32], profile: &Profile, failures: &mut Bounded) {
    let mut numbers: HashMap<&str, usize> = HashMap::new();
    let mut groups: Vec<(&str, Vec<(u32, f64)>)> = Vec::new();
    for &row in kept {
        let (Some(source), Some(start)) = (claims.source(row), claims.start_sec(row)) else {
            continue;
        };
        let label = source.label();
        let number = *numbers.entry(label).or_insert_with(|| {
            groups.push((label, Vec::new()));
            groups.len() - 1
        });
        groups[number].1.push((row, start));
    }
    for (label, mut rows) in groups {
        rows.sort_by_key(|(_, start)| order_key(*start));
        for pair in rows.windows(2) {
            let [(previous, earlier), (row, later)] = [pair[0], pair[1]];
            if later - earlier < profile.clip_gap_min_sec {
                failures.push(Reason::OverlapLt5s {
                    source: label.to_owned(),
                    previous: claims.clip_id(previous).unwrap_or_default().to_owned(),
                    clip_id: claims.clip_id(row).unwrap_or_default().to_owned(),
                });
            }
        }
    }
}

/// Whether others' code raises on a sampled row, because its clip id cannot be a path of folders (PROTOCOL §6).
/// Then the whole submission gets `validation_exception`.
pub fn sample_raises(claims: &Claims, sampled: &[u32]) -> bool {
    sampled
        .iter()
        .any(|row| claims.clip_id(*row).is_some_and(|id| !fits_path(id)))
}
