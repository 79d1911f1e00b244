use crate::stores::model;
use nexis_protocol::Netuid;
use nexis_protocol::clip::AdvisoryKind;
use nexis_protocol::profile::Profile;
use nexis_runtime::Settings;
use nexis_runtime::config;
use nexis_wire::{JobRules, Sampling, VisionChecks};

/// Settings that only show to be wrong when they are used; the process ends with 78 before anything starts.
#[derive(Debug)]
pub struct WrongSetting(pub Vec<String>);

impl WrongSetting {
    /// One problem.
    pub fn one(problem: impl Into<String>) -> Self {
        Self(vec![problem.into()])
    }
}

impl std::fmt::Display for WrongSetting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the settings are wrong, nothing was started:")?;
        if let [only] = self.0.as_slice() {
            return write!(f, " {only}");
        }
        self.0
            .iter()
            .try_for_each(|problem| write!(f, "\n  - {problem}"))
    }
}

impl std::error::Error for WrongSetting {}

/// The profile with the operator's overrides.
pub fn profile(settings: &Settings) -> Result<Profile, WrongSetting> {
    let mut profile = Profile::by_name(&settings.profile.name)
        .map_err(|fault| WrongSetting::one(format!("NEXIS_PROFILE: {fault}")))?;
    let mut problems = Vec::new();
    for (field, value) in &settings.profile.overrides {
        if let Err(fault) = profile.set(field, value) {
            problems.push(format!("NEXIS_PROFILE_{}: {fault}", field.to_uppercase()));
        }
    }
    if problems.is_empty() {
        Ok(profile)
    } else {
        Err(WrongSetting(problems))
    }
}

/// The rules that go into every job.
pub fn rules(settings: &Settings) -> Result<JobRules, WrongSetting> {
    let mut problems = Vec::new();
    let mut reject_advisories = Vec::new();
    for name in &settings.validator.reject_advisories {
        match AdvisoryKind::by_name(name) {
            Some(kind) => reject_advisories.push(kind),
            None => problems.push(format!(
                "NEXIS_REJECT_ADVISORIES: there is no advisory '{name}'; known are {}",
                AdvisoryKind::ALL.map(AdvisoryKind::as_str).join(", ")
            )),
        }
    }
    if !problems.is_empty() {
        return Err(WrongSetting(problems));
    }
    let has_model = model(settings).is_some();
    Ok(JobRules {
        netuid: Netuid::new(settings.chain.netuid),
        profile: profile(settings)?,
        enabled_specs: settings.validator.specs.clone(),
        expected_category: settings.validator.category.clone(),
        vision: VisionChecks {
            caption: has_model && settings.vision.semantic.enabled,
            category: has_model && settings.vision.category.enabled,
            category_caption_gate: has_model && settings.vision.caption_gate,
        },
        reject_advisories,
        sampling: match settings.validator.sampling {
            config::Sampling::Protocol => Sampling::Protocol,
            config::Sampling::Full => Sampling::Full,
        },
        fetch_budget_ms: u64::try_from(settings.limits.fetch_budget.as_millis())
            .unwrap_or(u64::MAX),
        max_dataset_bytes: settings.limits.dataset_bytes,
        max_asset_bytes: settings.limits.clip_bytes,
    })
}
