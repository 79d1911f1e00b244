//! Whether the server lets us do all that we shall do: at the start every right and its eviction policy, then again and
//! again a write.

use crate::board::RedisBoard;
use crate::keys::Probe;
use crate::link::Ask;
use crate::meter::Call;
use nexis_ports::BoardError;
use redis::{Cmd, Value};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// The only policy under which Redis keeps what it was given.
const KEEPS: &str = "noeviction";
/// A probe's key goes by itself.
const PROBE_MS: &str = "10000";

/// Rights that were missed.
#[derive(Default)]
struct Missing {
    commands: BTreeSet<String>,
    keys: BTreeSet<String>,
    channel: Option<String>,
}

impl RedisBoard {
    /// What must hold before the first write: every right that this process will use, and a server that keeps all.
    pub(crate) async fn check(&self) -> Result<(), BoardError> {
        self.check_rights().await?;
        if self.eviction().await?.is_none() {
            tracing::warn!(
                "cannot see the board's maxmemory-policy (INFO and CONFIG are forbidden): it must be {KEEPS}"
            );
        }
        Ok(())
    }

    /// Whether the board takes a write, and keeps it.
    pub async fn look(&self) -> Result<(), BoardError> {
        let probe = self.inner.keys.probe();
        let [key, ..] = probe.keys();
        let mut write = redis::cmd("SET");
        write.arg(key).arg("").arg("PX").arg(PROBE_MS);
        let links = &self.inner.links;
        links.ask::<()>(Call::Write, &Ask::One(write)).await?;
        self.eviction().await.map(|_| ())
    }

    /// The eviction policy, as far as we may ask; an error when a server evicts. A board that drops a key under
    /// pressure would lose a part of a round.
    async fn eviction(&self) -> Result<Option<()>, BoardError> {
        let mut info = redis::cmd("INFO");
        info.arg("memory");
        let mut config = redis::cmd("CONFIG");
        config.arg("GET").arg("maxmemory-policy");
        for question in [info, config] {
            let answer = self.inner.links.ask(Call::Read, &Ask::One(question)).await;
            let answer: Value = match answer {
                Ok(answer) => answer,
                Err(BoardError::Refused(_)) => continue,
                Err(fault) => return Err(fault),
            };
            let mut policies = Vec::new();
            policies_of(&answer, &mut policies);
            if let Some(evicts) = policies.iter().find(|policy| *policy != KEEPS) {
                return Err(BoardError::Refused(format!(
                    "its maxmemory-policy is {evicts}, under which it drops parts of rounds when memory is short: set \
                     maxmemory-policy {KEEPS}"
                )));
            }
            if !policies.is_empty() {
                return Ok(Some(()));
            }
        }
        Ok(None)
    }

    async fn check_rights(&self) -> Result<(), BoardError> {
        let mut missing = Missing::default();
        // The subnet's slot and an interval's: a user may be allowed one and not the other.
        for probe in [self.inner.keys.probe(), self.inner.keys.round_probe()] {
            self.try_commands(&probe, &mut missing).await?;
            self.try_scripts(&probe, &mut missing).await?;
        }
        let channel = self.inner.keys.channel();
        match self.inner.links.subscribe(&channel).await {
            Ok(_) => {}
            Err(BoardError::Refused(_)) => missing.channel = Some(channel),
            Err(fault) => return Err(fault),
        }
        missing
            .sentence()
            .map_or(Ok(()), |sentence| Err(BoardError::Refused(sentence)))
    }

    async fn try_commands(&self, probe: &Probe, missing: &mut Missing) -> Result<(), BoardError> {
        let [string, hash, set, sorted] = probe.keys();
        let mut write = redis::cmd("SET");
        write.arg(string).arg("").arg("PX").arg(PROBE_MS);
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg("return 1");
        let commands = [
            ("set", write),
            ("get", Cmd::get(string)),
            ("hget", Cmd::hget(hash, "field")),
            ("hmget", Cmd::hmget(hash, &["field", "other"])),
            ("hgetall", Cmd::hgetall(hash)),
            ("hkeys", Cmd::hkeys(hash)),
            ("hexists", Cmd::hexists(hash, "field")),
            ("smembers", Cmd::smembers(set)),
            ("sismember", Cmd::sismember(set, "member")),
            ("zrange", Cmd::zrange(sorted, 0, -1)),
            ("script|load", load),
        ];
        for (name, command) in commands {
            let tried = self
                .inner
                .links
                .ask::<Value>(Call::Read, &Ask::One(command))
                .await;
            missing.note(name, probe, tried.map(|_| ()))?;
        }
        let mut transaction = redis::pipe();
        // Not as the driver's own transaction: it loses count of its answers when the first one is a refusal.
        transaction.cmd("MULTI").cmd("EXEC");
        let tried = self
            .inner
            .links
            .ask::<Value>(Call::Read, &Ask::Many(transaction))
            .await;
        missing.note("multi, exec", probe, tried.map(|_| ()))
    }

    async fn try_scripts(&self, probe: &Probe, missing: &mut Missing) -> Result<(), BoardError> {
        let channel = self.inner.keys.channel();
        let script = &self.inner.scripts.rights;
        let tried = self
            .script(Call::Read, script, probe.keys(), &[channel.as_bytes()])
            .await;
        let failed: Vec<String> = match tried {
            Ok(failed) => failed,
            Err(fault) => return missing.note("evalsha", probe, Err(fault)),
        };
        for pair in failed.chunks(2) {
            let [name, error] = pair else {
                continue;
            };
            if !is_about_rights(error) {
                return Err(BoardError::Unavailable(error.clone()));
            }
            if name == "PUBLISH" && error.contains("channel") {
                missing.channel = Some(channel.clone());
            } else {
                let refused = BoardError::Refused(error.clone());
                missing.note(&name.to_ascii_lowercase(), probe, Err(refused))?;
            }
        }
        Ok(())
    }
}

impl Missing {
    fn note(
        &mut self,
        name: &str,
        probe: &Probe,
        tried: Result<(), BoardError>,
    ) -> Result<(), BoardError> {
        match tried {
            Ok(()) => Ok(()),
            // The server has no code that tells a forbidden key from a forbidden command.
            Err(BoardError::Refused(said)) if said.contains(" key") => {
                self.keys.insert(probe.pattern().to_owned());
                Ok(())
            }
            Err(BoardError::Refused(_)) => {
                self.commands.insert(name.to_owned());
                Ok(())
            }
            Err(fault) => Err(fault),
        }
    }

    fn sentence(&self) -> Option<String> {
        let mut sentence = String::new();
        let list = |names: &BTreeSet<String>| {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            names.join(", ")
        };
        // Writing to a String cannot fail.
        if !self.commands.is_empty() {
            write!(sentence, "; commands: {}", list(&self.commands)).ok();
        }
        if !self.keys.is_empty() {
            write!(sentence, "; keys: {}", list(&self.keys)).ok();
        }
        if let Some(channel) = &self.channel {
            write!(sentence, "; channel: {channel} (to publish and subscribe)").ok();
        }
        let missing = sentence.strip_prefix("; ")?;
        Some(format!(
            "its user lacks rights ({missing}): docs/fleet.md has the rules that the user needs"
        ))
    }
}

/// A script hears of a missing right in words only.
fn is_about_rights(error: &str) -> bool {
    ["NOPERM", "The user executing the script", "permission"]
        .iter()
        .any(|words| error.contains(words))
}

/// The policies in an answer to INFO (lines of text) or CONFIG GET (name and value), of one server or of many.
fn policies_of(answer: &Value, found: &mut Vec<String>) {
    match answer {
        Value::BulkString(bytes) => policies_in(&String::from_utf8_lossy(bytes), found),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => policies_in(text, found),
        Value::Array(values) | Value::Set(values) => {
            if let [name, value] = values.as_slice()
                && text_of(name).as_deref() == Some("maxmemory-policy")
            {
                found.extend(text_of(value));
                return;
            }
            for value in values {
                policies_of(value, found);
            }
        }
        Value::Map(pairs) => {
            for (name, value) in pairs {
                if text_of(name).as_deref() == Some("maxmemory-policy") {
                    found.extend(text_of(value));
                } else {
                    policies_of(value, found);
                }
            }
        }
        _ => {}
    }
}

fn policies_in(text: &str, found: &mut Vec<String>) {
    let policy = |line: &str| {
        line.trim()
            .strip_prefix("maxmemory_policy:")
            .map(str::to_owned)
    };
    found.extend(text.lines().filter_map(policy));
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        Value::SimpleString(text) => Some(text.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// Names that a script gives to a function: `redis.call('GET', …)`.
    fn commands(text: &str, call: &str) -> BTreeSet<String> {
        let after = text.split(call).skip(1);
        after
            .filter_map(|rest| rest.split('\'').next())
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn every_command_of_every_script_is_tried_at_the_start() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
        let mut used = BTreeSet::new();
        for entry in std::fs::read_dir(&folder).expect("the scripts' folder") {
            let path = entry.expect("a file").path();
            let text = std::fs::read_to_string(&path).expect("a script");
            used.extend(commands(&text, "redis.call('"));
        }
        let rights = std::fs::read_to_string(folder.join("rights.lua")).expect("the script");
        let tried = commands(&rights, "try('");
        let untried: Vec<&String> = used.difference(&tried).collect();
        assert!(used.len() > 15, "{used:?}");
        assert!(
            untried.is_empty(),
            "add to scripts/rights.lua and docs/fleet.md: {untried:?}"
        );
    }
}
