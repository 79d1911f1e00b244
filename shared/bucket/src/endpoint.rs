//! Where an account's buckets are.

use std::str::FromStr;

/// Cloudflare R2, where the subnet's miners keep their packages (PROTOCOL §3).
const R2: &str = "https://{account_id}.r2.cloudflarestorage.com";
const PLACEHOLDER: &str = "{account_id}";

/// A URL in which `{account_id}` stands for the account of a bucket; the default is Cloudflare R2.
/// Another store or a test may leave the placeholder out: then all accounts share one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EndpointPattern(String);

/// Why a text is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// The pattern is not a plain http or https URL.
    #[error(
        "endpoint pattern '{pattern}' is not usable: {reason}; write it like {R2} or http://127.0.0.1:9000"
    )]
    Pattern {
        /// What was given.
        pattern: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// The account id holds characters that have no place in a host name.
    #[error("account id '{0}' is not made of 1 to 63 letters, digits and '-'")]
    Account(String),
}

impl EndpointPattern {
    /// The endpoint of one account.
    pub fn endpoint(&self, account_id: &str) -> Result<String, EndpointError> {
        if !self.0.contains(PLACEHOLDER) {
            return Ok(self.0.clone());
        }
        // The account id comes from a miner's commitment: anything that could end the host name
        // (`/`, `@`, `#`, `:`, `.`) would send our request, signed, to a host of its choice.
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        if account_id.is_empty() || account_id.len() > 63 || !account_id.bytes().all(plain) {
            return Err(EndpointError::Account(
                account_id.chars().take(80).collect(),
            ));
        }
        Ok(self.0.replace(PLACEHOLDER, account_id))
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for EndpointPattern {
    fn default() -> Self {
        Self(R2.to_owned())
    }
}

impl std::fmt::Display for EndpointPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for EndpointPattern {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let bad = |reason| EndpointError::Pattern {
            pattern: text.to_owned(),
            reason,
        };
        let trimmed = text.trim();
        let trimmed = trimmed
            .strip_suffix('/')
            .filter(|t| !t.ends_with('/'))
            .unwrap_or(trimmed);
        let rest = trimmed
            .strip_prefix("https://")
            .or_else(|| trimmed.strip_prefix("http://"))
            .ok_or_else(|| bad("it does not start with https:// or http://"))?;
        if trimmed.matches(PLACEHOLDER).count() > 1 {
            return Err(bad("it names {account_id} more than once"));
        }
        let host = rest.replace(PLACEHOLDER, "account");
        if host.is_empty() {
            return Err(bad("it has no host"));
        }
        if host.contains(['{', '}']) {
            return Err(bad("it has a placeholder other than {account_id}"));
        }
        if host.contains(['@', '?', '#', '\\']) || host.contains(char::is_whitespace) {
            return Err(bad("it has characters that do not belong in an endpoint"));
        }
        let authority = rest.split('/').next().unwrap_or_default();
        if rest.contains(PLACEHOLDER) && !authority.contains(PLACEHOLDER) {
            return Err(bad("{account_id} may only stand in the host"));
        }
        Ok(Self(trimmed.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_id_cannot_move_the_request_to_another_host() {
        let pattern = EndpointPattern::default();
        for hostile in [
            "",
            "evil.example/",
            "a@evil",
            "a#",
            "a:80",
            "a.b",
            "a b",
            "é",
            "a\0",
        ] {
            assert!(pattern.endpoint(hostile).is_err(), "{hostile:?}");
        }
        assert!(pattern.endpoint(&"a".repeat(64)).is_err());
        assert!(pattern.endpoint("0123456789abcdef0123456789abcdef").is_ok());
    }

    #[test]
    fn a_pattern_without_placeholder_serves_every_account() {
        let pattern: EndpointPattern = "http://127.0.0.1:9000/".parse().unwrap();
        assert_eq!(pattern.endpoint("x").unwrap(), "http://127.0.0.1:9000");
    }

    #[test]
    fn unusable_patterns_are_refused_with_the_reason() {
        for (text, reason) in [
            ("127.0.0.1:9000", "start with"),
            ("https://", "no host"),
            ("https://{account}.x", "other than"),
            ("https://{account_id}.{account_id}", "more than once"),
            ("https://me@host", "do not belong"),
            ("https://host/{account_id}", "in the host"),
        ] {
            let error = text.parse::<EndpointPattern>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
