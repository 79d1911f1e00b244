//! One miner's package: read, screen, report. A network fault is not the miner's fault until the budget is used up;
//! everything else that is wrong with the bytes is a value in the report.

use crate::fetch::{Looked, Means, Read, Reader, Trouble, Wanted};
use crate::intake::JobError;
use nexis_dataset::Limits;
use nexis_ports::{BucketAccess, Object, Route};
use nexis_protocol::budget::MAX_MANIFEST_BYTES;
use nexis_protocol::claim::{Claims, RowFacts};
use nexis_protocol::credentials::ReadCredentials;
use nexis_protocol::decision::Note;
use nexis_protocol::manifest::Manifest;
use nexis_protocol::profile::Profile;
use nexis_protocol::reason::Reason;
use nexis_protocol::row::Rows;
use nexis_protocol::screen::{Rejection, ScreenContext, screen};
use nexis_wire::{JobRules, MinerJob, MinerReport, PackedRows, ReportOutcome, ScreenedReport};
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

/// Does one miner job.
pub async fn run(job: &MinerJob, means: &Means<'_>) -> Result<Looked<MinerReport>, JobError> {
    let report = |outcome, manifest: Option<&Object>, dataset: Option<&Object>| MinerReport {
        interval: job.interval,
        hotkey: job.hotkey.clone(),
        outcome,
        manifest_sha256: manifest.map(|object| object.digest),
        dataset_sha256: dataset.map(|object| object.digest),
        unreachable: None,
    };
    let Some(access) = access(job.commitment.as_deref(), &job.hotkey) else {
        let detail = "no 128-character read credentials are committed on the chain for this hotkey";
        let outcome = rejected(Reason::MissingCommittedReadCredentials, detail);
        return Ok(Looked::found(report(outcome, None, None)));
    };
    let wanted = wanted(job, means.room.allotment());
    let reader = Reader::new(*means, &access, &job.rules);
    let (reads, mut held) = reader.both(wanted).await?;
    if let Some(held) = &mut held {
        held.keep(reads.iter().map(Read::length).sum());
    }
    let (manifest, dataset) = match not_there(job, reads) {
        Ok(both) => both,
        Err(not_there) => {
            return Ok(Looked {
                report: report(not_there.outcome, not_there.manifest.as_ref(), None),
                trouble: not_there.trouble,
            });
        }
    };
    let (outcome, manifest, dataset) = judge(job, means, manifest, dataset).await?;
    Ok(Looked::found(report(
        outcome,
        Some(&manifest),
        Some(&dataset),
    )))
}

/// The report of a job that makes our own code fail again and again (PROTOCOL §6).
pub fn exception(job: &MinerJob, detail: &str) -> MinerReport {
    MinerReport {
        interval: job.interval,
        hotkey: job.hotkey.clone(),
        outcome: rejected(Reason::ValidationException, detail),
        manifest_sha256: None,
        dataset_sha256: None,
        unreachable: None,
    }
}

/// The same report as a reject because of a bound of ours (PROTOCOL §5).
pub(crate) fn beyond(report: &MinerReport, detail: &str) -> MinerReport {
    MinerReport {
        interval: report.interval,
        hotkey: report.hotkey.clone(),
        outcome: rejected(Reason::DatasetSchemaInvalid, detail),
        manifest_sha256: report.manifest_sha256,
        dataset_sha256: report.dataset_sha256,
        unreachable: None,
    }
}

/// Manifest and data set; a manifest takes no more than a quarter of the allotment.
fn wanted(job: &MinerJob, allotment: u64) -> [Wanted; 2] {
    let key = |name: &str| Some(format!("{}/{name}", job.interval));
    let manifest = (allotment / 4).min(MAX_MANIFEST_BYTES);
    [
        Wanted {
            key: key("manifest.json"),
            most: MAX_MANIFEST_BYTES,
            share: manifest,
            decides: true,
        },
        Wanted {
            key: key("dataset.parquet"),
            most: job.rules.max_dataset_bytes,
            share: allotment - manifest,
            decides: false,
        },
    ]
}

/// A package of which something is not there, or beyond its bound.
struct NotThere {
    outcome: ReportOutcome,
    manifest: Option<Object>,
    trouble: Option<Trouble>,
}

fn not_there(job: &MinerJob, reads: [Read; 2]) -> Result<(Object, Object), Box<NotThere>> {
    let missing =
        |name: &str, why: &str| rejected(Reason::MissingSubmissionFiles, &format!("{name}: {why}"));
    let fails = |outcome, manifest, trouble| {
        Err(Box::new(NotThere {
            outcome,
            manifest,
            trouble,
        }))
    };
    // What a store says is not there is missing, whatever another one leaves unsaid.
    match reads {
        [Read::Found(manifest), Read::Found(dataset)] => Ok((manifest, dataset)),
        [Read::Found(manifest), Read::TooLarge] => {
            let detail = format!(
                "dataset.parquet is larger than the {} bytes that this validator reads",
                job.rules.max_dataset_bytes
            );
            let outcome = rejected(Reason::DatasetSchemaInvalid, &detail);
            fails(outcome, Some(manifest), None)
        }
        [Read::TooLarge, _] => {
            let detail = format!("manifest.json is larger than {MAX_MANIFEST_BYTES} bytes");
            fails(rejected(Reason::ManifestSchemaInvalid, &detail), None, None)
        }
        [Read::Missing(why), _] => fails(missing("manifest.json", &why), None, None),
        [_, Read::Missing(why)] => fails(missing("dataset.parquet", &why), None, None),
        [Read::Silent(trouble), _] => {
            let outcome = missing("manifest.json", &silence(&trouble));
            fails(outcome, None, Some(trouble))
        }
        [_, Read::Silent(trouble)] => {
            let outcome = missing("dataset.parquet", &silence(&trouble));
            fails(outcome, None, Some(trouble))
        }
        [Read::Found(_) | Read::Unasked | Read::Larger(_), _] => {
            unreachable!("both objects are asked for, with the largest limit in the end")
        }
    }
}

fn silence(trouble: &Trouble) -> String {
    match trouble {
        Trouble::Unreachable(last) => {
            format!("the store could not be reached within the time budget: {last}")
        }
        Trouble::TooSlow(last) => {
            format!("the store was too slow: {last}")
        }
    }
}

/// Parsing runs off the async threads: a data set may take hundreds of milliseconds.
async fn judge(
    job: &MinerJob,
    means: &Means<'_>,
    manifest: Object,
    dataset: Object,
) -> Result<(ReportOutcome, Object, Object), JobError> {
    let _place = means.room.compute(Route::Miner).await;
    let limits = limits(&job.rules);
    let most = nexis_dataset::needed_memory(&dataset.bytes, &limits);
    let allowed = job.rules.decode_memory_bytes;
    let _working = means.room.working(most.min(allowed)).await;
    let (hotkey, interval, rules) = (job.hotkey.clone(), job.interval, job.rules.clone());
    tokio::task::spawn_blocking(move || {
        let context = ScreenContext {
            hotkey: &hotkey,
            interval,
            has_credentials: true,
            enabled_specs: &rules.enabled_specs,
            expected_category: rules.expected_category.as_deref(),
            profile: &rules.profile,
        };
        let outcome = screened(&context, &limits, &manifest, &dataset);
        let outcome = shortened(outcome, rules.max_failure_bytes);
        (outcome, manifest, dataset)
    })
    .await
    .map_err(|fault| JobError::of("screening a package", &fault))
}

/// The bounds that travel with the job.
fn limits(rules: &JobRules) -> Limits {
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    Limits {
        file_bytes: size(rules.max_dataset_bytes),
        rows: size(rules.max_dataset_rows),
        text_bytes: size(rules.max_text_bytes),
        row_text_bytes: size(rules.max_row_text_bytes),
        decoded_bytes: size(rules.decode_memory_bytes),
    }
}

/// A reject whose words are no longer than what is kept of a miner's failures.
fn shortened(outcome: ReportOutcome, most: u64) -> ReportOutcome {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    match outcome {
        ReportOutcome::Rejected {
            reasons,
            mut detail,
            mut notes,
        } => {
            shorten(&mut detail, most);
            for note in notes.values_mut() {
                if let Note::Text(text) = note {
                    shorten(text, most);
                }
            }
            ReportOutcome::Rejected {
                reasons,
                detail,
                notes,
            }
        }
        screened @ ReportOutcome::Screened(_) => screened,
    }
}

fn shorten(text: &mut String, most: usize) {
    if text.len() > most {
        let mut cut = most;
        while !text.is_char_boundary(cut) {
            cut -= 1;
        }
        let rest = text.len() - cut;
        text.truncate(cut);
        text.push_str(&format!("… ({rest} bytes more)"));
    }
}

fn screened(
    context: &ScreenContext<'_>,
    limits: &Limits,
    manifest: &Object,
    dataset: &Object,
) -> ReportOutcome {
    let mut row_count = None;
    let screening = screen(
        context,
        Some(&manifest.bytes),
        Some(&dataset.bytes),
        |bytes| {
            let rows = nexis_dataset::read(bytes, limits, context.profile)?;
            row_count = Some(rows.len() as u64);
            Ok::<Rows, nexis_dataset::DatasetError>(rows)
        },
    );
    match screening {
        Ok(passed) => ReportOutcome::Screened(Box::new(ScreenedReport {
            spec_id: passed.spec_id,
            category: passed.category,
            submitted_at: manifest
                .last_modified
                .or(passed.created_at)
                .unwrap_or_else(now),
            claims: claims(&passed.rows, context.profile),
            rows: PackedRows::pack(passed.rows),
        })),
        Err(rejection) => {
            let notes = notes(&rejection, manifest, dataset, row_count);
            ReportOutcome::Rejected {
                reasons: rejection.reasons,
                detail: rejection.detail,
                notes,
            }
        }
    }
}

/// A manifest that does not say when it was made counts as made now (PROTOCOL §4).
fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

/// The notes that other validators keep beside these codes.
fn notes(
    rejection: &Rejection,
    manifest: &Object,
    dataset: &Object,
    row_count: Option<u64>,
) -> BTreeMap<String, Note> {
    let parsed = || Manifest::parse(&manifest.bytes).ok();
    let Some(reason) = rejection.reasons.first() else {
        return BTreeMap::new();
    };
    match reason {
        Reason::DatasetSha256Mismatch => BTreeMap::from([
            (
                "expected_dataset_sha256".to_owned(),
                parsed().map_or(Note::Null, |manifest| Note::Text(manifest.dataset_sha256)),
            ),
            (
                "actual_dataset_sha256".to_owned(),
                Note::Text(dataset.digest.to_string()),
            ),
        ]),
        Reason::ManifestRecordCountMismatch => BTreeMap::from([
            (
                "manifest_record_count".to_owned(),
                parsed().map_or(Note::Null, |manifest| {
                    Note::Count(u64::try_from(manifest.record_count).unwrap_or(u64::MAX))
                }),
            ),
            (
                "dataset_record_count".to_owned(),
                row_count.map_or(Note::Null, Note::Count),
            ),
        ]),
        reason if keeps_error_text(reason) => {
            BTreeMap::from([("error".to_owned(), Note::Text(rejection.detail.clone()))])
        }
        _ => BTreeMap::new(),
    }
}

/// The codes at which other validators keep the text of an exception.
fn keeps_error_text(reason: &Reason) -> bool {
    matches!(
        reason,
        Reason::MissingCommittedReadCredentials
            | Reason::ManifestSchemaInvalid
            | Reason::DatasetSchemaInvalid
            | Reason::ValidationException
    )
}

/// What pruning and the hard checks need of each row.
pub fn claims(rows: &Rows, profile: &Profile) -> Claims {
    let facts = rows.iter().map(|row| RowFacts {
        clip_id: row.clip_id,
        source_video_id: row.source_video_id,
        source_video_url: row.source_video_url,
        caption: row.caption,
        clip_start_sec: row.clip_start_sec,
    });
    Claims::collect(facts, profile)
}

/// A miner's bucket and the credentials it committed, when they can be used.
pub(crate) fn access(
    commitment: Option<&str>,
    hotkey: &nexis_protocol::Hotkey,
) -> Option<BucketAccess> {
    let credentials = ReadCredentials::decode(commitment?).ok()?;
    Some(BucketAccess {
        bucket: hotkey.bucket_name(),
        account_id: credentials.account_id().to_owned(),
        access_key: credentials.access_key().to_owned(),
        secret_key: credentials.secret_key().to_owned(),
    })
}

fn rejected(reason: Reason, detail: &str) -> ReportOutcome {
    let error =
        keeps_error_text(&reason).then(|| ("error".to_owned(), Note::Text(detail.to_owned())));
    ReportOutcome::Rejected {
        reasons: vec![reason],
        detail: detail.to_owned(),
        notes: error.into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_reject_are_cut_between_characters_and_say_so() {
        let long = rejected(Reason::ValidationException, &"ö".repeat(100));
        let ReportOutcome::Rejected { detail, notes, .. } = shortened(long, 51) else {
            panic!("it is a reject");
        };
        assert_eq!(detail, format!("{}… (150 bytes more)", "ö".repeat(25)));
        assert_eq!(notes.get("error"), Some(&Note::Text(detail)));
        let short = rejected(Reason::ValidationException, "short");
        assert_eq!(shortened(short.clone(), 51), short);
    }
}
