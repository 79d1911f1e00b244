//! Settings as text for a person: the reference of all, and what is in force now.

use super::sources::Collected;
use super::table::{Kind, PROFILE_PREFIX, RETIRED, TABLE};
use super::{Origin, Settings, reader};
use crate::address::{self, Address};
use crate::redact::{Redactor, Words};
use std::fmt::Write as _;

/// One line of what is in force; secrets already hidden.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    name: String,
    value: String,
    origin: Origin,
}

pub(super) fn shown(collected: &Collected) -> Vec<Shown> {
    let of_table = TABLE
        .iter()
        .map(|entry| match collected.values.get(entry.name) {
            Some(raw) => {
                let value = match entry.kind {
                    Kind::Secret => "(set, hidden)".to_owned(),
                    _ => without_credentials(raw.text.expose()),
                };
                Shown {
                    name: entry.name.to_owned(),
                    value,
                    origin: raw.origin.clone(),
                }
            }
            None => Shown {
                name: entry.name.to_owned(),
                value: "(not set)".to_owned(),
                origin: Origin::Default,
            },
        });
    let overrides = collected.overrides.iter().map(|(field, raw)| Shown {
        name: PROFILE_PREFIX.to_owned() + &field.to_uppercase(),
        value: raw.text.expose().to_owned(),
        origin: raw.origin.clone(),
    });
    of_table.chain(overrides).collect()
}

/// Addresses of node providers carry keys in user, path or query: of each address only scheme and host are shown, and
/// of what is no address nothing that may be credentials.
pub(super) fn without_credentials(value: &str) -> String {
    let shown: Vec<String> = items(value).iter().map(|item| shown_item(item)).collect();
    shown.join(",")
}

/// What commas separate. A comma may be part of a password: only an address begins a new item after one.
fn items(value: &str) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    for part in value.split(',') {
        match items.last_mut() {
            Some(last) if last.contains("://") && !part.contains("://") => {
                last.push(',');
                last.push_str(part);
            }
            _ => items.push(part.trim().to_owned()),
        }
    }
    items
}

fn shown_item(item: &str) -> String {
    const HIDDEN: &str = "(hidden)";
    let Some((scheme, rest)) = item.split_once("://") else {
        let harmless = !item.contains('@');
        return if harmless { item } else { HIDDEN }.to_owned();
    };
    // Behind the last @ of all: a / in a password that is not encoded must not make it a host.
    let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
    let (host, tail) = place.split_at(place.find(['/', '?', '#']).unwrap_or(place.len()));
    let is_host = address::place_of(host).is_ok() || host.contains('{');
    let host = if is_host { host } else { HIDDEN };
    let tail = if tail.len() > 1 { "/…" } else { tail };
    format!("{scheme}://{host}{tail}")
}

/// All that no log line may show: secrets, and the credentials of addresses.
pub(super) fn hidden(collected: &Collected) -> Redactor {
    const SCHEMES: [&str; 8] = [
        "amqp", "amqps", "redis", "rediss", "ws", "wss", "http", "https",
    ];
    let mut words = Words::default();
    for entry in TABLE {
        let Some(raw) = collected.values.get(entry.name) else {
            continue;
        };
        let text = raw.text.expose();
        if entry.kind == Kind::Secret {
            words.secret(text);
        }
        for item in items(text) {
            let Ok(address) = Address::parse(&item, &SCHEMES) else {
                // Nobody will be able to use it; what stands where credentials do is hidden all the same.
                let rest = item
                    .split_once("://")
                    .map_or(item.as_str(), |(_, rest)| rest);
                if let Some((credentials, _)) = rest.rsplit_once('@') {
                    words.secret(credentials);
                    let password = credentials.split_once(':').map(|(_, password)| password);
                    words.secret(password.unwrap_or_default());
                }
                continue;
            };
            words.extend(address.redactor());
            if address.tail().len() >= KEY_FROM {
                words.secret(address.tail());
            }
        }
    }
    words.into()
}

/// Paths and queries from this length on may hold a node provider's key; shorter ones are like `/v1`.
const KEY_FROM: usize = 16;

impl Settings {
    /// What is in force, one `NAME = value  # origin` a line; secrets are hidden.
    pub fn effective(&self) -> String {
        let mut text = String::new();
        for line in &self.shown {
            // Writing to a String cannot fail.
            writeln!(text, "{} = {}  # {}", line.name, line.value, line.origin).ok();
        }
        text
    }
}

/// The reference of all settings, in Markdown (`docs/configuration.md`).
pub fn reference() -> String {
    let mut text = String::from(HEAD);
    let mut section = "";
    for entry in TABLE {
        let (this, _) = entry.key.split_once('.').unwrap_or((entry.key, ""));
        if this != section {
            section = this;
            write!(text, "\n## [{section}]\n\n{COLUMNS}").ok();
        }
        let default = if entry.default.is_empty() {
            "–".to_owned()
        } else {
            format!("`{}`", entry.default)
        };
        let mut aliases = String::new();
        for alias in entry.aliases {
            write!(aliases, ", `{alias}`").ok();
        }
        let form = reader::expected(entry.kind);
        let row = (entry.name, entry.key, entry.help);
        writeln!(
            text,
            "| `{}`{aliases} | `{}` | {form} | {default} | {} |",
            row.0, row.1, row.2
        )
        .ok();
    }
    text.push_str("\n## Read by other programs only\n\n");
    for (name, message) in RETIRED {
        writeln!(text, "- `{name}`: {message}.").ok();
    }
    text
}

const COLUMNS: &str =
    "| environment | TOML key | form | default | meaning |\n| --- | --- | --- | --- | --- |\n";

const HEAD: &str = "# Settings

Generated from `shared/runtime/src/config/table.rs`; a test fails when this page is older. `nexis config` prints it.

Order, later wins: defaults, the TOML file of `--config`, `.env` in the working directory, the environment, flags.
An empty value means \"not set\". Unknown keys in the file and unknown `NEXIS_*` names are refused, and so are names
one or two letters away from a known `BT_*` or `R2_*` one. All problems are reported together; exit code 78.

Secrets may be given as `<NAME>_FILE` (in TOML: `<key>_file`): the path of a file that holds the value.
`NEXIS_PROFILE_<FIELD>` (in TOML: a key of `[profile]`) replaces one number of the protocol's profile.
";
