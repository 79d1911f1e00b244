//! From written values to typed ones. A value that cannot be read becomes a problem and a stand-in, so that the
//! rest is looked at too; the stand-in is never seen, since problems end the load.

use super::render::without_credentials;
use super::sources::{Collected, Raw};
use super::table::{self, Entry, Kind};
use super::{ProblemKind, units};
use crate::Secret;
use crate::address::{self, Address, AddressError};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

pub(super) struct Reader<'a> {
    pub collected: Collected,
    home: Option<&'a str>,
    /// Names that were asked for: a test compares them with the table.
    pub asked: BTreeSet<&'static str>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(collected: Collected, home: Option<&'a str>) -> Self {
        Self {
            collected,
            home,
            asked: BTreeSet::new(),
        }
    }

    fn raw(&mut self, name: &'static str) -> (&'static Entry, Option<Raw>) {
        self.asked.insert(name);
        let entry = table::by_name(name).expect("settings are read by names of the table");
        (entry, self.collected.values.get(name).cloned())
    }

    fn read<T>(&mut self, name: &'static str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let (entry, raw) = self.raw(name);
        let raw = raw?;
        let parsed = parse(raw.text.expose());
        if parsed.is_none() {
            self.invalid(entry, &raw);
        }
        parsed
    }

    fn invalid(&mut self, entry: &Entry, raw: &Raw) {
        let value = shown_value(entry, &raw.text);
        let expected = expected(entry.kind);
        let kind = ProblemKind::Invalid { value, expected };
        self.collected.problem(raw.origin.clone(), &raw.name, kind);
    }

    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        self.read(name, |text| Some(text.to_owned()))
    }

    pub(super) fn text_or_empty(&mut self, name: &'static str) -> String {
        self.text(name).unwrap_or_default()
    }

    pub(super) fn secret(&mut self, name: &'static str) -> Option<Secret> {
        let (_, raw) = self.raw(name);
        raw.map(|raw| raw.text)
    }

    pub(super) fn whole(&mut self, name: &'static str) -> u64 {
        let Kind::Whole { min, max } = self.raw(name).0.kind else {
            return 0;
        };
        let within = |number: &u64| (min..=max).contains(number);
        self.read(name, |text| text.parse().ok().filter(within))
            .unwrap_or(min)
    }

    /// A whole number that its row of the table keeps within the smaller type.
    pub(super) fn small<T: TryFrom<u64> + Default>(&mut self, name: &'static str) -> T {
        T::try_from(self.whole(name)).unwrap_or_default()
    }

    pub(super) fn switch(&mut self, name: &'static str) -> bool {
        self.read(name, |text| match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(true),
            "false" | "0" | "no" | "off" => Some(false),
            _ => None,
        })
        .unwrap_or_default()
    }

    pub(super) fn duration(&mut self, name: &'static str) -> Duration {
        let parse = match self.raw(name).0.kind {
            Kind::Seconds => units::parse_seconds,
            _ => units::parse_duration,
        };
        // Nothing here waits for no time at all: a zero would be a busy loop or an instant failure.
        self.read(name, |text| parse(text).filter(|d| !d.is_zero()))
            .unwrap_or(Duration::MAX)
    }

    pub(super) fn bytes(&mut self, name: &'static str) -> u64 {
        self.bytes_if_set(name).unwrap_or(u64::MAX)
    }

    pub(super) fn bytes_if_set(&mut self, name: &'static str) -> Option<u64> {
        self.read(name, |text| units::parse_bytes(text).filter(|&n| n > 0))
    }

    pub(super) fn path(&mut self, name: &'static str) -> PathBuf {
        let home = self.home;
        self.read(name, |text| match (text.strip_prefix("~/"), home) {
            (Some(rest), Some(home)) => Some(PathBuf::from(home).join(rest)),
            _ => Some(PathBuf::from(text)),
        })
        .unwrap_or_default()
    }

    pub(super) fn path_if_set(&mut self, name: &'static str) -> Option<PathBuf> {
        let (_, raw) = self.raw(name);
        raw.map(|_| self.path(name))
    }

    /// An address with credentials in it; none when the setting is not set or wrong.
    pub(super) fn address(
        &mut self,
        name: &'static str,
        schemes: &[&'static str],
    ) -> Option<Address> {
        self.parsed(name, |text| Address::parse(text, schemes))
    }

    /// Addresses separated by commas.
    pub(super) fn addresses(
        &mut self,
        name: &'static str,
        schemes: &[&'static str],
    ) -> Vec<Address> {
        let read = self.parsed(name, |text| address::list(text, schemes));
        read.unwrap_or_default()
    }

    fn parsed<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, AddressError>,
    ) -> Option<T> {
        let (_, raw) = self.raw(name);
        match parse(raw?.text.expose()) {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                self.refuse(name, &error.to_string());
                None
            }
        }
    }

    pub(super) fn list(&mut self, name: &'static str) -> Vec<String> {
        let items = self.text(name).unwrap_or_default();
        items
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(str::to_owned)
            .collect()
    }

    pub(super) fn url(&mut self, name: &'static str) -> Option<String> {
        self.read(name, |text| is_http_url(text).then(|| text.to_owned()))
    }

    pub(super) fn choice<T: Copy>(&mut self, name: &'static str, choices: &[(&str, T)]) -> T {
        let chosen = self.read(name, |text| {
            let found = choices
                .iter()
                .find(|(word, _)| word.eq_ignore_ascii_case(text));
            found.map(|(_, choice)| *choice)
        });
        chosen.unwrap_or(choices.first().expect("a choice has words").1)
    }

    /// Adds a problem of a value that is set, with a rule of its own.
    pub(super) fn refuse(&mut self, name: &'static str, expected: &str) {
        let (entry, raw) = self.raw(name);
        if let Some(raw) = raw {
            let value = shown_value(entry, &raw.text);
            let kind = ProblemKind::Invalid {
                value,
                expected: expected.to_owned(),
            };
            self.collected.problem(raw.origin, &raw.name, kind);
        }
    }
}

/// The value as an error may show it.
fn shown_value(entry: &Entry, text: &Secret) -> Option<String> {
    (entry.kind != Kind::Secret).then(|| without_credentials(text.expose()))
}

/// Credentials would have no effect, and an `@` is how they end.
fn is_http_url(text: &str) -> bool {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let unfit = |c: char| c == '@' || c.is_whitespace() || c.is_control();
        !host.is_empty() && !text.contains(unfit)
    })
}

/// What a value of this form looks like, for a person.
pub(super) fn expected(kind: Kind) -> String {
    match kind {
        Kind::Text => "a text".to_owned(),
        Kind::Switch => "true or false".to_owned(),
        Kind::Whole { min, max: u64::MAX } => format!("a whole number from {min} on"),
        Kind::Whole { min, max } => format!("a whole number from {min} to {max}"),
        Kind::Duration => "a duration above zero such as 30s or 1m30s".to_owned(),
        Kind::Seconds => "seconds above zero, or a duration such as 30s".to_owned(),
        Kind::Bytes => "a size above zero such as 64MiB".to_owned(),
        Kind::Path => "a path".to_owned(),
        Kind::List => "texts separated by commas".to_owned(),
        Kind::Url => "an http:// or https:// address without credentials".to_owned(),
        Kind::Choice(words) => format!("one of {}", words.join(", ")),
        Kind::Secret => "a secret text".to_owned(),
    }
}
