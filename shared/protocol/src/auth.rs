//! What a request to the evidence API is signed over (PROTOCOL §15). Signing itself lives elsewhere.

/// The parts of a signed request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedRequest<'a> {
    /// HTTP method, any case.
    pub method: &'a str,
    /// Path without the query.
    pub path: &'a str,
    /// Hex SHA-256 of the body.
    pub body_sha256: &'a str,
    /// Seconds since the epoch; wide, because foreign requests may say anything that is an integer.
    pub timestamp: i128,
    /// Drawn once per request.
    pub nonce: &'a str,
}

impl SignedRequest<'_> {
    /// The text that is signed: `{METHOD}|{path}|{body hash}|{timestamp}|{nonce}`.
    pub fn message(&self) -> String {
        format!(
            "{}|{}|{}|{}|{}",
            self.method.to_uppercase(),
            self.path,
            self.body_sha256,
            self.timestamp,
            self.nonce
        )
    }
}
