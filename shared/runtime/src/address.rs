//! Addresses of servers that carry credentials: `scheme://user:password@host:port/path?query`.
//!
//! Read once, before anything else sees the text. Shown as scheme, host and port only. What cannot be read for certain
//! is refused: a `/` in a password that is not encoded would make a piece of the password the host's name, and a host
//! is something that logs show.

use crate::Secret;
use crate::redact::{Redactor, Words};
use std::borrow::Cow;
use std::fmt;

/// An address of one server.
#[derive(Clone)]
pub struct Address {
    scheme: &'static str,
    credentials: Option<Credentials>,
    host: String,
    port: Option<u16>,
    /// Path and query as written, with the leading `/` or `?`.
    tail: Secret,
    redactor: Redactor,
}

#[derive(Clone)]
struct Credentials {
    user: Secret,
    password: Option<Secret>,
}

/// Why a text is no address. Says what to write, and never what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It begins with none of the schemes.
    #[error("an address that begins with {0}")]
    Scheme(String),
    /// It is not certain where the credentials end.
    #[error(
        "user and password with every / ? # @ : % encoded as %2F %3F %23 %40 %3A %25 (and an @ in the path as %40)"
    )]
    Encoding,
    /// There is no host, or it is none.
    #[error("a host name after the credentials, such as broker.example or [::1]")]
    Host,
    /// The port is none.
    #[error("a port from 1 to 65535 after the host, or none")]
    Port,
    /// Blanks or control characters.
    #[error("an address without blanks")]
    Blank,
    /// Something after a `#`.
    #[error("an address without a #: write it as %23 in user and password")]
    Fragment,
}

impl Address {
    /// Reads an address that begins with one of the schemes (written in lower case, read in any case).
    pub fn parse(text: &str, schemes: &[&'static str]) -> Result<Self, AddressError> {
        let text = text.trim();
        let unknown = || {
            let known: Vec<String> = schemes.iter().map(|name| format!("{name}://")).collect();
            AddressError::Scheme(known.join(" or "))
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(unknown)?;
        let scheme = schemes
            .iter()
            .find(|known| known.eq_ignore_ascii_case(scheme))
            .ok_or_else(unknown)?;
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(AddressError::Blank);
        }
        let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if tail.contains('@') {
            return Err(AddressError::Encoding);
        }
        if tail.contains('#') {
            return Err(AddressError::Fragment);
        }
        let (credentials, place) = match authority.rsplit_once('@') {
            Some((credentials, place)) => (Some(credentials), place),
            None => (None, authority),
        };
        let mut words = Words::default();
        let credentials = credentials
            .map(|text| Credentials::parse(text, &mut words))
            .transpose()?;
        let (host, port) = place_of(place)?;
        Ok(Self {
            scheme,
            credentials,
            host: host.to_owned(),
            port,
            tail: Secret::from(tail),
            redactor: words.into(),
        })
    }

    /// The scheme, in lower case.
    pub fn scheme(&self) -> &'static str {
        self.scheme
    }

    /// Whether its scheme stands for TLS.
    pub fn is_encrypted(&self) -> bool {
        matches!(self.scheme, "amqps" | "rediss" | "wss" | "https")
    }

    /// The host: a name or an IP address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, when there is one.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The user, decoded; empty when only a password is given.
    pub fn user(&self) -> Option<&str> {
        self.credentials.as_ref().map(|both| both.user.expose())
    }

    /// The password, decoded.
    pub fn password(&self) -> Option<&str> {
        let password = self.credentials.as_ref()?.password.as_ref();
        password.map(Secret::expose)
    }

    /// Path and query as they were written. May hold a provider's key: not to be shown.
    pub fn tail(&self) -> &str {
        self.tail.expose()
    }

    /// A text of a driver or a server without these credentials.
    pub fn hide<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.redactor.apply(text)
    }

    /// What hides these credentials.
    pub fn redactor(&self) -> &Redactor {
        &self.redactor
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "{}://[{}]", self.scheme, self.host)?;
        } else {
            write!(f, "{}://{}", self.scheme, self.host)?;
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

impl Credentials {
    fn parse(text: &str, words: &mut Words) -> Result<Self, AddressError> {
        let (user, password) = match text.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (text, None),
        };
        let decode = |part: &str| decoded(part).ok_or(AddressError::Encoding);
        let both = Self {
            user: Secret::new(decode(user)?),
            password: password.map(decode).transpose()?.map(Secret::new),
        };
        words.secret(text);
        for name in [user, both.user.expose()] {
            words.name(name);
        }
        for secret in [password, both.password.as_ref().map(Secret::expose)] {
            words.secret(secret.unwrap_or_default());
        }
        Ok(both)
    }
}

/// Host and port of `host:port`, `[::1]:port`, or without a port.
pub(crate) fn place_of(place: &str) -> Result<(&str, Option<u16>), AddressError> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or(AddressError::Host)?;
            host.parse::<std::net::Ipv6Addr>()
                .map_err(|_| AddressError::Host)?;
            match port {
                "" => (host, None),
                port => (
                    host,
                    Some(port.strip_prefix(':').ok_or(AddressError::Port)?),
                ),
            }
        }
        None => {
            let (host, port) = match place.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (place, None),
            };
            let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            if host.is_empty() || !host.chars().all(is_name) {
                return Err(AddressError::Host);
            }
            (host, port)
        }
    };
    let port = match port {
        None => None,
        Some(port) => Some(
            port.parse()
                .ok()
                .filter(|port| *port > 0)
                .ok_or(AddressError::Port)?,
        ),
    };
    Ok((host, port))
}

/// Percent-encoded text as it is meant; `None` when an escape is broken or the result is no text.
pub fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            let digits = tail.get(..2)?;
            if !digits.iter().all(u8::is_ascii_hexdigit) {
                return None;
            }
            let digits = std::str::from_utf8(digits).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = tail.get(2..)?;
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

/// Addresses separated by commas, at least one. A comma belongs to a password unless an address follows it.
pub fn list(text: &str, schemes: &[&'static str]) -> Result<Vec<Address>, AddressError> {
    let begins = |part: &str| {
        let (scheme, _) = part.trim_start().split_once("://").unwrap_or_default();
        schemes
            .iter()
            .any(|known| known.eq_ignore_ascii_case(scheme))
    };
    let mut parts: Vec<String> = Vec::new();
    for part in text.split(',') {
        match parts.last_mut() {
            Some(last) if !begins(part) => {
                last.push(',');
                last.push_str(part);
            }
            _ => parts.push(part.to_owned()),
        }
    }
    parts
        .iter()
        .map(|part| Address::parse(part, schemes))
        .collect()
}

#[cfg(test)]
mod tests;
