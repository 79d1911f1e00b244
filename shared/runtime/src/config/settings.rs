//! The typed settings, by section. Which program reads which section is its own affair.

use super::reader::Reader;
use super::render::{Shown, hidden, shown};
use super::{ConfigError, Notice, Sources, rules};
use crate::tls::TlsOptions;
use crate::{Address, Redactor, Secret, machine};
use std::path::PathBuf;
use std::time::Duration;

/// Schemes of the broker's address.
pub const AMQP_SCHEMES: [&str; 2] = ["amqp", "amqps"];
/// Schemes of the board's addresses.
pub const REDIS_SCHEMES: [&str; 2] = ["redis", "rediss"];

/// Everything an operator can set.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// `[chain]`
    pub chain: ChainSettings,
    /// `[wallet]`
    pub wallet: WalletSettings,
    /// `[store]`
    pub store: StoreSettings,
    /// `[record_info]`
    pub record_info: RecordInfoSettings,
    /// `[owner]`
    pub owner: OwnerSettings,
    /// `[profile]`
    pub profile: ProfileSettings,
    /// `[validator]`
    pub validator: ValidatorSettings,
    /// `[limits]`
    pub limits: LimitSettings,
    /// `[vision]`
    pub vision: VisionSettings,
    /// `[evidence]`
    pub evidence: EvidenceSettings,
    /// `[api]`
    pub api: ApiSettings,
    /// `[fleet]`
    pub fleet: FleetSettings,
    /// `[log]`
    pub log: LogSettings,
    /// `[miner]`
    pub miner: MinerSettings,
    /// What the operator should know; to be logged once.
    pub notices: Vec<Notice>,
    pub(super) shown: Vec<Shown>,
    pub(super) redactor: Redactor,
}

/// Which chain, and how to listen to it.
#[derive(Debug, Clone)]
pub struct ChainSettings {
    /// Number of the subnet.
    pub netuid: u16,
    /// finney, test, local, or addresses separated by commas.
    pub network: String,
    /// How often to look for blocks when none are announced.
    pub block_poll: Duration,
    /// Genesis hash to insist on.
    pub genesis: Option<String>,
    /// Longest wait for one answer.
    pub timeout: Duration,
    /// Silence after which another endpoint is taken.
    pub head_silence: Duration,
}

/// Which key signs.
#[derive(Debug, Clone)]
pub struct WalletSettings {
    /// Name of the wallet.
    pub name: String,
    /// Name of the hotkey.
    pub hotkey: String,
    /// Folder of wallets.
    pub path: PathBuf,
    /// Password of an encrypted hotkey file.
    pub password: Option<Secret>,
}

/// A pair of S3 keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// Access key id.
    pub access_key: Secret,
    /// Secret access key.
    pub secret_key: Secret,
}

/// The object store, and our own bucket in it.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// Address pattern; `{account_id}` is replaced.
    pub endpoint: String,
    /// Account id of our own buckets.
    pub account_id: Option<String>,
    /// Region that requests are signed for.
    pub region: String,
    /// Our own bucket, when it is not the hotkey.
    pub bucket: Option<String>,
    /// Keys that read it.
    pub read: Option<Keys>,
    /// Keys that write it.
    pub write: Option<Keys>,
}

/// The global overlap index.
#[derive(Debug, Clone)]
pub struct RecordInfoSettings {
    /// Its bucket.
    pub bucket: String,
    /// Its key in the bucket.
    pub object_key: String,
    /// Largest index that is read.
    pub max_bytes: u64,
    /// Time for reading it once.
    pub budget: Duration,
    /// Account id of the bucket.
    pub account_id: Option<String>,
    /// Keys that read it.
    pub read: Option<Keys>,
    /// Keys that write it.
    pub write: Option<Keys>,
}

/// The owner validator's own.
#[derive(Debug, Clone)]
pub struct OwnerSettings {
    /// Hotkey of the owner validator.
    pub hotkey: Option<String>,
    /// Bucket of the data set.
    pub bucket: String,
    /// Account id of the bucket.
    pub account_id: Option<String>,
    /// Keys that read it.
    pub read: Option<Keys>,
    /// Keys that write it.
    pub write: Option<Keys>,
}

/// Which numbers of the protocol.
#[derive(Debug, Clone)]
pub struct ProfileSettings {
    /// Name of the profile.
    pub name: String,
    /// Fields that are replaced: (name in lower case, value as written).
    pub overrides: Vec<(String, String)>,
}

/// Which rows of which miners are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampling {
    /// As the protocol says.
    Protocol,
    /// Every row of every miner.
    Full,
}

/// How much of the pictures is looked at for advisories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PictureChecks {
    /// Nothing.
    Off,
    /// The first one; all where a model check decodes them anyway.
    First,
    /// Pictures from all over the clip.
    All,
}

/// What the validator judges.
#[derive(Debug, Clone)]
pub struct ValidatorSettings {
    /// Folder for the journal, evidence and scratch files.
    pub workdir: PathBuf,
    /// Specs that are judged.
    pub specs: Vec<String>,
    /// Category that manifests must name.
    pub category: Option<String>,
    /// Which rows.
    pub sampling: Sampling,
    /// Hotkeys that are never judged.
    pub exclude_hotkeys: Vec<String>,
    /// Lowest share of a window that must be decided for its weights to be sent, percent.
    pub weights_min_window: u64,
    /// Days after which decided rounds are removed; 0: never.
    pub archive_retention_days: u64,
    /// Jobs of each kind that compute at one time.
    pub permits: u16,
    /// Jobs of each kind in flight at one time; also the prefetch.
    pub fetches: u16,
    /// Processes that read clips.
    pub decoders: u16,
    /// Advisories that count as failures.
    pub reject_advisories: Vec<String>,
    /// How much of the pictures is looked at for advisories.
    pub picture_checks: PictureChecks,
}

/// Caps on what a miner can cost us.
#[derive(Debug, Clone, Copy)]
pub struct LimitSettings {
    /// Largest data set file, bytes.
    pub dataset_bytes: u64,
    /// Most rows of a data set.
    pub dataset_rows: u64,
    /// See the table.
    pub text_bytes: u64,
    /// See the table.
    pub row_text_bytes: u64,
    /// See the table.
    pub failure_bytes: u64,
    /// See the table.
    pub decode_memory_bytes: u64,
    /// See the table.
    pub min_bytes_per_second: u64,
    /// Largest clip, bytes.
    pub clip_bytes: u64,
    /// Largest picture, bytes.
    pub frame_bytes: u64,
    /// Time for one object, all attempts together.
    pub fetch_budget: Duration,
    /// Longest job.
    pub job_deadline: Duration,
    /// Bytes of clips, pictures and data sets held at one time, all jobs together.
    pub scratch_bytes: u64,
}

/// One kind of vision check.
#[derive(Debug, Clone)]
pub struct VisionCheck {
    /// Whether it runs (when there is a key).
    pub enabled: bool,
    /// Model; `None`: the provider's default.
    pub model: Option<String>,
    /// Longest wait for an answer.
    pub timeout: Duration,
    /// Most rows per miner and interval.
    pub max_samples: usize,
}

/// The vision model.
#[derive(Debug, Clone)]
pub struct VisionSettings {
    /// Key of OpenAI.
    pub openai_api_key: Option<Secret>,
    /// Key of Gemini.
    pub gemini_api_key: Option<Secret>,
    /// Another OpenAI-compatible address.
    pub base_url: Option<String>,
    /// Calls at one time.
    pub concurrency: usize,
    /// Judge the category by the caption first.
    pub caption_gate: bool,
    /// Captions against frames.
    pub semantic: VisionCheck,
    /// Category of frames.
    pub category: VisionCheck,
}

/// The evidence API as its client sees it.
#[derive(Debug, Clone)]
pub struct EvidenceSettings {
    /// Its address.
    pub url: Option<String>,
    /// Longest wait when posting.
    pub timeout: Duration,
    /// Longest wait for the latest decisions.
    pub latest_timeout: Duration,
}

/// Our own evidence API.
#[derive(Debug, Clone)]
pub struct ApiSettings {
    /// Where it listens.
    pub listen: String,
    /// How often it reads the stakes.
    pub allowlist_refresh: Duration,
    /// Smallest stake that may post, whole alpha.
    pub min_stake: u64,
    /// Largest age of a signed request.
    pub max_skew: Duration,
    /// How long a nonce stays used.
    pub nonce_age: Duration,
}

/// Scheduler and workers as separate processes.
#[derive(Debug, Clone)]
pub struct FleetSettings {
    /// Address of the broker.
    pub amqp_url: Option<Address>,
    /// How TLS to the broker is made.
    pub amqp_tls: TlsOptions,
    /// Addresses of the board: one, or those of several nodes of a cluster; empty when not set.
    pub redis_urls: Vec<Address>,
    /// How TLS to the board is made.
    pub redis_tls: TlsOptions,
    /// How long a leader stays leader without a sign of life.
    pub lease_ttl: Duration,
    /// Time to finish after a stop signal.
    pub drain_grace: Duration,
    /// The broker's consumer timeout.
    pub consumer_timeout: Duration,
    /// Failures that a message survives; the next one makes it a dead letter.
    pub delivery_limit: u32,
    /// Where the health page listens.
    pub health_listen: Option<String>,
}

/// Form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For a person.
    Plain,
    /// One JSON object a line.
    Json,
}

/// Logs.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// Level or filter.
    pub level: String,
    /// Form.
    pub format: LogFormat,
}

/// The miner.
#[derive(Debug, Clone)]
pub struct MinerSettings {
    /// List of source videos.
    pub sources_file: PathBuf,
    /// Spec of its packages.
    pub spec: String,
    /// Specs it makes.
    pub specs: Vec<String>,
    /// Model that writes captions.
    pub caption_model: String,
    /// Longest wait for one caption.
    pub caption_timeout: Duration,
}

impl Settings {
    /// Reads all sources. The error holds everything that is wrong, not only the first.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(sources.collect(), sources.home());
        let mut settings = Self::build(&mut reader);
        rules::check_values(&settings, &mut reader);
        if reader.collected.problems.is_empty() {
            // Rules between values only mean something when every value could be read.
            rules::check_together(&settings, &mut reader);
        }
        let collected = reader.collected;
        if !collected.problems.is_empty() {
            return Err(ConfigError::new(collected.problems));
        }
        settings.shown = shown(&collected);
        settings.redactor = hidden(&collected);
        settings.notices = collected.notices;
        Ok(settings)
    }

    /// Takes every secret of these settings out of a text.
    pub fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// One field per row of the table.
    pub(super) fn build(r: &mut Reader<'_>) -> Self {
        Self {
            chain: ChainSettings {
                netuid: r.small("NEXIS_NETUID"),
                network: r.text_or_empty("BT_NETWORK"),
                block_poll: r.duration("NEXIS_BLOCK_POLL_SEC"),
                genesis: r.text("NEXIS_CHAIN_GENESIS"),
                timeout: r.duration("NEXIS_CHAIN_TIMEOUT"),
                head_silence: r.duration("NEXIS_CHAIN_HEAD_SILENCE"),
            },
            wallet: WalletSettings {
                name: r.text_or_empty("BT_WALLET_NAME"),
                hotkey: r.text_or_empty("BT_WALLET_HOTKEY"),
                path: r.path("BT_WALLET_PATH"),
                password: r.secret("NEXIS_WALLET_PASSWORD"),
            },
            store: StoreSettings {
                endpoint: r.url("NEXIS_R2_ENDPOINT").unwrap_or_default(),
                account_id: r.text("R2_ACCOUNT_ID"),
                region: r.text_or_empty("R2_REGION"),
                bucket: r.text("R2_BUCKET"),
                read: keys(r, "R2_READ_ACCESS_KEY", "R2_READ_SECRET_KEY"),
                write: keys(r, "R2_WRITE_ACCESS_KEY", "R2_WRITE_SECRET_KEY"),
            },
            record_info: RecordInfoSettings {
                bucket: r.text_or_empty("NEXIS_RECORD_INFO_BUCKET"),
                object_key: r.text_or_empty("NEXIS_RECORD_INFO_OBJECT_KEY"),
                max_bytes: r.bytes("NEXIS_RECORD_INFO_MAX_BYTES"),
                budget: r.duration("NEXIS_RECORD_INFO_BUDGET"),
                account_id: r.text("NEXIS_RECORD_INFO_ACCOUNT_ID"),
                read: keys(
                    r,
                    "NEXIS_RECORD_INFO_READ_ACCESS_KEY",
                    "NEXIS_RECORD_INFO_READ_SECRET_KEY",
                ),
                write: keys(
                    r,
                    "NEXIS_RECORD_INFO_WRITE_ACCESS_KEY",
                    "NEXIS_RECORD_INFO_WRITE_SECRET_KEY",
                ),
            },
            owner: OwnerSettings {
                hotkey: r.text("NEXIS_OWNER_VALIDATOR_HOTKEY"),
                bucket: r.text_or_empty("NEXIS_OWNER_DB_BUCKET"),
                account_id: r.text("NEXIS_OWNER_DB_ACCOUNT_ID"),
                read: keys(
                    r,
                    "NEXIS_OWNER_DB_READ_ACCESS_KEY",
                    "NEXIS_OWNER_DB_READ_SECRET_KEY",
                ),
                write: keys(
                    r,
                    "NEXIS_OWNER_DB_WRITE_ACCESS_KEY",
                    "NEXIS_OWNER_DB_WRITE_SECRET_KEY",
                ),
            },
            profile: ProfileSettings {
                name: r
                    .choice(
                        "NEXIS_PROFILE",
                        &[("readme", "readme"), ("2026-04-13", "2026-04-13")],
                    )
                    .to_owned(),
                overrides: r
                    .collected
                    .overrides
                    .iter()
                    .map(|(field, raw)| (field.clone(), raw.text.expose().to_owned()))
                    .collect(),
            },
            validator: ValidatorSettings {
                workdir: r.path("NEXIS_WORKDIR"),
                specs: r.list("NEXIS_VALIDATOR_ENABLED_SPECS"),
                category: r
                    .text("NEXIS_DATASET_CATEGORY")
                    .filter(|category| !category.eq_ignore_ascii_case("none")),
                sampling: r.choice(
                    "NEXIS_SAMPLING",
                    &[("protocol", Sampling::Protocol), ("full", Sampling::Full)],
                ),
                exclude_hotkeys: r.list("NEXIS_EXCLUDE_HOTKEYS"),
                weights_min_window: r.whole("NEXIS_WEIGHTS_MIN_WINDOW_PERCENT"),
                archive_retention_days: r.whole("NEXIS_ARCHIVE_RETENTION_DAYS"),
                permits: r.small("NEXIS_VALIDATOR_PERMITS"),
                fetches: r.small("NEXIS_FETCH_PERMITS"),
                decoders: match r.small("NEXIS_DECODERS") {
                    0 => machine::cores(),
                    decoders => decoders,
                },
                reject_advisories: r.list("NEXIS_REJECT_ADVISORIES"),
                picture_checks: r.choice(
                    "NEXIS_PICTURE_CHECKS",
                    &[
                        ("first", PictureChecks::First),
                        ("all", PictureChecks::All),
                        ("off", PictureChecks::Off),
                    ],
                ),
            },
            limits: LimitSettings {
                dataset_bytes: r.bytes("NEXIS_MAX_DATASET_BYTES"),
                dataset_rows: r.whole("NEXIS_MAX_DATASET_ROWS"),
                text_bytes: r.bytes("NEXIS_MAX_TEXT_BYTES"),
                row_text_bytes: r.bytes("NEXIS_MAX_ROW_TEXT_BYTES"),
                failure_bytes: r.bytes("NEXIS_MAX_FAILURE_BYTES"),
                decode_memory_bytes: r.bytes("NEXIS_DECODE_MEMORY_BYTES"),
                min_bytes_per_second: r.bytes("NEXIS_MIN_BYTES_PER_SECOND"),
                clip_bytes: r.bytes("NEXIS_MAX_CLIP_BYTES"),
                frame_bytes: r.bytes("NEXIS_MAX_FRAME_BYTES"),
                fetch_budget: r.duration("NEXIS_FETCH_BUDGET"),
                job_deadline: r.duration("NEXIS_JOB_DEADLINE"),
                scratch_bytes: r
                    .bytes_if_set("NEXIS_SCRATCH_BYTES")
                    .unwrap_or_else(|| machine::memory_bytes() / 4),
            },
            vision: VisionSettings {
                openai_api_key: r.secret("OPENAI_API_KEY"),
                gemini_api_key: r.secret("GEMINI_API_KEY"),
                base_url: r.url("NEXIS_VISION_BASE_URL"),
                concurrency: r.small("NEXIS_VISION_CONCURRENCY"),
                caption_gate: r.switch("NEXIS_VISION_CAPTION_GATE"),
                semantic: VisionCheck {
                    enabled: r.switch("NEXIS_VALIDATOR_SEMANTIC_CHECK_ENABLED"),
                    model: r.text("NEXIS_VALIDATOR_SEMANTIC_MODEL"),
                    timeout: r.duration("NEXIS_VALIDATOR_SEMANTIC_TIMEOUT_SEC"),
                    max_samples: r.small("NEXIS_VALIDATOR_SEMANTIC_MAX_SAMPLES"),
                },
                category: VisionCheck {
                    enabled: r.switch("NEXIS_VALIDATOR_CATEGORY_CHECK_ENABLED"),
                    model: r.text("NEXIS_VALIDATOR_CATEGORY_MODEL"),
                    timeout: r.duration("NEXIS_VALIDATOR_CATEGORY_TIMEOUT_SEC"),
                    max_samples: r.small("NEXIS_VALIDATOR_CATEGORY_MAX_SAMPLES"),
                },
            },
            evidence: EvidenceSettings {
                url: r.url("NEXIS_VALIDATION_API_URL"),
                timeout: r.duration("NEXIS_VALIDATION_API_TIMEOUT_SEC"),
                latest_timeout: r.duration("NEXIS_LATEST_RESULT_TIMEOUT_SEC"),
            },
            api: ApiSettings {
                listen: r.text_or_empty("NEXIS_VALIDATION_API_LISTEN"),
                allowlist_refresh: r.duration("NEXIS_VALIDATION_API_ALLOWLIST_REFRESH_SEC"),
                min_stake: r.whole("NEXIS_VALIDATION_API_MIN_VALIDATOR_STAKE"),
                max_skew: r.duration("NEXIS_VALIDATION_API_AUTH_MAX_SKEW_SEC"),
                nonce_age: r.duration("NEXIS_VALIDATION_API_NONCE_MAX_AGE_SEC"),
            },
            fleet: FleetSettings {
                amqp_url: r.address("NEXIS_AMQP_URL", &AMQP_SCHEMES),
                amqp_tls: TlsOptions {
                    prefix: "NEXIS_AMQP",
                    ca_file: r.path_if_set("NEXIS_AMQP_CA_FILE"),
                    cert_file: r.path_if_set("NEXIS_AMQP_CERT_FILE"),
                    key_file: r.path_if_set("NEXIS_AMQP_KEY_FILE"),
                    server_name: r.text("NEXIS_AMQP_SERVER_NAME"),
                },
                redis_urls: r.addresses("NEXIS_REDIS_URL", &REDIS_SCHEMES),
                redis_tls: TlsOptions {
                    prefix: "NEXIS_REDIS",
                    ca_file: r.path_if_set("NEXIS_REDIS_CA_FILE"),
                    cert_file: r.path_if_set("NEXIS_REDIS_CERT_FILE"),
                    key_file: r.path_if_set("NEXIS_REDIS_KEY_FILE"),
                    server_name: r.text("NEXIS_REDIS_SERVER_NAME"),
                },
                lease_ttl: r.duration("NEXIS_LEASE_TTL"),
                drain_grace: r.duration("NEXIS_DRAIN_GRACE"),
                consumer_timeout: r.duration("NEXIS_CONSUMER_TIMEOUT"),
                delivery_limit: r.small("NEXIS_DELIVERY_LIMIT"),
                health_listen: r.text("NEXIS_HEALTH_LISTEN"),
            },
            log: LogSettings {
                level: r.text_or_empty("NEXIS_LOG_LEVEL"),
                format: r.choice(
                    "NEXIS_LOG_FORMAT",
                    &[("plain", LogFormat::Plain), ("json", LogFormat::Json)],
                ),
            },
            miner: MinerSettings {
                sources_file: r.path("NEXIS_SOURCES_FILE"),
                spec: r.text_or_empty("NEXIS_DATASET_SPEC_DEFAULT"),
                specs: r.list("NEXIS_MINER_ENABLED_SPECS"),
                caption_model: r.text_or_empty("NEXIS_CAPTION_MODEL"),
                caption_timeout: r.duration("NEXIS_CAPTION_TIMEOUT_SEC"),
            },
            notices: Vec::new(),
            shown: Vec::new(),
            redactor: Redactor::default(),
        }
    }
}

/// Both keys of a pair; half a pair is refused.
fn keys(r: &mut Reader<'_>, access: &'static str, secret: &'static str) -> Option<Keys> {
    match (r.secret(access), r.secret(secret)) {
        (Some(access_key), Some(secret_key)) => Some(Keys {
            access_key,
            secret_key,
        }),
        (None, None) => None,
        (Some(_), None) => {
            r.refuse(access, &format!("{secret} beside it"));
            None
        }
        (None, Some(_)) => {
            r.refuse(secret, &format!("{access} beside it"));
            None
        }
    }
}
