//! One miner's package: read, screen, report. A network fault is not the miner's fault until the budget is used up;
//! everything else that is wrong with the bytes is a value in the report.

use crate::intake::JobError;
use crate::room::Room;
use nexis_dataset::Limits;
use nexis_ports::{Bucket, BucketAccess, FetchError, FetchLimits, Fetched, Object};
use nexis_protocol::claim::{Claims, RowFacts};
use nexis_protocol::credentials::ReadCredentials;
use nexis_protocol::decision::Note;
use nexis_protocol::manifest::Manifest;
use nexis_protocol::profile::Profile;
use nexis_protocol::reason::Reason;
use nexis_protocol::row::Rows;
use nexis_protocol::screen::{Rejection, ScreenContext, screen};
use nexis_wire::{MinerJob, MinerReport, PackedRows, ReportOutcome, ScreenedReport};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Largest manifest, bytes. An honest one has some 500; the reader is linear, so a megabyte is harmless.
const MAX_MANIFEST_BYTES: u64 = 1 << 20;

/// Does one miner job.
pub async fn run(
    job: &MinerJob,
    bucket: &dyn Bucket,
    room: &Room,
) -> Result<MinerReport, JobError> {
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
        return Ok(report(
            rejected(Reason::MissingCommittedReadCredentials, detail),
            None,
            None,
        ));
    };
    let most = job
        .rules
        .max_dataset_bytes
        .saturating_add(MAX_MANIFEST_BYTES);
    let mut held = room.reserve(most).await;
    let read = |name: &'static str, max_bytes| {
        let access = &access;
        async move {
            let key = format!("{}/{name}", job.interval);
            let budget = Duration::from_millis(job.rules.fetch_budget_ms);
            fetch(bucket, access, &key, FetchLimits { max_bytes, budget }).await
        }
    };
    let (manifest, dataset) = tokio::join!(
        read("manifest.json", MAX_MANIFEST_BYTES),
        read("dataset.parquet", job.rules.max_dataset_bytes)
    );
    let (manifest, dataset) = (manifest?, dataset?);
    held.keep(manifest.length() + dataset.length());
    let (manifest, dataset) = match (manifest, dataset) {
        (Read::Found(manifest), Read::Found(dataset)) => (manifest, dataset),
        (Read::Found(manifest), Read::TooLarge) => {
            let detail = format!(
                "dataset.parquet is larger than the {} bytes that this validator reads",
                job.rules.max_dataset_bytes
            );
            let outcome = rejected(Reason::DatasetSchemaInvalid, &detail);
            return Ok(report(outcome, Some(&manifest), None));
        }
        (Read::TooLarge, _) => {
            let detail = format!("manifest.json is larger than {MAX_MANIFEST_BYTES} bytes");
            return Ok(report(
                rejected(Reason::ManifestSchemaInvalid, &detail),
                None,
                None,
            ));
        }
        (Read::Missing(why), _) => {
            let detail = format!("manifest.json: {why}");
            return Ok(report(
                rejected(Reason::MissingSubmissionFiles, &detail),
                None,
                None,
            ));
        }
        (_, Read::Missing(why)) => {
            let detail = format!("dataset.parquet: {why}");
            return Ok(report(
                rejected(Reason::MissingSubmissionFiles, &detail),
                None,
                None,
            ));
        }
    };
    let (outcome, manifest, dataset) = judge(job, manifest, dataset).await?;
    Ok(report(outcome, Some(&manifest), Some(&dataset)))
}

/// Parsing runs off the async threads: a data set may take hundreds of milliseconds.
async fn judge(
    job: &MinerJob,
    manifest: Object,
    dataset: Object,
) -> Result<(ReportOutcome, Object, Object), JobError> {
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
        let outcome = screened(&context, &manifest, &dataset);
        (outcome, manifest, dataset)
    })
    .await
    .map_err(|_| JobError::Interrupted("screening a package panicked or was cancelled"))
}

fn screened(context: &ScreenContext<'_>, manifest: &Object, dataset: &Object) -> ReportOutcome {
    let mut row_count = None;
    let screening = screen(
        context,
        Some(&manifest.bytes),
        Some(&dataset.bytes),
        |bytes| {
            let rows = nexis_dataset::read(bytes, &Limits::default(), context.profile)?;
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

/// A read as the protocol sees it.
pub(crate) enum Read {
    /// There.
    Found(Object),
    /// Not there, or not reachable to the end of the budget; why, in words.
    Missing(String),
    /// Beyond the limit.
    TooLarge,
}

impl Read {
    fn length(&self) -> u64 {
        match self {
            Self::Found(object) => object.bytes.len() as u64,
            Self::Missing(_) | Self::TooLarge => 0,
        }
    }
}

pub(crate) async fn fetch(
    bucket: &dyn Bucket,
    access: &BucketAccess,
    key: &str,
    limits: FetchLimits,
) -> Result<Read, JobError> {
    match bucket.fetch(access, key, limits).await {
        Ok(Fetched::Found(object)) => Ok(Read::Found(object)),
        Ok(Fetched::Missing) => Ok(Read::Missing(
            "the store has no such object, or denies access".to_owned(),
        )),
        Ok(Fetched::TooLarge { .. }) => Ok(Read::TooLarge),
        Ok(Fetched::Unreachable { last }) => Ok(Read::Missing(format!(
            "the store could not be reached within the time budget: {last}"
        ))),
        // Credentials with which no request can be formed are as good as none.
        Err(FetchError::Unusable { reason, .. }) => Ok(Read::Missing(reason)),
        Err(FetchError::WrongClock { reason, .. }) => {
            tracing::error!(reason, "a store refuses this machine's clock");
            Err(JobError::Interrupted("the store refuses our clock"))
        }
        Err(FetchError::Cancelled) => Err(JobError::Interrupted("reading was cancelled")),
    }
}
