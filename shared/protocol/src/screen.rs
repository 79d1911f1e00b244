//! Loading one submission (PROTOCOL.md §6): the first check that fails ends it.

use crate::ids::{Digest, Hotkey, IntervalId};
use crate::manifest::Manifest;
use crate::profile::Profile;
use crate::reason::Reason;
use crate::row::Rows;
use crate::spec::DatasetSpec;
use serde::{Deserialize, Serialize};

/// What a submission is held against.
#[derive(Debug, Clone, Copy)]
pub struct ScreenContext<'a> {
    /// Whose bucket it was found in.
    pub hotkey: &'a Hotkey,
    /// Whose folder it was found in.
    pub interval: IntervalId,
    /// Whether the miner committed usable read credentials.
    pub has_credentials: bool,
    /// Specs that are checked here; blank names do not count, and an empty list means all.
    pub enabled_specs: &'a [String],
    /// The category that is collected now, if any.
    pub expected_category: Option<&'a str>,
    /// The numbers.
    pub profile: &'a Profile,
}

/// A submission that passed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Screened {
    /// Kind of data set.
    pub spec_id: String,
    /// Category of the manifest.
    pub category: Option<String>,
    /// When the manifest says it was made, epoch seconds.
    pub created_at: Option<f64>,
    /// Subnet of the manifest; larger numbers are kept as the largest.
    pub netuid: u64,
    /// Number of rows.
    pub record_count: u64,
    /// SHA-256 of the data set.
    pub dataset_sha256: Digest,
    /// The rows.
    pub rows: Rows,
}

/// A submission that did not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rejection {
    /// The failure codes.
    pub reasons: Vec<Reason>,
    /// What exactly was wrong, for the miner.
    pub detail: String,
}

impl Rejection {
    /// A rejection with one code.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reasons: vec![reason],
            detail: detail.into(),
        }
    }

    fn plain(reason: Reason) -> Self {
        let detail = reason.explain();
        Self::new(reason, detail)
    }
}

/// Checks one submission. `None` for a file that is missing; `read_rows` turns the data set's bytes into rows.
///
/// # Errors
/// The rejection, with the code of the first check that failed.
pub fn screen<E: std::fmt::Display>(
    context: &ScreenContext<'_>,
    manifest: Option<&[u8]>,
    dataset: Option<&[u8]>,
    read_rows: impl FnOnce(&[u8]) -> Result<Rows, E>,
) -> Result<Screened, Rejection> {
    if !context.has_credentials {
        return Err(Rejection::plain(Reason::MissingCommittedReadCredentials));
    }
    let (Some(manifest), Some(dataset)) = (manifest, dataset) else {
        return Err(Rejection::plain(Reason::MissingSubmissionFiles));
    };
    let manifest = Manifest::parse(manifest)
        .map_err(|error| Rejection::new(Reason::ManifestSchemaInvalid, error.to_string()))?;
    check_manifest(context, &manifest)?;
    let dataset_sha256 = Digest::of(dataset);
    if manifest.dataset_sha256 != dataset_sha256.to_string() {
        return Err(Rejection::plain(Reason::DatasetSha256Mismatch));
    }
    let rows = read_rows(dataset)
        .map_err(|error| Rejection::new(Reason::DatasetSchemaInvalid, error.to_string()))?;
    if manifest.record_count != rows.len() as u128 {
        let detail = format!(
            "manifest.json says {} rows, dataset.parquet has {}",
            manifest.record_count,
            rows.len()
        );
        return Err(Rejection::new(Reason::ManifestRecordCountMismatch, detail));
    }
    Ok(Screened {
        spec_id: manifest.spec_id,
        category: manifest.category,
        created_at: manifest.created_at,
        netuid: u64::try_from(manifest.netuid).unwrap_or(u64::MAX),
        record_count: rows.len() as u64,
        dataset_sha256,
        rows,
    })
}

/// Checks 4 to 9.
fn check_manifest(context: &ScreenContext<'_>, manifest: &Manifest) -> Result<(), Rejection> {
    if manifest.miner_hotkey != context.hotkey.as_str()
        || manifest.interval_id != u128::from(context.interval.get())
    {
        return Err(Rejection::plain(Reason::ManifestIdentityMismatch));
    }
    let spec_id = manifest.spec_id.clone();
    let Some(spec) = DatasetSpec::by_id(&spec_id) else {
        return Err(Rejection::plain(Reason::UnknownSpec { spec_id }));
    };
    if !spec.fits(
        &manifest.protocol_version,
        &manifest.schema_version,
        context.profile,
    ) {
        return Err(Rejection::plain(Reason::IncompatibleSpecVersion {
            spec_id,
            protocol: manifest.protocol_version.clone(),
            schema: manifest.schema_version.clone(),
        }));
    }
    let mut enabled = context
        .enabled_specs
        .iter()
        .map(|name| name.trim())
        .filter(|name| !name.is_empty())
        .peekable();
    if enabled.peek().is_some() && !enabled.any(|name| name == spec_id) {
        return Err(Rejection::plain(Reason::SpecNotEnabled { spec_id }));
    }
    match (
        context
            .expected_category
            .map(str::trim)
            .filter(|name| !name.is_empty()),
        &manifest.category,
    ) {
        (Some(_), None) => Err(Rejection::plain(Reason::MissingCategoryMetadata)),
        (Some(expected), Some(category)) if expected != category => {
            Err(Rejection::plain(Reason::UnsupportedCategory {
                category: category.clone(),
            }))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
