//! Where settings come from. A plain value, so that tests need neither files nor an environment.

use super::service_links::is_service_link;
use super::table::{self, Entry, Kind, PROFILE_PREFIX, RETIRED, TABLE};
use super::{Notice, Origin, Problem, ProblemKind, dotenv, nearest::nearest, toml_file};
use crate::Secret;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

/// A command-line flag that sets something.
#[derive(Debug, Clone)]
pub struct Flag {
    /// As the user typed it: `--specs`.
    pub flag: String,
    /// Name of the setting in the table.
    pub name: &'static str,
    /// Its value.
    pub value: String,
}

/// All places that may set something.
#[derive(Clone, Default)]
pub struct Sources {
    file: Option<PathBuf>,
    file_text: Option<(PathBuf, String)>,
    dotenv: Option<PathBuf>,
    dotenv_text: Option<(PathBuf, String)>,
    environment: BTreeMap<String, String>,
    flags: Vec<Flag>,
    profile_fields: Vec<String>,
    needed: Vec<&'static str>,
}

impl Sources {
    /// Nothing but the defaults.
    pub fn empty() -> Self {
        Self::default()
    }

    /// The environment of this process, and `.env` in the working directory when there is one.
    /// Values that are not UTF-8 are read with replacement characters, so that they are refused by their form.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the environment"
    )]
    pub fn from_process() -> Self {
        let environment = std::env::vars_os()
            .map(|(name, value)| {
                (
                    name.to_string_lossy().into_owned(),
                    value.to_string_lossy().into_owned(),
                )
            })
            .collect();
        let dotenv = Path::new(".env");
        Self {
            environment,
            dotenv: dotenv.exists().then(|| dotenv.into()),
            ..Self::default()
        }
    }

    /// Sets one variable of the environment.
    #[must_use]
    pub fn with_env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Reads this TOML file (`--config`). That it cannot be read is a problem like others.
    #[must_use]
    pub fn with_file(mut self, path: PathBuf) -> Self {
        self.file = Some(path);
        self
    }

    /// Takes this text for the content of a TOML file.
    #[must_use]
    pub fn with_file_text(mut self, path: &str, text: &str) -> Self {
        self.file_text = Some((path.into(), text.to_owned()));
        self
    }

    /// Takes this text for the content of a `.env` file.
    #[must_use]
    pub fn with_dotenv_text(mut self, path: &str, text: &str) -> Self {
        self.dotenv_text = Some((path.into(), text.to_owned()));
        self
    }

    /// Adds a flag of the command line; `None` when the user did not give it.
    #[must_use]
    pub fn with_flag(mut self, flag: &str, name: &'static str, value: Option<String>) -> Self {
        if let Some(value) = value {
            self.flags.push(Flag {
                flag: flag.to_owned(),
                name,
                value,
            });
        }
        self
    }

    /// Names of the profile's fields, which `NEXIS_PROFILE_<FIELD>` may override.
    #[must_use]
    pub fn with_profile_fields(mut self, fields: &[&str]) -> Self {
        self.profile_fields = fields.iter().map(|field| (*field).to_owned()).collect();
        self
    }

    /// The command cannot do without this setting.
    #[must_use]
    pub fn needing(mut self, name: &'static str) -> Self {
        self.needed.push(name);
        self
    }

    pub(super) fn home(&self) -> Option<&str> {
        self.environment.get("HOME").map(String::as_str)
    }

    /// Reads all places in order; later ones replace.
    pub(super) fn collect(&self) -> Collected {
        let mut collected = Collected::default();
        for entry in TABLE.iter().filter(|entry| !entry.default.is_empty()) {
            collected.values.insert(
                entry.name,
                Raw::new(entry.default, Origin::Default, entry.name),
            );
        }
        self.read_file(&mut collected);
        self.read_dotenv(&mut collected);
        let mut layer = Layer::default();
        for (name, value) in &self.environment {
            if table::by_name(name).is_some() || !is_service_link(name, value) {
                self.take(&mut collected, &mut layer, name, value, Origin::Environment);
            }
        }
        for flag in &self.flags {
            let origin = Origin::Flag(flag.flag.clone());
            self.take(
                &mut collected,
                &mut Layer::default(),
                flag.name,
                &flag.value,
                origin,
            );
        }
        for name in &self.needed {
            if !collected.values.contains_key(name) {
                let help = table::by_name(name).map_or("", |entry| entry.help);
                collected.problem(Origin::Settings, name, ProblemKind::Missing { help });
            }
        }
        collected
    }

    fn read_file(&self, collected: &mut Collected) {
        let Some((path, text)) = content(
            self.file.as_deref(),
            self.file_text.as_ref(),
            "--config",
            collected,
        ) else {
            return;
        };
        let (leaves, errors) = toml_file::parse(&text);
        for (line, message) in errors {
            let origin = Origin::File {
                path: path.clone(),
                line,
            };
            collected.problem(origin, "TOML", ProblemKind::Syntax { message });
        }
        for leaf in leaves {
            let origin = Origin::File {
                path: path.clone(),
                line: leaf.line,
            };
            let value = match leaf.value {
                Ok(value) => value,
                Err(expected) => {
                    let expected = expected.to_owned();
                    let kind = ProblemKind::Invalid {
                        value: None,
                        expected,
                    };
                    collected.problem(origin, &leaf.key, kind);
                    continue;
                }
            };
            let secret_file = leaf.key.strip_suffix("_file").and_then(table::by_key);
            let field = leaf.key.strip_prefix("profile.").map(str::to_owned);
            if let Some(entry) = table::by_key(&leaf.key) {
                collected.set(entry, &value, origin, &leaf.key);
            } else if let Some(entry) = secret_file.filter(|entry| entry.kind == Kind::Secret) {
                collected.set_from_file(entry, &value, origin, &leaf.key);
            } else if let Some(field) = field.filter(|field| self.profile_fields.contains(field)) {
                collected
                    .overrides
                    .insert(field, Raw::new(&value, origin, &leaf.key));
            } else {
                let fields = self
                    .profile_fields
                    .iter()
                    .map(|field| format!("profile.{field}"));
                let keys = TABLE.iter().map(|entry| entry.key.to_owned());
                let known: Vec<String> = keys.chain(fields).collect();
                let nearest = suggestion(&leaf.key, &known);
                collected.problem(origin, &leaf.key, ProblemKind::Unknown { nearest });
            }
        }
    }

    fn read_dotenv(&self, collected: &mut Collected) {
        let Some((path, text)) = content(
            self.dotenv.as_deref(),
            self.dotenv_text.as_ref(),
            ".env",
            collected,
        ) else {
            return;
        };
        let mut layer = Layer::default();
        for line in dotenv::parse(&text) {
            let origin = Origin::DotEnv {
                path: path.clone(),
                line: line.number,
            };
            match line.content {
                Ok((name, value)) => self.take(collected, &mut layer, &name, &value, origin),
                Err(message) => {
                    let kind = ProblemKind::Syntax {
                        message: message.to_owned(),
                    };
                    collected.problem(origin, "line", kind);
                }
            }
        }
    }

    /// One name and value of `.env`, the environment or a flag.
    fn take(
        &self,
        collected: &mut Collected,
        layer: &mut Layer,
        name: &str,
        value: &str,
        origin: Origin,
    ) {
        // An empty value is how templates say "not set".
        let empty = value.trim().is_empty();
        let secret = || name.strip_suffix("_FILE").and_then(table::by_name);
        let field = name
            .strip_prefix(PROFILE_PREFIX)
            .map(str::to_ascii_lowercase);
        if let Some(entry) = table::by_name(name) {
            if !empty && layer.claims(collected, entry, name, &origin) {
                collected.set(entry, value, origin, name);
            }
        } else if let Some(entry) = secret().filter(|entry| entry.kind == Kind::Secret) {
            if !empty && layer.claims(collected, entry, name, &origin) {
                collected.set_from_file(entry, value.trim(), origin, name);
            }
        } else if let Some(field) = field.filter(|field| self.profile_fields.contains(field)) {
            if !empty {
                collected
                    .overrides
                    .insert(field, Raw::new(value, origin, name));
            }
        } else if let Some((_, message)) = RETIRED.iter().find(|(retired, _)| *retired == name) {
            collected.notices.push(Notice {
                origin,
                name: name.to_owned(),
                message,
            });
        } else {
            self.refuse_unknown(collected, name, origin);
        }
    }

    /// `NEXIS_*` is ours: anything unknown there is a typo. `BT_*`, `R2_*` and the keys of providers belong to other
    /// programs too: only a name next to a known one is taken for a typo.
    fn refuse_unknown(&self, collected: &mut Collected, name: &str, origin: Origin) {
        let fields = self
            .profile_fields
            .iter()
            .map(|f| PROFILE_PREFIX.to_owned() + &f.to_uppercase());
        let known: Vec<String> = table::names().map(str::to_owned).chain(fields).collect();
        let ours = name.starts_with("NEXIS_");
        if ours {
            let nearest = suggestion(name, &known);
            collected.problem(origin, name, ProblemKind::Unknown { nearest });
        } else if name.starts_with("BT_") || name.starts_with("R2_") {
            let known = known.iter().map(String::as_str);
            if let Some((near, edits)) = nearest(name, known)
                && edits <= 2
            {
                let nearest = Some(near.to_owned());
                collected.problem(origin, name, ProblemKind::Unknown { nearest });
            }
        }
    }
}

fn suggestion(name: &str, known: &[String]) -> Option<String> {
    nearest(name, known.iter().map(String::as_str)).map(|(near, _)| near.to_owned())
}

fn content(
    path: Option<&Path>,
    text: Option<&(PathBuf, String)>,
    name: &str,
    collected: &mut Collected,
) -> Option<(PathBuf, String)> {
    if let Some((path, text)) = text {
        return Some((path.clone(), text.clone()));
    }
    let path = path?;
    match std::fs::read_to_string(path) {
        Ok(text) => Some((path.to_owned(), text)),
        Err(source) => {
            let path = path.to_owned();
            collected.problem(
                Origin::Settings,
                name,
                ProblemKind::Unreadable { path, source },
            );
            None
        }
    }
}

/// Which settings one place has set, and by which name.
#[derive(Default)]
struct Layer {
    names: HashMap<&'static str, String>,
}

impl Layer {
    fn claims(
        &mut self,
        collected: &mut Collected,
        entry: &'static Entry,
        name: &str,
        origin: &Origin,
    ) -> bool {
        match self.names.get(entry.name) {
            // The same name again on a later line replaces, as shells do.
            Some(other) if other != name => {
                let other = other.clone();
                collected.problem(origin.clone(), name, ProblemKind::Twice { other });
                false
            }
            _ => {
                self.names.insert(entry.name, name.to_owned());
                true
            }
        }
    }
}

/// A value as it was written.
#[derive(Clone)]
pub(super) struct Raw {
    pub text: Secret,
    pub origin: Origin,
    /// The name as it was spelled there.
    pub name: String,
}

impl Raw {
    fn new(text: &str, origin: Origin, name: &str) -> Self {
        Self {
            text: Secret::from(text.trim()),
            origin,
            name: name.to_owned(),
        }
    }
}

/// What all places together say.
#[derive(Default)]
pub(super) struct Collected {
    pub values: BTreeMap<&'static str, Raw>,
    pub overrides: BTreeMap<String, Raw>,
    pub problems: Vec<Problem>,
    pub notices: Vec<Notice>,
    seen_keys: HashSet<String>,
}

impl Collected {
    pub(super) fn problem(&mut self, origin: Origin, name: &str, kind: ProblemKind) {
        self.problems.push(Problem {
            origin,
            name: name.to_owned(),
            kind,
        });
    }

    fn set(&mut self, entry: &'static Entry, value: &str, origin: Origin, name: &str) {
        if matches!(origin, Origin::File { .. }) {
            self.seen_keys.insert(entry.key.to_owned());
            if value.trim().is_empty() {
                return;
            }
        }
        self.values
            .insert(entry.name, Raw::new(value, origin, name));
    }

    fn set_from_file(&mut self, entry: &'static Entry, path: &str, origin: Origin, name: &str) {
        if matches!(origin, Origin::File { .. }) && self.seen_keys.contains(entry.key) {
            let other = entry.key.to_owned();
            return self.problem(origin, name, ProblemKind::Twice { other });
        }
        match read_secret(Path::new(path)) {
            Ok(text) => {
                let raw = Raw {
                    text,
                    origin,
                    name: name.to_owned(),
                };
                self.values.insert(entry.name, raw);
            }
            Err(source) => {
                let kind = ProblemKind::Unreadable {
                    path: path.into(),
                    source,
                };
                self.problem(origin, name, kind);
            }
        }
    }
}

/// Longest secret file: a key or an address, never a document.
const SECRET_MAX_BYTES: u64 = 64 << 10;

fn read_secret(path: &Path) -> std::io::Result<Secret> {
    use std::io::{Error, ErrorKind, Read};
    let mut text = zeroize::Zeroizing::new(String::new());
    std::fs::File::open(path)?
        .take(SECRET_MAX_BYTES + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > SECRET_MAX_BYTES {
        return Err(Error::new(ErrorKind::InvalidData, "longer than 64 KiB"));
    }
    if text.trim().is_empty() {
        return Err(Error::new(ErrorKind::InvalidData, "it is empty"));
    }
    Ok(Secret::from(text.trim()))
}
