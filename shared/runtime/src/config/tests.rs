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
        "settings: NEXIS_AMQP_URL: is needed and not set: Address of the broker, amqp://user:password@host/vhost, or amqps:// for TLS.",
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

#[test]
fn variables_that_kubernetes_adds_for_a_service_are_no_settings_and_typos_still_are() {
    let links = Sources::empty()
        .with_env("NEXIS_SCHEDULER_SERVICE_HOST", "10.96.0.7")
        .with_env("NEXIS_SCHEDULER_SERVICE_PORT", "9090")
        .with_env("NEXIS_SCHEDULER_PORT", "tcp://10.96.0.7:9090")
        .with_env("NEXIS_SCHEDULER_PORT_9090_TCP", "tcp://10.96.0.7:9090")
        .with_env("NEXIS_SCHEDULER_PORT_9090_TCP_ADDR", "10.96.0.7");
    assert_eq!(problems(&links), Vec::<String>::new());
    // In a file somebody wrote it.
    let written = Sources::empty().with_dotenv_text(".env", "NEXIS_SCHEDULER_SERVICE_PORT=9090\n");
    assert_eq!(problems(&written).len(), 1);
    let typo = problems(&links.with_env("NEXIS_SCHEDULER_PORT_OF_CALL", "tcp://10.96.0.7:9090"));
    assert_eq!(typo.len(), 1, "{typo:?}");
}

#[test]
fn what_is_set_for_tls_must_have_an_effect_and_be_complete() {
    let tls = |prefix: &str, url: &str, names: &[&str]| {
        let given = Sources::empty().with_env(&format!("{prefix}_URL"), url);
        let all = names.iter().fold(given, |sources, name| {
            sources.with_env(&format!("{prefix}_{name}"), "/a/file")
        });
        problems(&all).concat()
    };
    for (prefix, plain, encrypted) in [
        ("NEXIS_AMQP", "amqp://h", "amqps://h"),
        ("NEXIS_REDIS", "redis://h", "rediss://h"),
    ] {
        assert_eq!(
            tls(
                prefix,
                encrypted,
                &["CA_FILE", "CERT_FILE", "KEY_FILE", "SERVER_NAME"]
            ),
            ""
        );
        let useless = tls(prefix, plain, &["CA_FILE"]);
        assert!(
            useless.contains("no effect") && useless.contains(&format!("{prefix}_CA_FILE")),
            "{useless}"
        );
        for half in ["CERT_FILE", "KEY_FILE"] {
            assert!(
                tls(prefix, encrypted, &[half]).contains("need each other"),
                "{prefix}_{half}"
            );
        }
    }
    let mixed = tls("NEXIS_REDIS", "rediss://a,redis://b", &[]);
    assert!(mixed.contains("one scheme"), "{mixed}");
    let names = tls("NEXIS_REDIS", "rediss://a,rediss://b", &["SERVER_NAME"]);
    assert!(names.contains("names of their own"), "{names}");
    let settings =
        Settings::load(&Sources::empty().with_env("NEXIS_AMQP_URL", "AMQPS://u:p@h:1/%2f"));
    let address = settings.expect("valid").fleet.amqp_url.expect("set");
    assert_eq!(
        (address.scheme(), address.to_string().as_str()),
        ("amqps", "amqps://h:1")
    );
}

/// Every setting that holds an address, with its schemes, one of which is wrong.
const ADDRESSES: [(&str, &[&str]); 7] = [
    ("NEXIS_AMQP_URL", &["amqp", "amqps", "http"]),
    ("NEXIS_REDIS_URL", &["redis", "rediss", "tcp"]),
    ("BT_NETWORK", &["ws", "wss", "http"]),
    ("NEXIS_R2_ENDPOINT", &["https", "http", "s3"]),
    ("NEXIS_VISION_BASE_URL", &["https", "http", "ftp"]),
    ("NEXIS_VALIDATION_API_URL", &["https", "http", "ws"]),
    ("NEXIS_NETUID", &["amqp"]),
];

proptest::proptest! {
    /// However a password is written into an address, neither a refusal nor what is shown has a piece of it.
    #[test]
    fn no_setting_shows_a_piece_of_a_password(
        which in 0..ADDRESSES.len(), scheme in 0..3_usize, password in "[!-~]{8,20}", tail in "(/[a-z]{0,3})?", comma: bool
    ) {
        let (name, schemes) = ADDRESSES[which];
        let scheme = schemes[scheme % schemes.len()];
        let more = if comma { format!(",{scheme}://:{password}@other.example") } else { String::new() };
        let text = format!("{scheme}://operator:{password}@server.example{tail}{more}");
        let sources = Sources::empty().with_env(name, &text);
        let said = match Settings::load(&sources) {
            Err(refused) => format!("{refused} {refused:?}"),
            Ok(settings) => {
                let hidden = settings.redactor().apply(&text).into_owned();
                format!("{} {:?} {:?} {hidden}", settings.effective(), settings.fleet, settings.evidence)
            }
        };
        // What the messages say anyway is no piece of a password.
        let usual = "expected user and password with every / ? # @ : % encoded as %2F %3F %23 %40 %3A %25 (and an @ in the path as %40)";
        let letters: Vec<char> = password.chars().collect();
        for piece in letters.windows(5) {
            let piece: String = piece.iter().collect();
            proptest::prop_assert!(!said.contains(&piece) || usual.contains(&piece), "{} in {}", piece, said);
        }
    }
}
