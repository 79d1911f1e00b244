use super::reader::Reader;
use super::{Origin, Sampling, Settings, Sources, table};
use std::time::Duration;

fn problems(sources: &Sources) -> Vec<String> {
    match Settings::load(sources) {
        Ok(_) => Vec::new(),
        Err(error) => error.problems().iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn defaults_alone_are_a_valid_start() {
    let settings = Settings::load(&Sources::empty()).expect("defaults");
    assert_eq!(settings.chain.netuid, 70);
    assert_eq!(settings.chain.block_poll, Duration::from_secs(6));
    assert_eq!(settings.validator.specs, ["video_v1"]);
    assert_eq!(settings.validator.sampling, Sampling::Protocol);
    assert_eq!(settings.limits.clip_bytes, 64 << 20);
    assert!(settings.store.read.is_none() && settings.evidence.url.is_none());
}

#[test]
fn every_row_of_the_table_is_read_into_a_field_and_no_name_is_taken_twice() {
    let mut reader = Reader::new(Sources::empty().collect(), None);
    let _built = Settings::build(&mut reader);
    let rows: std::collections::BTreeSet<&str> =
        table::TABLE.iter().map(|entry| entry.name).collect();
    assert_eq!(reader.asked, rows);
    let mut names: Vec<&str> = table::names().collect();
    names.extend(table::RETIRED.iter().map(|(name, _)| *name));
    names.extend(table::TABLE.iter().map(|entry| entry.key));
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
}

#[test]
fn later_sources_win_and_say_where_they_are() {
    let file = "[chain]\nnetuid = 1\nnetwork = \"test\"\nblock_poll = 1.5\n[wallet]\nname = \"file\"\nhotkey = 'f'\n";
    let sources = Sources::empty()
        .with_file_text("n.toml", file)
        .with_dotenv_text(".env", "NEXIS_NETUID=2\nBT_WALLET_NAME=dot\n")
        .with_env("NEXIS_NETUID", "3")
        .with_flag("--netuid", "NEXIS_NETUID", Some("4".into()))
        .with_flag("--specs", "NEXIS_VALIDATOR_ENABLED_SPECS", None);
    let settings = Settings::load(&sources).expect("valid");
    assert_eq!(settings.chain.netuid, 4);
    assert_eq!(settings.chain.network, "test");
    assert_eq!(settings.chain.block_poll, Duration::from_millis(1500));
    assert_eq!(
        (
            settings.wallet.name.as_str(),
            settings.wallet.hotkey.as_str()
        ),
        ("dot", "f")
    );
    let effective = settings.effective();
    for line in [
        "NEXIS_NETUID = 4  # --netuid",
        "BT_NETWORK = test  # n.toml:3",
        "BT_WALLET_NAME = dot  # .env:2",
        "NEXIS_SAMPLING = protocol  # default",
    ] {
        assert!(effective.contains(line), "{line} not in\n{effective}");
    }
}

#[test]
fn all_problems_come_together_each_with_its_place_and_the_nearest_name() {
    let sources = Sources::empty()
        .with_file_text(
            "n.toml",
            "[chain]\nnetwrok = 'test'\n[limits]\nclip_bytes = '64 miles'\n",
        )
        .with_dotenv_text(".env", "# c\nNEXIS_WORKDRI=x\nbroken\n")
        .with_env("NEXIS_NETUID", "70000")
        .with_env("BT_WALET_NAME", "a")
        .with_env("BT_SOMETHING_ELSE", "belongs to another program")
        .with_env("NEXIS_BANANA_SPLIT", "1")
        .with_flag("--sampling", "NEXIS_SAMPLING", Some("some".into()))
        .needing("NEXIS_AMQP_URL");
    let found = problems(&sources);
    let expected = [
        "n.toml:2: chain.netwrok: no such setting; did you mean chain.network?",
        ".env:2: NEXIS_WORKDRI: no such setting; did you mean NEXIS_WORKDIR?",
        ".env:3: line: not of the form NAME=value",
        "environment: BT_WALET_NAME: no such setting; did you mean BT_WALLET_NAME?",
        "environment: NEXIS_BANANA_SPLIT: no such setting; `nexis config` lists all",
        "settings: NEXIS_AMQP_URL: is needed and not set: Address of the broker, amqp://user:password@host/vhost.",
        "environment: NEXIS_NETUID: cannot read \"70000\"; expected a whole number from 0 to 65535",
        "--sampling: NEXIS_SAMPLING: cannot read \"some\"; expected one of protocol, full",
        "n.toml:4: limits.clip_bytes: cannot read \"64 miles\"; expected a size above zero such as 64MiB",
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_broken_file_and_a_missing_file_are_problems_like_others() {
    let broken = Sources::empty()
        .with_file_text("n.toml", "[chain]\nnetuid = = 1\n")
        .with_env("NEXIS_NETUD", "1");
    let found = problems(&broken);
    assert!(
        found.iter().any(|p| p.starts_with("n.toml:2: TOML: ")),
        "{found:?}"
    );
    assert!(found.iter().any(|p| p.contains("NEXIS_NETUD")), "{found:?}");
    let missing = Sources::empty().with_file("/no/such/nexis.toml".into());
    assert_eq!(problems(&missing).len(), 1);
}

#[test]
fn empty_values_are_not_set() {
    let sources = Sources::empty()
        .with_env("R2_ACCOUNT_ID", "")
        .with_env("BT_NETWORK", " ");
    let settings = Settings::load(&sources).expect("valid");
    assert_eq!(
        (settings.store.account_id, settings.chain.network.as_str()),
        (None, "finney")
    );
}

#[test]
fn an_alias_works_but_not_beside_its_other_name() {
    let one = Sources::empty().with_env("NEXIS_EVIDENCE_API_URL", "https://e.example/v1");
    let settings = Settings::load(&one).expect("valid");
    assert_eq!(
        settings.evidence.url.as_deref(),
        Some("https://e.example/v1")
    );
    let found = problems(&one.with_env("NEXIS_VALIDATION_API_URL", "https://f.example"));
    assert_eq!(found.len(), 1);
    assert!(
        found
            .first()
            .expect("one")
            .contains("set here as NEXIS_EVIDENCE_API_URL too")
    );
}

#[test]
fn secrets_come_from_files_and_are_never_printed() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("key");
    std::fs::write(&path, "sk-hidden\n").expect("written");
    let path = path.to_str().expect("UTF-8");
    let sources = Sources::empty()
        .with_env("OPENAI_API_KEY_FILE", path)
        .with_env("NEXIS_AMQP_URL", "amqp://u:pw-hidden@h/")
        .with_env(
            "BT_NETWORK",
            "wss://user:tok-hidden@node.example/tok-hidden?k=tok-hidden",
        );
    let settings = Settings::load(&sources).expect("valid");
    assert_eq!(
        settings
            .vision
            .openai_api_key
            .as_ref()
            .expect("set")
            .expose(),
        "sk-hidden"
    );
    let printed = settings.effective() + &format!("{:?} {:?}", settings.vision, settings.fleet);
    assert!(
        !printed.contains("hidden@") && !printed.contains("-hidden"),
        "{printed}"
    );
    assert!(printed.contains("BT_NETWORK = wss://node.example/…"));

    let both = sources.with_env("OPENAI_API_KEY", "sk-hidden-2");
    let found = problems(&both);
    assert!(
        found.len() == 1 && !found.concat().contains("sk-"),
        "{found:?}"
    );
    let gone = Sources::empty().with_env("GEMINI_API_KEY_FILE", "/no/such/key");
    assert!(problems(&gone).concat().contains("/no/such/key"));
    let wrong = Sources::empty().with_env("NEXIS_AMQP_URL", "http://u:pw-hidden@h/");
    let found = problems(&wrong).concat();
    assert!(
        found.contains("amqp://") && !found.contains("pw-hidden"),
        "{found}"
    );
}

#[test]
fn only_secrets_may_come_from_files() {
    let sources = Sources::empty().with_env("NEXIS_NETUID_FILE", "/etc/hostname");
    assert!(problems(&sources).concat().contains("no such setting"));
}

#[test]
fn profile_fields_are_taken_by_name_and_checked() {
    let sources = Sources::empty()
        .with_profile_fields(&["interval_length_blocks", "reserve_blocks"])
        .with_file_text(
            "n.toml",
            "[profile]\nname = '2026-04-13'\nreserve_blocks = 1\n",
        )
        .with_env("NEXIS_PROFILE_INTERVAL_LENGTH_BLOCKS", "10");
    let settings = Settings::load(&sources).expect("valid");
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(
        settings.profile.overrides,
        [
            pair("interval_length_blocks", "10"),
            pair("reserve_blocks", "1")
        ]
    );
    assert_eq!(settings.profile.name, "2026-04-13");
    let typo = problems(&sources.with_env("NEXIS_PROFILE_RESERVE_BLOCK", "1"));
    assert!(
        typo.concat()
            .contains("did you mean NEXIS_PROFILE_RESERVE_BLOCKS?"),
        "{typo:?}"
    );
}

#[test]
fn names_of_other_programs_are_mentioned_not_refused() {
    let sources = Sources::empty().with_env("NEXIS_VALIDATOR_BLACKLIST_FILE", "b.txt");
    let settings = Settings::load(&sources).expect("valid");
    let notice = settings.notices.first().expect("one");
    assert_eq!(notice.origin, Origin::Environment);
    assert!(notice.message.contains("NEXIS_EXCLUDE_HOTKEYS"));
}

#[test]
fn rules_of_single_values_hold() {
    for (name, value) in [
        ("R2_ACCOUNT_ID", "xyz"),
        ("NEXIS_CHAIN_GENESIS", "0x12"),
        ("NEXIS_EXCLUDE_HOTKEYS", "5abc"),
        ("NEXIS_HEALTH_LISTEN", "nowhere"),
        ("NEXIS_LOG_LEVEL", "loud=="),
        ("NEXIS_LEASE_TTL", "1m"),
        ("NEXIS_LEASE_TTL", "10ms"),
        ("NEXIS_R2_ENDPOINT", "ftp://x"),
        ("NEXIS_REDIS_URL", "localhost"),
        ("NEXIS_BLOCK_POLL_SEC", "0"),
        ("NEXIS_VALIDATOR_PERMITS", "0"),
        ("NEXIS_VALIDATOR_ENABLED_SPECS", ","),
        ("R2_READ_ACCESS_KEY", "half-a-pair"),
        ("NEXIS_SAMPLING", "both"),
        ("NEXIS_VISION_CAPTION_GATE", "maybe"),
    ] {
        let found = problems(&Sources::empty().with_env(name, value));
        assert_eq!(found.len(), 1, "{name}={value}: {found:?}");
        assert!(found.concat().contains(name));
    }
}

#[test]
fn rules_between_values_hold() {
    for (name, value) in [
        ("NEXIS_JOB_DEADLINE", "30m"),
        ("NEXIS_FETCH_BUDGET", "10m"),
        ("NEXIS_SCRATCH_BYTES", "1MiB"),
        ("NEXIS_FETCH_PERMITS", "3"),
    ] {
        let found = problems(&Sources::empty().with_env(name, value));
        assert_eq!(found.len(), 1, "{name}={value}: {found:?}");
        assert!(found.concat().contains(name));
    }
}

#[test]
fn home_is_taken_from_the_environment() {
    let settings = Settings::load(&Sources::empty().with_env("HOME", "/home/v")).expect("valid");
    assert_eq!(
        settings.wallet.path.to_str(),
        Some("/home/v/.bittensor/wallets")
    );
}
