//! Every setting there is: its name in the environment, its key in the TOML file, its form, default and meaning.
//! Names that the subnet's documentation uses keep their spelling; new ones are `NEXIS_<SECTION>_<FIELD>` or shorter.

/// Form of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// `true` or `false` (also 1/0, yes/no, on/off).
    Switch,
    /// A whole number between both ends, inclusive.
    Whole {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// A duration with a unit: `30s`, `1m30s`.
    Duration,
    /// Seconds as a plain number, or a duration with a unit.
    Seconds,
    /// A size: `64MiB`, or plain bytes.
    Bytes,
    /// A path; a leading `~/` is the home directory.
    Path,
    /// Texts separated by commas (in TOML also a list).
    List,
    /// An http or https address.
    Url,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A text that is never shown; `<NAME>_FILE` names a file that holds it.
    Secret,
}

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Name in the environment and in `.env`.
    pub name: &'static str,
    /// Other names of the same setting.
    pub aliases: &'static [&'static str],
    /// Key in the TOML file, `section.field`.
    pub key: &'static str,
    /// Form of the value.
    pub kind: Kind,
    /// Default as one would write it; empty: not set.
    pub default: &'static str,
    /// One sentence.
    pub help: &'static str,
}

impl Entry {
    const fn also(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }
}

const fn entry(
    name: &'static str,
    key: &'static str,
    kind: Kind,
    default: &'static str,
    help: &'static str,
) -> Entry {
    Entry {
        name,
        aliases: &[],
        key,
        kind,
        default,
        help,
    }
}

/// Prefix of overrides of single profile fields: `NEXIS_PROFILE_<FIELD>`.
pub const PROFILE_PREFIX: &str = "NEXIS_PROFILE_";

const ANY: Kind = Kind::Whole {
    min: 0,
    max: u64::MAX,
};
const POSITIVE: Kind = Kind::Whole {
    min: 1,
    max: 1_000_000,
};

/// The table.
#[rustfmt::skip] // one setting per line reads as the table that it is
pub const TABLE: &[Entry] = &[
    entry("NEXIS_NETUID", "chain.netuid", Kind::Whole { min: 0, max: 65_535 }, "70", "Number of the subnet."),
    entry("BT_NETWORK", "chain.network", Kind::Text, "finney", "finney, test, local, or ws/wss addresses in order of preference, separated by commas."),
    entry("NEXIS_BLOCK_POLL_SEC", "chain.block_poll", Kind::Seconds, "6", "How often to look for new blocks when the node does not announce them."),
    entry("NEXIS_CHAIN_GENESIS", "chain.genesis", Kind::Text, "", "Genesis hash to insist on, when the network is not finney."),
    entry("NEXIS_CHAIN_TIMEOUT", "chain.timeout", Kind::Duration, "30s", "Longest wait for one answer of the node."),
    entry("NEXIS_CHAIN_HEAD_SILENCE", "chain.head_silence", Kind::Duration, "1m", "No new final block for this long: another endpoint is taken, when there is one."),

    entry("BT_WALLET_NAME", "wallet.name", Kind::Text, "default", "Name of the wallet (the coldkey's folder)."),
    entry("BT_WALLET_HOTKEY", "wallet.hotkey", Kind::Text, "default", "Name of the hotkey file in the wallet."),
    entry("BT_WALLET_PATH", "wallet.path", Kind::Path, "~/.bittensor/wallets", "Folder that holds wallets."),
    entry("NEXIS_WALLET_PASSWORD", "wallet.password", Kind::Secret, "", "Password of the hotkey file, when it is encrypted."),

    entry("NEXIS_R2_ENDPOINT", "store.endpoint", Kind::Url, "https://{account_id}.r2.cloudflarestorage.com", "Address of the object store; {account_id} stands for the bucket owner's account."),
    entry("R2_ACCOUNT_ID", "store.account_id", Kind::Text, "", "Account id of our own buckets, 32 hex digits."),
    entry("R2_REGION", "store.region", Kind::Text, "auto", "Region that requests are signed for."),
    entry("R2_BUCKET", "store.bucket", Kind::Text, "", "Our own bucket, when it is not the hotkey in lower case."),
    entry("R2_READ_ACCESS_KEY", "store.read_access_key", Kind::Secret, "", "Read access key of our own bucket."),
    entry("R2_READ_SECRET_KEY", "store.read_secret_key", Kind::Secret, "", "Read secret key of our own bucket."),
    entry("R2_WRITE_ACCESS_KEY", "store.write_access_key", Kind::Secret, "", "Write access key of our own bucket."),
    entry("R2_WRITE_SECRET_KEY", "store.write_secret_key", Kind::Secret, "", "Write secret key of our own bucket."),

    entry("NEXIS_RECORD_INFO_BUCKET", "record_info.bucket", Kind::Text, "nexis-record-info", "Bucket of the global overlap index."),
    entry("NEXIS_RECORD_INFO_OBJECT_KEY", "record_info.object_key", Kind::Text, "record_info.json", "Key of the index in that bucket."),
    entry("NEXIS_RECORD_INFO_MAX_BYTES", "record_info.max_bytes", Kind::Bytes, "256MiB", "Largest index that is read. A larger one is an alert: no interval is opened until this is raised."),
    entry("NEXIS_RECORD_INFO_BUDGET", "record_info.budget", Kind::Duration, "5m", "Time for reading the index once."),
    entry("NEXIS_RECORD_INFO_ACCOUNT_ID", "record_info.account_id", Kind::Text, "", "Account id of that bucket; without it and the read keys no index is used."),
    entry("NEXIS_RECORD_INFO_READ_ACCESS_KEY", "record_info.read_access_key", Kind::Secret, "", "Read access key of the index."),
    entry("NEXIS_RECORD_INFO_READ_SECRET_KEY", "record_info.read_secret_key", Kind::Secret, "", "Read secret key of the index."),
    entry("NEXIS_RECORD_INFO_WRITE_ACCESS_KEY", "record_info.write_access_key", Kind::Secret, "", "Write access key of the index (owner validator)."),
    entry("NEXIS_RECORD_INFO_WRITE_SECRET_KEY", "record_info.write_secret_key", Kind::Secret, "", "Write secret key of the index (owner validator)."),

    entry("NEXIS_OWNER_VALIDATOR_HOTKEY", "owner.hotkey", Kind::Text, "", "Hotkey of the owner validator; when it is ours we publish accepted packages.").also(&["NEXIS_OWNER_HOTKEY"]),
    entry("NEXIS_OWNER_DB_BUCKET", "owner.bucket", Kind::Text, "nexis-dataset", "Bucket of the owner's data set."),
    entry("NEXIS_OWNER_DB_ACCOUNT_ID", "owner.account_id", Kind::Text, "", "Account id of that bucket."),
    entry("NEXIS_OWNER_DB_READ_ACCESS_KEY", "owner.read_access_key", Kind::Secret, "", "Read access key of that bucket."),
    entry("NEXIS_OWNER_DB_READ_SECRET_KEY", "owner.read_secret_key", Kind::Secret, "", "Read secret key of that bucket."),
    entry("NEXIS_OWNER_DB_WRITE_ACCESS_KEY", "owner.write_access_key", Kind::Secret, "", "Write access key of that bucket."),
    entry("NEXIS_OWNER_DB_WRITE_SECRET_KEY", "owner.write_secret_key", Kind::Secret, "", "Write secret key of that bucket."),

    entry("NEXIS_PROFILE", "profile.name", Kind::Choice(&["readme", "2026-04-13"]), "readme", "Which set of protocol numbers; single ones by NEXIS_PROFILE_<FIELD>."),

    entry("NEXIS_WORKDIR", "validator.workdir", Kind::Path, ".nexis", "Folder for the journal, evidence and scratch files."),
    entry("NEXIS_VALIDATOR_ENABLED_SPECS", "validator.specs", Kind::List, "video_v1", "Data set specs that are judged here."),
    entry("NEXIS_DATASET_CATEGORY", "validator.category", Kind::Text, "nature_landscape_scenery", "Category that manifests must name; `none` expects none."),
    entry("NEXIS_SAMPLING", "validator.sampling", Kind::Choice(&["protocol", "full"]), "protocol", "Sample as the protocol says, or check every row of every miner."),
    entry("NEXIS_EXCLUDE_HOTKEYS", "validator.exclude_hotkeys", Kind::List, "", "Hotkeys that are never judged and get no weight."),
    entry("NEXIS_WEIGHTS_MIN_WINDOW_PERCENT", "validator.weights_min_window", Kind::Whole { min: 1, max: 100 }, "50", "Share of an epoch's intervals that must be decided before its weights are sent, percent; below it the weights on the chain stay, and an alert says so."),
    entry("NEXIS_ARCHIVE_RETENTION_DAYS", "validator.archive_retention_days", Kind::Whole { min: 0, max: 36_500 }, "0", "Decided rounds and closed submissions are removed from the archive after this many days of 7,200 blocks; 0: never. What a window still needs stays."),
    entry("NEXIS_VALIDATOR_PERMITS", "validator.permits", Kind::Whole { min: 1, max: 1024 }, "4", "Jobs of each kind that compute at one time."),
    entry("NEXIS_FETCH_PERMITS", "validator.fetches", Kind::Whole { min: 1, max: 10_000 }, "64", "Jobs of each kind in flight at one time, most of which wait for bytes; also the prefetch."),
    entry("NEXIS_DECODERS", "validator.decoders", Kind::Whole { min: 0, max: 1024 }, "0", "Processes that read clips, and so the cores that clips can take; 0: as many as this machine has cores."),
    entry("NEXIS_REJECT_ADVISORIES", "validator.reject_advisories", Kind::List, "", "Advisories that count as failures here, by name: verdicts then differ from other validators'."),
    entry("NEXIS_PICTURE_CHECKS", "validator.picture_checks", Kind::Choice(&["first", "all", "off"]), "first", "Pictures looked at for advisories: first (one key frame per clip; all where a model check decodes them anyway), all, or off."),

    entry("NEXIS_MAX_DATASET_BYTES", "limits.dataset_bytes", Kind::Bytes, "256MiB", "Largest data set file."),
    entry("NEXIS_MAX_DATASET_ROWS", "limits.dataset_rows", POSITIVE, "200000", "Most rows of a data set."),
    entry("NEXIS_MAX_TEXT_BYTES", "limits.text_bytes", Kind::Bytes, "128MiB", "Most text in all cells of a data set; at most 128MiB."),
    entry("NEXIS_MAX_ROW_TEXT_BYTES", "limits.row_text_bytes", Kind::Bytes, "256KiB", "Most text in all cells of one row; at most 256KiB."),
    entry("NEXIS_MAX_FAILURE_BYTES", "limits.failure_bytes", Kind::Bytes, "8MiB", "Most failure text that one decision keeps (at most 64MiB; all miners of a round share 256MiB); a note counts the others."),
    entry("NEXIS_DECODE_MEMORY_BYTES", "limits.decode_memory_bytes", Kind::Bytes, "1GiB", "Memory that reading one data set may take."),
    entry("NEXIS_MAX_CLIP_BYTES", "limits.clip_bytes", Kind::Bytes, "64MiB", "Largest clip."),
    entry("NEXIS_MAX_FRAME_BYTES", "limits.frame_bytes", Kind::Bytes, "16MiB", "Largest first-frame picture."),
    entry("NEXIS_FETCH_BUDGET", "limits.fetch_budget", Kind::Duration, "2m", "Time for one object, all attempts together."),
    entry("NEXIS_MIN_BYTES_PER_SECOND", "limits.min_bytes_per_second", Kind::Bytes, "16KiB", "Slowest transfer, per second, that is waited for once it had time to start."),
    entry("NEXIS_JOB_DEADLINE", "limits.job_deadline", Kind::Duration, "10m", "Longest time one job may take before it is handed back."),
    entry("NEXIS_SCRATCH_BYTES", "limits.scratch_bytes", Kind::Bytes, "", "Bytes of clips, pictures and data sets held in memory at one time, all jobs together (none are on disk); not set: a quarter of this machine's memory."),

    entry("OPENAI_API_KEY", "vision.openai_api_key", Kind::Secret, "", "Key of OpenAI; without any key no vision check runs."),
    entry("GEMINI_API_KEY", "vision.gemini_api_key", Kind::Secret, "", "Key of Gemini; used when there is no OpenAI key."),
    entry("NEXIS_VISION_BASE_URL", "vision.base_url", Kind::Url, "", "Any OpenAI-compatible address (vLLM, Ollama, ...); replaces the provider's."),
    entry("NEXIS_VISION_CONCURRENCY", "vision.concurrency", Kind::Whole { min: 1, max: 256 }, "4", "Calls of the vision model at one time."),
    entry("NEXIS_VISION_CAPTION_GATE", "vision.caption_gate", Kind::Switch, "false", "Also judge the category by the caption alone, before looking at frames."),
    entry("NEXIS_VALIDATOR_SEMANTIC_CHECK_ENABLED", "vision.semantic.enabled", Kind::Switch, "true", "Check captions against frames."),
    entry("NEXIS_VALIDATOR_SEMANTIC_MODEL", "vision.semantic.model", Kind::Text, "", "Model of the caption check; not set: the provider's default."),
    entry("NEXIS_VALIDATOR_SEMANTIC_TIMEOUT_SEC", "vision.semantic.timeout", Kind::Seconds, "20", "Longest wait for one answer."),
    entry("NEXIS_VALIDATOR_SEMANTIC_MAX_SAMPLES", "vision.semantic.max_samples", Kind::Whole { min: 0, max: 1000 }, "8", "Most rows per miner and interval."),
    entry("NEXIS_VALIDATOR_CATEGORY_CHECK_ENABLED", "vision.category.enabled", Kind::Switch, "true", "Check that frames show the category."),
    entry("NEXIS_VALIDATOR_CATEGORY_MODEL", "vision.category.model", Kind::Text, "", "Model of the category check; not set: the provider's default."),
    entry("NEXIS_VALIDATOR_CATEGORY_TIMEOUT_SEC", "vision.category.timeout", Kind::Seconds, "20", "Longest wait for one answer."),
    entry("NEXIS_VALIDATOR_CATEGORY_MAX_SAMPLES", "vision.category.max_samples", Kind::Whole { min: 0, max: 1000 }, "8", "Most rows per miner and interval."),

    entry("NEXIS_VALIDATION_API_URL", "evidence.url", Kind::Url, "", "Address of the evidence API; without it only this validator's own decisions count.").also(&["NEXIS_EVIDENCE_API_URL"]),
    entry("NEXIS_VALIDATION_API_TIMEOUT_SEC", "evidence.timeout", Kind::Seconds, "120", "Longest wait for an answer when posting decisions."),
    entry("NEXIS_LATEST_RESULT_TIMEOUT_SEC", "evidence.latest_timeout", Kind::Seconds, "120", "Longest wait for all validators' latest decisions."),

    entry("NEXIS_VALIDATION_API_LISTEN", "api.listen", Kind::Text, "0.0.0.0:8000", "Where our own evidence API listens."),
    entry("NEXIS_VALIDATION_API_ALLOWLIST_REFRESH_SEC", "api.allowlist_refresh", Kind::Seconds, "300", "How often it reads the stakes."),
    entry("NEXIS_VALIDATION_API_MIN_VALIDATOR_STAKE", "api.min_stake", ANY, "5000", "Smallest stake of a hotkey that may post, whole alpha."),
    entry("NEXIS_VALIDATION_API_AUTH_MAX_SKEW_SEC", "api.max_skew", Kind::Seconds, "300", "Largest age of a signed request."),
    entry("NEXIS_VALIDATION_API_NONCE_MAX_AGE_SEC", "api.nonce_age", Kind::Seconds, "86400", "How long a nonce stays used."),

    entry("NEXIS_AMQP_URL", "fleet.amqp_url", Kind::Secret, "", "Address of the broker, amqp://user:password@host/vhost, or amqps:// for TLS."),
    entry("NEXIS_AMQP_CA_FILE", "fleet.amqp_ca_file", Kind::Path, "", "Certificates (PEM) of the authorities that may sign the broker's; not set: the system's."),
    entry("NEXIS_AMQP_CERT_FILE", "fleet.amqp_cert_file", Kind::Path, "", "Our certificate (PEM), when the broker wants one."),
    entry("NEXIS_AMQP_KEY_FILE", "fleet.amqp_key_file", Kind::Path, "", "Its private key (PEM)."),
    entry("NEXIS_AMQP_SERVER_NAME", "fleet.amqp_server_name", Kind::Text, "", "Name that the broker's certificate must have, when it is not the host of the address."),
    entry("NEXIS_REDIS_URL", "fleet.redis_url", Kind::Secret, "", "Address of the board, redis://user:password@host, or rediss:// for TLS; of a Redis Cluster any node's, or several separated by commas."),
    entry("NEXIS_REDIS_CA_FILE", "fleet.redis_ca_file", Kind::Path, "", "Certificates (PEM) of the authorities that may sign the board's; not set: the system's."),
    entry("NEXIS_REDIS_CERT_FILE", "fleet.redis_cert_file", Kind::Path, "", "Our certificate (PEM), when the board wants one."),
    entry("NEXIS_REDIS_KEY_FILE", "fleet.redis_key_file", Kind::Path, "", "Its private key (PEM)."),
    entry("NEXIS_REDIS_SERVER_NAME", "fleet.redis_server_name", Kind::Text, "", "Name that the board's certificate must have, when it is not the host of the address; not for a Redis Cluster."),
    entry("NEXIS_LEASE_TTL", "fleet.lease_ttl", Kind::Duration, "10s", "How long a leader stays leader without a sign of life."),
    entry("NEXIS_DRAIN_GRACE", "fleet.drain_grace", Kind::Duration, "30s", "After a stop signal: time to finish or hand back what is held."),
    entry("NEXIS_CONSUMER_TIMEOUT", "fleet.consumer_timeout", Kind::Duration, "30m", "The broker's consumer timeout (its own setting, told to us)."),
    entry("NEXIS_DELIVERY_LIMIT", "fleet.delivery_limit", Kind::Whole { min: 1, max: 1000 }, "5", "Deliveries of one job before it goes to the dead-letter queue."),
    entry("NEXIS_HEALTH_LISTEN", "fleet.health_listen", Kind::Text, "", "Where the health and metrics page listens, as host:port; not set: nowhere."),

    entry("NEXIS_LOG_LEVEL", "log.level", Kind::Text, "info", "error, warn, info, debug or trace (any case), or a tracing filter."),
    entry("NEXIS_LOG_FORMAT", "log.format", Kind::Choice(&["plain", "json"]), "plain", "Form of log lines."),

    entry("NEXIS_SOURCES_FILE", "miner.sources_file", Kind::Path, "sources.txt", "The miner's list of source videos."),
    entry("NEXIS_DATASET_SPEC_DEFAULT", "miner.spec", Kind::Text, "video_v1", "Spec of the packages that the miner makes."),
    entry("NEXIS_MINER_ENABLED_SPECS", "miner.specs", Kind::List, "video_v1", "Specs that the miner makes packages of."),
    entry("NEXIS_CAPTION_MODEL", "miner.caption_model", Kind::Text, "gpt-4o", "Model that writes the miner's captions."),
    entry("NEXIS_CAPTION_TIMEOUT_SEC", "miner.caption_timeout", Kind::Seconds, "30", "Longest wait for one caption."),
];

/// Names that the subnet's other programs read and that mean nothing here: said, not refused, so that one `.env`
/// serves both.
pub const RETIRED: &[(&str, &str)] = &[
    (
        "NEXIS_VALIDATOR_BLACKLIST_FILE",
        "not read here; use NEXIS_EXCLUDE_HOTKEYS",
    ),
    (
        "NEXIS_VALIDATOR_SOURCE_AUTH_ENABLED",
        "not read here; `nexis validate-source-auth` is its own command",
    ),
    (
        "NEXIS_VALIDATION_API_POSTGRES_DSN",
        "not read here; the evidence API keeps its own store",
    ),
];

/// The setting of this name (or alias).
pub fn by_name(name: &str) -> Option<&'static Entry> {
    TABLE
        .iter()
        .find(|entry| entry.name == name || entry.aliases.contains(&name))
}

/// The setting of this TOML key.
pub fn by_key(key: &str) -> Option<&'static Entry> {
    TABLE.iter().find(|entry| entry.key == key)
}

/// Name and aliases of every setting.
pub fn names() -> impl Iterator<Item = &'static str> {
    TABLE
        .iter()
        .flat_map(|entry| std::iter::once(entry.name).chain(entry.aliases.iter().copied()))
}
