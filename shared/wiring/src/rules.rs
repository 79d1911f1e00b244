use crate::stores::model;
use nexis_protocol::clip::AdvisoryKind;
use nexis_protocol::picture::PictureChecks;
use nexis_protocol::profile::Profile;
use nexis_protocol::{Netuid, budget};
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

fn pictures(settings: &Settings) -> PictureChecks {
    match settings.validator.picture_checks {
        config::PictureChecks::Off => PictureChecks::Off,
        config::PictureChecks::First => PictureChecks::First,
        config::PictureChecks::All => PictureChecks::All,
    }
}

/// The advisory of a name, when it can become a failure under what is looked at.
fn rejecting(name: &str, pictures: PictureChecks) -> Result<AdvisoryKind, String> {
    let Some(kind) = AdvisoryKind::by_name(name) else {
        let known = AdvisoryKind::ALL.map(AdvisoryKind::as_str);
        let nearest = config::nearest(name, known);
        let hint = nearest.map_or(String::new(), |(near, _)| {
            format!("; did you mean '{near}'?")
        });
        let known = known.join(", ");
        return Err(format!(
            "there is no advisory '{name}'{hint} (known are {known})"
        ));
    };
    if !kind.may_reject() {
        return Err(format!(
            "'{name}' cannot become a failure: it is said of whoever was copied; reject 'near_duplicate', the copy"
        ));
    }
    match kind.needs() {
        PictureChecks::All if pictures < PictureChecks::All => Err(format!(
            "'{name}' is only found for sure with NEXIS_PICTURE_CHECKS=all"
        )),
        PictureChecks::First if pictures < PictureChecks::First => Err(format!(
            "'{name}' is never found with NEXIS_PICTURE_CHECKS=off"
        )),
        _ => Ok(kind),
    }
}

/// Settings above what a report or a plan can hold.
fn beyond_budget(settings: &Settings) -> Vec<String> {
    let limits = &settings.limits;
    [
        (
            "NEXIS_MAX_DATASET_ROWS",
            limits.dataset_rows,
            budget::MAX_ROWS,
        ),
        (
            "NEXIS_MAX_TEXT_BYTES",
            limits.text_bytes,
            budget::MAX_TEXT_BYTES,
        ),
        (
            "NEXIS_MAX_ROW_TEXT_BYTES",
            limits.row_text_bytes,
            budget::MAX_ROW_TEXT_BYTES,
        ),
        (
            "NEXIS_MAX_FAILURE_BYTES",
            limits.failure_bytes,
            budget::MAX_FAILURE_BYTES,
        ),
    ]
    .into_iter()
    .filter(|(_, given, most)| given > most)
    .map(|(name, given, most)| {
        format!("{name}: {given} is too large, at most {most} can be stored")
    })
    .collect()
}

/// The rules that go into every job.
pub fn rules(settings: &Settings) -> Result<JobRules, WrongSetting> {
    let mut problems = Vec::new();
    let mut reject_advisories = Vec::new();
    let pictures = pictures(settings);
    for name in &settings.validator.reject_advisories {
        match rejecting(name, pictures) {
            Ok(kind) => reject_advisories.push(kind),
            Err(problem) => problems.push(format!("NEXIS_REJECT_ADVISORIES: {problem}")),
        }
    }
    problems.extend(beyond_budget(settings));
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
        pictures,
        sampling: match settings.validator.sampling {
            config::Sampling::Protocol => Sampling::Protocol,
            config::Sampling::Full => Sampling::Full,
        },
        fetch_budget_ms: u64::try_from(settings.limits.fetch_budget.as_millis())
            .unwrap_or(u64::MAX),
        max_dataset_bytes: settings.limits.dataset_bytes,
        max_asset_bytes: settings.limits.clip_bytes,
        max_dataset_rows: settings.limits.dataset_rows,
        max_text_bytes: settings.limits.text_bytes,
        max_row_text_bytes: settings.limits.row_text_bytes,
        max_frame_bytes: settings.limits.frame_bytes,
        max_failure_bytes: settings.limits.failure_bytes,
        decode_memory_bytes: settings.limits.decode_memory_bytes,
        min_bytes_per_second: settings.limits.min_bytes_per_second,
    })
}

#[cfg(test)]
mod tests {
    use super::rejecting;
    use nexis_protocol::clip::AdvisoryKind;
    use nexis_protocol::picture::PictureChecks::{All, First, Off};

    #[test]
    fn a_name_is_taken_when_what_is_looked_at_can_find_it() {
        for (name, pictures, taken) in [
            ("audio_differs", Off, true),
            ("first_frame_differs", Off, false),
            ("first_frame_differs", First, true),
            ("near_duplicate", First, false),
            ("near_duplicate", All, true),
            ("black_pictures", First, false),
            ("black_pictures", All, true),
        ] {
            let kind = AdvisoryKind::by_name(name);
            assert_eq!(
                rejecting(name, pictures).ok(),
                kind.filter(|_| taken),
                "{name}"
            );
        }
    }

    #[test]
    fn a_wrong_name_is_refused_with_the_nearest_and_the_copied_are_never_rejected() {
        let refused = rejecting("frozen_picture", All).unwrap_err();
        assert!(
            refused.contains("did you mean 'frozen_pictures'?"),
            "{refused}"
        );
        let refused = rejecting("colour", All).unwrap_err();
        assert!(
            !refused.contains("did you mean") && refused.contains("black_pictures"),
            "{refused}"
        );
        let refused = rejecting("has_near_duplicate", All).unwrap_err();
        assert!(refused.contains("near_duplicate"), "{refused}");
    }
}
