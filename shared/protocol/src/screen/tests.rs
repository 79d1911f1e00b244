use super::*;
use crate::row::RowRef;

const HOTKEY: &str = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
const DATASET: &[u8] = b"dataset";

fn rows(count: usize) -> Rows {
    let mut rows = Rows::default();
    for _ in 0..count {
        rows.push(RowRef {
            clip_id: "a",
            clip_uri: "a.mp4",
            first_frame_uri: "a.jpg",
            source_video_id: "b",
            split_group_id: "b",
            split: "train",
            caption: "a calm lake",
            source_video_url: "https://youtu.be/b",
            clip_sha256: None,
            first_frame_sha256: None,
            clip_start_sec: 0.0,
            duration_sec: 5.0,
            width: 1280,
            height: 720,
            num_frames: 150,
            fps: 30.0,
            has_audio: false,
        })
        .unwrap();
    }
    rows
}

/// A manifest that is right but for the fields given, which replace or add.
fn manifest(changes: &[(&str, &str)]) -> Vec<u8> {
    let digest = format!("\"{}\"", Digest::of(DATASET));
    let hotkey = format!("\"{HOTKEY}\"");
    let mut fields = vec![
        ("netuid", "70"),
        ("miner_hotkey", &hotkey),
        ("interval_id", "100"),
        ("record_count", "2"),
        ("dataset_sha256", &digest),
    ];
    fields.extend(changes);
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| format!("\"{name}\":{value}"))
        .collect();
    format!("{{{}}}", fields.join(",")).into_bytes()
}

struct Setting<'a> {
    has_credentials: bool,
    enabled: &'a [&'a str],
    category: Option<&'a str>,
}

const PLAIN: Setting<'_> = Setting {
    has_credentials: true,
    enabled: &[],
    category: None,
};

fn verdict(
    setting: &Setting<'_>,
    manifest: Option<&[u8]>,
    dataset: Option<&[u8]>,
    read: Result<Rows, &str>,
) -> Result<Screened, String> {
    let enabled: Vec<String> = setting.enabled.iter().map(ToString::to_string).collect();
    let profile = Profile::default();
    let context = ScreenContext {
        hotkey: &HOTKEY.parse().unwrap(),
        interval: IntervalId::new(100),
        has_credentials: setting.has_credentials,
        enabled_specs: &enabled,
        expected_category: setting.category,
        profile: &profile,
    };
    screen(&context, manifest, dataset, |_| read).map_err(|rejection| {
        assert_eq!(rejection.reasons.len(), 1, "one code per rejection");
        assert!(!rejection.detail.is_empty());
        rejection.reasons[0].to_string()
    })
}

fn code(setting: &Setting<'_>, changes: &[(&str, &str)]) -> String {
    let manifest = manifest(changes);
    verdict(setting, Some(&manifest), Some(DATASET), Ok(rows(2)))
        .map_or_else(|code| code, |_| "fine".to_owned())
}

#[test]
fn an_honest_submission_passes_with_what_its_manifest_says() {
    let manifest = manifest(&[("category", "\" lakes \""), ("created_at", "1700000000")]);
    let screened = verdict(&PLAIN, Some(&manifest), Some(DATASET), Ok(rows(2))).unwrap();
    assert_eq!(screened.spec_id, "video_v1");
    assert_eq!(screened.category.as_deref(), Some("lakes"));
    assert_eq!(screened.created_at, Some(1.7e9));
    assert_eq!((screened.netuid, screened.record_count), (70, 2));
    assert_eq!(screened.dataset_sha256, Digest::of(DATASET));
}

#[test]
fn the_first_check_that_fails_names_the_code() {
    // Each step repairs one fault; all later ones are still there.
    let locked = Setting {
        has_credentials: false,
        enabled: &["image_v1"],
        category: Some("lakes"),
    };
    let open = Setting {
        has_credentials: true,
        ..locked
    };
    let zeros = format!("\"{}\"", "0".repeat(64));
    let other = |spec| {
        vec![
            ("interval_id", "101"),
            ("spec_id", spec),
            ("schema_version", "\"2.0.0\""),
            ("dataset_sha256", &*zeros),
            ("record_count", "3"),
        ]
    };
    assert_eq!(
        verdict(&locked, None, None, Err("broken")).unwrap_err(),
        "missing_committed_read_credentials"
    );
    for (manifest, dataset) in [(None, None), (Some(&b"{"[..]), None), (None, Some(DATASET))] {
        assert_eq!(
            verdict(&open, manifest, dataset, Err("broken")).unwrap_err(),
            "missing_submission_files"
        );
    }
    assert_eq!(
        verdict(&open, Some(b"{"), Some(DATASET), Err("broken")).unwrap_err(),
        "manifest_schema_invalid"
    );
    let mut changes = other("\"audio_v1\"");
    assert_eq!(code(&open, &changes), "manifest_identity_mismatch");
    changes.remove(0);
    assert_eq!(code(&open, &changes), "unknown_spec:audio_v1");
    changes.remove(0);
    assert_eq!(
        code(&open, &changes),
        "incompatible_spec_version:video_v1:protocol=1.0.0:schema=2.0.0"
    );
    changes.remove(0);
    assert_eq!(code(&open, &changes), "spec_not_enabled:video_v1");
    let enabled = Setting {
        enabled: &[" ", " video_v1 "],
        ..open
    };
    assert_eq!(code(&enabled, &changes), "missing_category_metadata");
    changes.push(("category", "\"cities\""));
    assert_eq!(code(&enabled, &changes), "unsupported_category:cities");
    changes.last_mut().unwrap().1 = "\"lakes\"";
    assert_eq!(code(&enabled, &changes), "dataset_sha256_mismatch");
    changes.remove(0);
    let broken = verdict(
        &enabled,
        Some(&manifest(&changes)),
        Some(DATASET),
        Err("broken"),
    );
    assert_eq!(broken.unwrap_err(), "dataset_schema_invalid");
    assert_eq!(code(&enabled, &changes), "manifest_record_count_mismatch");
    changes.remove(0);
    assert_eq!(code(&enabled, &changes), "fine");
}

#[test]
fn blank_names_enable_and_expect_nothing() {
    let blank = Setting {
        enabled: &["", "  "],
        category: Some(" "),
        ..PLAIN
    };
    assert_eq!(code(&blank, &[]), "fine");
}

#[test]
fn an_unlisted_hotkey_or_a_digest_in_capitals_is_another_one() {
    let alice = format!("\"{}\"", HOTKEY.to_lowercase());
    assert_eq!(
        code(&PLAIN, &[("miner_hotkey", &alice)]),
        "manifest_identity_mismatch"
    );
    let capitals = format!("\"{}\"", Digest::of(DATASET).to_string().to_uppercase());
    assert_eq!(
        code(&PLAIN, &[("dataset_sha256", &capitals)]),
        "dataset_sha256_mismatch"
    );
}
