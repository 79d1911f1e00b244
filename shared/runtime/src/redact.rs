//! Taking secrets out of text that an operator, a log or a prober will see.
//!
//! Drivers and servers put what they were given into their errors: a user name, an address, a header. Whatever text
//! comes from them passes through here, and so does every log line ([`crate::telemetry::init`]).

use crate::Secret;
use std::borrow::Cow;
use std::sync::Arc;

/// What stands where a secret was.
const HIDDEN: &str = "(hidden)";
/// Shorter secrets are only hidden where they stand alone: three letters are part of many words.
const ANYWHERE_FROM: usize = 4;

/// Secrets to take out of text. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Redactor {
    words: Arc<[Word]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Word {
    text: Secret,
    alone: bool,
}

/// Collects what a [`Redactor`] hides.
#[derive(Debug, Default)]
pub struct Words(Vec<Word>);

impl Words {
    /// Hides a secret wherever it appears.
    pub fn secret(&mut self, text: &str) {
        self.add(text, text.chars().count() < ANYWHERE_FROM);
    }

    /// Hides a name where it stands alone: a user called `nexis` must not hide `nexis.70.miner`.
    pub fn name(&mut self, text: &str) {
        self.add(text, true);
    }

    fn add(&mut self, text: &str, alone: bool) {
        // Also as `{:?}` and JSON write it.
        for text in [text.to_owned(), text.escape_debug().to_string()] {
            let word = Word {
                text: Secret::new(text),
                alone,
            };
            if !word.text.expose().is_empty() && !self.0.contains(&word) {
                self.0.push(word);
            }
        }
    }

    /// All that another one hides, but for one or two letters: hidden in every log line, a `1` would make lines
    /// unreadable. What drivers say passes through the address's own redactor, which hides them.
    pub fn extend(&mut self, other: &Redactor) {
        let in_any_line = |word: &&Word| word.text.expose().chars().count() > 2;
        for word in other.words.iter().filter(in_any_line) {
            if !self.0.contains(word) {
                self.0.push(word.clone());
            }
        }
    }
}

impl From<Words> for Redactor {
    fn from(Words(mut words): Words) -> Self {
        // Long ones first: a secret may be part of another.
        words.sort_by_key(|word| std::cmp::Reverse(word.text.expose().len()));
        Self {
            words: words.into(),
        }
    }
}

impl Redactor {
    /// The text without secrets.
    pub fn apply<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(text);
        for word in self.words.iter() {
            if text.contains(word.text.expose()) {
                text = Cow::Owned(without(&text, word));
            }
        }
        text
    }
}

fn without(text: &str, word: &Word) -> String {
    let secret = word.text.expose();
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(secret) {
        let (before, from) = rest.split_at(at);
        let after = from.get(secret.len()..).unwrap_or_default();
        kept.push_str(before);
        let stands_alone = !kept.ends_with(is_part_of_word) && !after.starts_with(is_part_of_word);
        if word.alone && !stands_alone {
            kept.push_str(secret);
        } else {
            kept.push_str(HIDDEN);
        }
        rest = after;
    }
    kept.push_str(rest);
    kept
}

/// Names of queues, hosts and programs hang together by these.
fn is_part_of_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '.' | '-' | '_')
}

#[cfg(test)]
mod tests {
    use super::{Redactor, Words};

    fn redactor(secrets: &[&str], names: &[&str]) -> Redactor {
        let mut words = Words::default();
        for secret in secrets {
            words.secret(secret);
        }
        for name in names {
            words.name(name);
        }
        words.into()
    }

    #[test]
    fn secrets_are_hidden_everywhere_and_names_where_they_stand_alone() {
        let redactor = redactor(&["hunter2", "hunter2-long", "pw", "q\"uote"], &["nexis"]);
        for (text, shown) in [
            ("nothing here", "nothing here"),
            ("xhunter2y hunter2-long", "x(hidden)y (hidden)"),
            ("pw spwn 'pw'", "(hidden) spwn '(hidden)'"),
            (
                "queue 'nexis.70.miner' refused user 'nexis'",
                "queue 'nexis.70.miner' refused user '(hidden)'",
            ),
            (r#"{"why":"q\"uote"}"#, r#"{"why":"(hidden)"}"#),
        ] {
            assert_eq!(redactor.apply(text), shown, "{text}");
        }
        assert_eq!(Redactor::default().apply("as it is"), "as it is");
    }
}
