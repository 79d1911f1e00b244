//! Rules that the form of a value does not express. Each has a test.

use super::reader::Reader;
use super::settings::Settings;
use super::{Origin, ProblemKind};
use crate::Address;
use std::net::ToSocketAddrs;
use std::time::Duration;

/// Longest lease: a takeover must be done within 15 s, and a lease has to run out first.
const LEASE_LONGEST: Duration = Duration::from_secs(12);
/// Shortest lease: below, a slow answer of the board costs the leader its place.
const LEASE_SHORTEST: Duration = Duration::from_secs(1);

/// Rules about one value.
pub(super) fn check_values(s: &Settings, r: &mut Reader<'_>) {
    for (name, id) in [
        ("R2_ACCOUNT_ID", &s.store.account_id),
        ("NEXIS_RECORD_INFO_ACCOUNT_ID", &s.record_info.account_id),
        ("NEXIS_OWNER_DB_ACCOUNT_ID", &s.owner.account_id),
    ] {
        if id.as_ref().is_some_and(|id| !is_account_id(id)) {
            r.refuse(name, "32 hex digits in lower case");
        }
    }
    if let Some(genesis) = &s.chain.genesis {
        let digits = genesis.strip_prefix("0x").unwrap_or(genesis);
        if digits.len() != 64 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            r.refuse("NEXIS_CHAIN_GENESIS", "a hash of 64 hex digits");
        }
    }
    if s.validator.specs.is_empty() {
        r.refuse("NEXIS_VALIDATOR_ENABLED_SPECS", "at least one spec");
    }
    for hotkey in &s.validator.exclude_hotkeys {
        if !(46..=49).contains(&hotkey.len()) || !hotkey.bytes().all(|b| b.is_ascii_alphanumeric())
        {
            r.refuse(
                "NEXIS_EXCLUDE_HOTKEYS",
                "hotkeys as SS58 addresses, separated by commas",
            );
            break;
        }
    }
    if let Some(listen) = &s.fleet.health_listen
        && listen.to_socket_addrs().is_err()
    {
        r.refuse("NEXIS_HEALTH_LISTEN", "host:port, such as 0.0.0.0:9090");
    }
    if !s.log.level.is_empty() && crate::telemetry::filter(&s.log.level).is_err() {
        r.refuse(
            "NEXIS_LOG_LEVEL",
            "error, warn, info, debug, trace or a tracing filter",
        );
    }
    if s.fleet.lease_ttl != Duration::MAX
        && !(LEASE_SHORTEST..=LEASE_LONGEST).contains(&s.fleet.lease_ttl)
    {
        r.refuse(
            "NEXIS_LEASE_TTL",
            "between 1s and 12s: a takeover must be done within 15s",
        );
    }
}

/// Rules between values.
pub(super) fn check_together(s: &Settings, r: &mut Reader<'_>) {
    check_tls(s, r);
    let mut conflict = |name: &str, rule: String| {
        r.collected
            .problem(Origin::Settings, name, ProblemKind::Conflict { rule });
    };
    if s.limits.job_deadline >= s.fleet.consumer_timeout {
        let rule = format!(
            "a job may take {:?}, but the broker takes it back after NEXIS_CONSUMER_TIMEOUT = {:?}",
            s.limits.job_deadline, s.fleet.consumer_timeout
        );
        conflict("NEXIS_JOB_DEADLINE", rule);
    }
    if s.limits.fetch_budget >= s.limits.job_deadline {
        let rule = format!(
            "one object may take {:?}, but a whole job only NEXIS_JOB_DEADLINE = {:?}",
            s.limits.fetch_budget, s.limits.job_deadline
        );
        conflict("NEXIS_FETCH_BUDGET", rule);
    }
    if s.validator.fetches < s.validator.permits {
        let rule = format!(
            "only {} jobs may be in flight, but NEXIS_VALIDATOR_PERMITS = {} may compute",
            s.validator.fetches, s.validator.permits
        );
        conflict("NEXIS_FETCH_PERMITS", rule);
    }
    if s.limits.scratch_bytes < s.limits.clip_bytes {
        let rule = format!(
            "{} bytes for all clips, but one may have NEXIS_MAX_CLIP_BYTES = {}",
            s.limits.scratch_bytes, s.limits.clip_bytes
        );
        conflict("NEXIS_SCRATCH_BYTES", rule);
    }
}

/// What is set for TLS must have an effect, and must be complete.
fn check_tls(s: &Settings, r: &mut Reader<'_>) {
    let broker: Vec<&Address> = s.fleet.amqp_url.iter().collect();
    let board: Vec<&Address> = s.fleet.redis_urls.iter().collect();
    for (addresses, tls) in [(broker, &s.fleet.amqp_tls), (board, &s.fleet.redis_tls)] {
        let url = format!("{}_URL", tls.prefix);
        let mut conflict = |name: &str, rule: String| {
            let kind = ProblemKind::Conflict { rule };
            r.collected.problem(Origin::Settings, name, kind);
        };
        let encrypted = |address: &&Address| address.is_encrypted();
        let (with, without): (Vec<&Address>, Vec<&Address>) =
            addresses.into_iter().partition(encrypted);
        if let (Some(one), Some(other)) = (with.first(), without.first()) {
            let rule = format!("{one} uses TLS and {other} does not: use one scheme for all nodes");
            conflict(&url, rule);
        } else if let Some(plain) = without.first() {
            for name in tls.set() {
                let rule = format!(
                    "it has no effect, because {url} is {plain}: write {}s:// for TLS",
                    plain.scheme()
                );
                conflict(&name, rule);
            }
        }
        if tls.cert_file.is_some() != tls.key_file.is_some() {
            let rule = format!("{0}_CERT_FILE and {0}_KEY_FILE need each other", tls.prefix);
            conflict(&format!("{}_CERT_FILE", tls.prefix), rule);
        }
        if with.len() > 1 && tls.server_name.is_some() {
            let rule = "a Redis Cluster's nodes have names of their own: have the nodes announce their host names";
            conflict(&format!("{}_SERVER_NAME", tls.prefix), rule.to_owned());
        }
    }
}

fn is_account_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
