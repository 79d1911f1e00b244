//! `nexis check`: a miner's dry run. Every row is looked at, and every failing one explained; the verdict is what
//! a validator gives for the rows that it samples.

mod verdict;

use crate::args::CheckArgs;
use crate::commands::case;
use crate::wiring;
use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use nexis_bucket::DirBucket;
use nexis_ports::{Bucket, BucketAccess, FetchError, FetchLimits, Fetched};
use nexis_protocol::record_info::RecordIndex;
use nexis_protocol::{Digest, Hotkey, IntervalId, budget, manifest, sampling};
use nexis_runtime::{Exit, Settings};
use nexis_scheduler::reduce;
use nexis_wire::{
    ClipReport, JobRules, MinerOutcome, PlannedMiner, ReportOutcome, RoundPlan, Sampling,
};
use nexis_worker::fetch::{Means, Patience};
use nexis_worker::measure::Prober;
use nexis_worker::room::Room;
use nexis_worker::{clip_job, miner_job};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use verdict::{Checked, PACKAGE};

/// Runs the command; the exit code says whether the package would be accepted.
pub async fn run(settings: &Settings, args: &CheckArgs) -> Result<Exit> {
    let prober = Arc::new(Prober::sandboxed(1)?);
    if let Some(file) = &args.case {
        let outcome = case::judge(file, wiring::profile(settings)?, &prober).await?;
        println!("{}", serde_json::to_string_pretty(&outcome)?);
        return Ok(Exit::Asked);
    }
    let package = args.package.as_deref().unwrap_or_default();
    let (bucket, access, interval) = open(settings, package)?;
    let source = Source {
        bucket: bucket.as_ref(),
        access,
        interval,
    };
    let checked = source.check(settings, &prober).await?;
    if args.json {
        println!("{}", serde_json::to_string(&checked.decision)?);
    } else {
        print!("{}", checked.text());
    }
    Ok(if checked.decision.accepted && checked.beyond.is_empty() {
        Exit::Asked
    } else {
        Exit::TaskDied
    })
}

/// A package folder as a bucket of one interval: whatever interval is asked for, it is this folder.
struct PackageFolder {
    parent: DirBucket,
    folder: String,
}

#[async_trait]
impl Bucket for PackageFolder {
    async fn fetch(
        &self,
        access: &BucketAccess,
        key: &str,
        limits: FetchLimits,
    ) -> Result<Fetched, FetchError> {
        let inside = key.split_once('/').map_or(key, |(_, inside)| inside);
        let access = BucketAccess {
            bucket: self.folder.clone(),
            ..access.clone()
        };
        self.parent.fetch(&access, inside, limits).await
    }
}

/// Where to read, and of which interval when the place says it.
fn open(
    settings: &Settings,
    package: &str,
) -> Result<(Box<dyn Bucket>, BucketAccess, Option<IntervalId>)> {
    if let Some(rest) = package.strip_prefix("s3://") {
        let (bucket, interval) = rest
            .trim_end_matches('/')
            .split_once('/')
            .and_then(|(bucket, interval)| Some((bucket, interval.parse::<u64>().ok()?)))
            .context("an s3 package is given as s3://BUCKET/INTERVAL, INTERVAL being a number")?;
        let access = wiring::package_bucket(settings, bucket).context(
            "reading a bucket needs its account id and keys: see R2_ in `nexis config --list`",
        )?;
        return Ok((
            Box::new(wiring::bucket_store(settings)?),
            access,
            Some(IntervalId::new(interval)),
        ));
    }
    let folder = std::fs::canonicalize(Path::new(package))
        .with_context(|| format!("opening the package folder {package}"))?;
    let (Some(parent), Some(name)) = (folder.parent(), folder.file_name().and_then(|n| n.to_str()))
    else {
        bail!("{package} is not a folder that can hold a package");
    };
    let parent =
        DirBucket::new(parent).with_context(|| format!("opening the package folder {package}"))?;
    let access = BucketAccess {
        bucket: name.to_owned(),
        account_id: String::new(),
        access_key: String::new(),
        secret_key: String::new(),
    };
    let bucket = PackageFolder {
        parent,
        folder: name.to_owned(),
    };
    Ok((Box::new(bucket), access, None))
}

struct Source<'a> {
    bucket: &'a dyn Bucket,
    access: BucketAccess,
    /// The interval whose folder it is; a package folder on disk says it in its manifest.
    interval: Option<IntervalId>,
}

/// The package's bucket under the credentials that the command was given, whatever a job carries.
struct OwnAccess<'a> {
    bucket: &'a dyn Bucket,
    access: BucketAccess,
}

#[async_trait]
impl Bucket for OwnAccess<'_> {
    async fn fetch(
        &self,
        _of_the_job: &BucketAccess,
        key: &str,
        limits: FetchLimits,
    ) -> Result<Fetched, FetchError> {
        self.bucket.fetch(&self.access, key, limits).await
    }
}

impl Source<'_> {
    /// A package says itself whose it is, and a folder also for which interval; without a manifest nothing can be
    /// checked.
    async fn identity(&self, rules: &JobRules) -> Result<(Hotkey, IntervalId)> {
        let limits = FetchLimits {
            max_bytes: budget::MAX_MANIFEST_BYTES,
            budget: Duration::from_millis(rules.fetch_budget_ms),
            min_bytes_per_second: rules.min_bytes_per_second,
        };
        // A folder does not look at the interval of a key.
        let folder = self.interval.unwrap_or(IntervalId::new(0));
        let key = format!("{folder}/manifest.json");
        let object = match self.bucket.fetch(&self.access, &key, limits).await? {
            Fetched::Found(object) => object,
            Fetched::Missing { answer } => bail!(
                "there is no manifest.json in the package, or these keys may not read it ({answer}): a validator says \
                 missing_submission_files"
            ),
            Fetched::TooLarge { bytes } => bail!(
                "manifest.json has {bytes} bytes, more than a validator reads: it says manifest_schema_invalid"
            ),
            Fetched::Unreachable { last } | Fetched::TooSlow { last } => {
                bail!(
                    "manifest.json could not be read: {last}; this says nothing about your package: try again"
                )
            }
        };
        let manifest = manifest::Manifest::parse(&object.bytes).map_err(|fault| {
            anyhow::anyhow!("{fault}: a validator says manifest_schema_invalid")
        })?;
        let hotkey = manifest
            .miner_hotkey
            .parse()
            .context("manifest.json: miner_hotkey: a validator says manifest_identity_mismatch")?;
        let interval = match self.interval {
            Some(interval) => interval,
            None => IntervalId::new(
                u64::try_from(manifest.interval_id)
                    .context("manifest.json: interval_id is larger than any block")?,
            ),
        };
        Ok((hotkey, interval))
    }

    async fn check(&self, settings: &Settings, prober: &Arc<Prober>) -> Result<Checked> {
        let rules = wiring::rules(settings)?;
        let (hotkey, interval) = self.identity(&rules).await?;
        let bucket = OwnAccess {
            bucket: self.bucket,
            access: self.access.clone(),
        };
        let plan = plan(rules, &hotkey, interval);
        let job = reduce::miner_jobs(&plan)
            .into_iter()
            .next()
            .context("a plan of one miner")?;
        let room = Room::new(settings.limits.scratch_bytes);
        let means = Means {
            bucket: &bucket,
            room: &room,
            patience: Patience::Whole,
        };
        let mut troubles = BTreeMap::new();
        let looked = miner_job::run(&job, &means).await?;
        if let Some(trouble) = looked.trouble {
            troubles.insert(PACKAGE.to_owned(), trouble.last().to_owned());
        }
        let reports = vec![looked.report];
        let index = RecordIndex::default();
        let sampled = reduce::arbitrate_round(&plan, &index, &reports);
        let mut everything = plan.clone();
        everything.rules.sampling = Sampling::Full;
        let all = reduce::arbitrate_round(&everything, &index, &reports);
        let tools = clip_job::Tools {
            means,
            prober,
            vision: None,
        };
        let mut verdicts: Vec<ClipReport> = Vec::new();
        for job in reduce::draw_jobs(&everything, &all, &reports)? {
            let run = clip_job::run(&job, &tools, clip_job::Frames::WhenACheckNeedsThem);
            let looked = run.await?;
            if let Some(trouble) = looked.trouble {
                troubles.insert(job.clip_id.clone(), trouble.last().to_owned());
            }
            verdicts.push(looked.report);
        }
        let decide = |clips| {
            let results = reduce::Results {
                plan: &plan,
                clips,
                reports: &reports,
                verdicts: &verdicts,
            };
            reduce::decide_round(&results, 0.0).0.into_iter().next()
        };
        let decision = decide(&sampled).context("one miner has one decision")?;
        let in_full = decide(&all).context("one miner has one decision")?;
        let beyond = in_full
            .failures
            .into_iter()
            .filter(|reason| !decision.failures.contains(reason))
            .collect();
        let detail = match &reports[0].outcome {
            ReportOutcome::Rejected { detail, .. } => Some(detail.clone()),
            ReportOutcome::Screened(_) => None,
        };
        let rows = match all.miners.first() {
            Some(MinerOutcome::Judged { kept, .. }) => kept.len(),
            _ => 0,
        };
        Ok(Checked {
            decision,
            detail,
            beyond,
            advisories: verdicts
                .into_iter()
                .flat_map(|verdict| verdict.verdict.advisories)
                .collect(),
            troubles,
            rows,
            rules: plan.rules,
        })
    }
}

fn plan(rules: JobRules, hotkey: &Hotkey, interval: IntervalId) -> RoundPlan {
    RoundPlan {
        interval,
        rules,
        roster_block: 0,
        roster_hash: String::new(),
        validator: None,
        seed: sampling::interval_seed(interval),
        invalid: Vec::new(),
        miners: vec![PlannedMiner {
            hotkey: hotkey.clone(),
            commitment: Some("0".repeat(32) + &"a".repeat(96)),
        }],
        index: Digest::of(b""),
        miners_deadline: u64::MAX,
        clips_deadline: u64::MAX,
    }
}
