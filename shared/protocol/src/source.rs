//! Source URLs as Python 3.11's `urlparse` reads them, and the keys that sources are known by
//! (PROTOCOL §7, §13). Not as WHATWG: `\` is an ordinary character, nothing is decoded in a host, scheme
//! and port do not matter.

use crate::text::python_strip;

/// A URL that the strict parser refuses outright. Others' code raises on it, so the submission that holds
/// it gets `validation_exception` (PROTOCOL §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlRefused {
    /// `[` without `]` in the authority, or the other way round.
    #[error("the authority has an unbalanced bracket")]
    UnbalancedBracket,
    /// What stands in brackets is no IPv6 address.
    #[error("the brackets of the authority hold no IPv6 address")]
    NotAnAddress,
    /// A character of the host turns into a delimiter under NFKC.
    #[error("the host holds a character that normalises into a delimiter")]
    DisguisedDelimiter,
}

/// The spec prefix that keys of the global index may carry.
pub const SPEC_PREFIX: &str = "video_v1:";

/// Parts of a URL that the rules look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlParts {
    /// Host in lower case, without user info and port.
    pub host: Option<String>,
    /// Path, without parameters, query and fragment.
    pub path: String,
    /// Query, still encoded.
    pub query: String,
}

/// Schemes whose last path segment may carry `;parameters`.
const WITH_PARAMETERS: [&str; 15] = [
    "", "ftp", "hdl", "prospero", "http", "imap", "https", "shttp", "rtsp", "rtspu", "sip", "sips",
    "mms", "sftp", "tel",
];

/// Characters whose NFKC form contains one of `/?#@:` (Unicode 14).
const DISGUISED: [char; 19] = [
    '\u{2047}', '\u{2048}', '\u{2049}', '\u{2100}', '\u{2101}', '\u{2105}', '\u{2106}', '\u{2a74}',
    '\u{fe13}', '\u{fe16}', '\u{fe55}', '\u{fe56}', '\u{fe5f}', '\u{fe6b}', '\u{ff03}', '\u{ff0f}',
    '\u{ff1a}', '\u{ff1f}', '\u{ff20}',
];

/// Splits a URL.
///
/// # Errors
/// [`UrlRefused`] where `urlparse` raises.
pub fn split_url(url: &str) -> Result<UrlParts, UrlRefused> {
    let cleaned: String = url
        .trim_start_matches(|c: char| c <= ' ')
        .chars()
        .filter(|c| !matches!(c, '\t' | '\r' | '\n'))
        .collect();
    let (scheme, rest) = split_scheme(&cleaned);
    let (authority, rest) = match rest.strip_prefix("//") {
        Some(rest) => rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len())),
        None => ("", rest),
    };
    check_brackets(authority)?;
    let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    if authority.contains(DISGUISED) {
        return Err(UrlRefused::DisguisedDelimiter);
    }
    let path = if WITH_PARAMETERS.contains(&scheme.as_str()) {
        cut_parameters(path)
    } else {
        path
    };
    Ok(UrlParts {
        host: host_of(authority),
        path: path.to_owned(),
        query: query.to_owned(),
    })
}

fn split_scheme(url: &str) -> (String, &str) {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    match url.split_once(':') {
        Some((scheme, rest))
            if scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.chars().all(allowed) =>
        {
            (scheme.to_ascii_lowercase(), rest)
        }
        _ => (String::new(), url),
    }
}

fn cut_parameters(path: &str) -> &str {
    let last = path.rfind('/').unwrap_or(0);
    path[last..].find(';').map_or(path, |at| &path[..last + at])
}

fn check_brackets(authority: &str) -> Result<(), UrlRefused> {
    match (authority.contains('['), authority.contains(']')) {
        (false, false) => return Ok(()),
        (true, true) => {}
        _ => return Err(UrlRefused::UnbalancedBracket),
    }
    let after = authority.split_once('[').map_or("", |(_, after)| after);
    let inside = after.split_once(']').map_or(after, |(inside, _)| inside);
    let fits = match inside.strip_prefix('v') {
        Some(future) => is_future_address(future),
        None => is_ipv6(inside),
    };
    if fits {
        Ok(())
    } else {
        Err(UrlRefused::NotAnAddress)
    }
}

/// What follows the `v` of an "IPvFuture": hex digits, a dot, anything.
fn is_future_address(text: &str) -> bool {
    text.split_once('.').is_some_and(|(version, rest)| {
        !version.is_empty() && !rest.is_empty() && version.bytes().all(|b| b.is_ascii_hexdigit())
    })
}

/// Whether Python's `ipaddress` reads an IPv6 address, with or without a zone.
fn is_ipv6(text: &str) -> bool {
    let address = match text.split_once('%') {
        Some((_, zone)) if zone.is_empty() || zone.contains('%') => return false,
        Some((address, _)) => address,
        None => text,
    };
    let mut groups: Vec<&str> = address.split(':').collect();
    if groups.len() < 3 {
        return false;
    }
    let last = groups.last().copied().unwrap_or_default();
    if last.contains('.') {
        if !is_ipv4(last) {
            return false;
        }
        // It stands for two groups of 16 bits.
        groups.pop();
        groups.extend(["0", "0"]);
    }
    if groups.len() > 9 {
        return false;
    }
    let is_group = |group: &&str| {
        (1..=4).contains(&group.len()) && group.bytes().all(|b| b.is_ascii_hexdigit())
    };
    let inner_gaps: Vec<usize> = (1..groups.len() - 1)
        .filter(|at| groups[*at].is_empty())
        .collect();
    match inner_gaps.as_slice() {
        [] => groups.len() == 8 && groups.iter().all(is_group),
        [gap] => {
            let (mut high, mut low) = (&groups[..*gap], &groups[gap + 1..]);
            if high[0].is_empty() {
                high = &high[1..];
                if !high.is_empty() {
                    return false;
                }
            }
            if low[low.len() - 1].is_empty() {
                low = &low[..low.len() - 1];
                if !low.is_empty() {
                    return false;
                }
            }
            high.len() + low.len() < 8 && high.iter().chain(low).all(is_group)
        }
        _ => false,
    }
}

fn is_ipv4(text: &str) -> bool {
    let octets: Vec<&str> = text.split('.').collect();
    octets.len() == 4
        && octets.iter().all(|octet| {
            (1..=3).contains(&octet.len())
                && octet.bytes().all(|b| b.is_ascii_digit())
                && (*octet == "0" || !octet.starts_with('0'))
                && octet.parse::<u8>().is_ok()
        })
}

fn host_of(authority: &str) -> Option<String> {
    let info = authority
        .rsplit_once('@')
        .map_or(authority, |(_, info)| info);
    let host = match info.split_once('[') {
        Some((_, bracketed)) => bracketed
            .split_once(']')
            .map_or(bracketed, |(host, _)| host),
        None => info.split_once(':').map_or(info, |(host, _)| host),
    };
    if host.is_empty() {
        return None;
    }
    Some(host.to_lowercase())
}

/// A source URL as the rules read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceUrl {
    /// Host in lower case.
    pub host: Option<String>,
    /// The YouTube video id it names. Empty when it names a blank one (`?v=%20`).
    pub video_id: Option<String>,
    /// The same by the rule for keys of the global index, where a blank `v` does not count (PROTOCOL §7).
    index_id: Option<String>,
    /// The URL without blanks around.
    pub stripped: String,
}

impl SourceUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`UrlRefused`] where others' code raises.
    pub fn read(url: &str) -> Result<Self, UrlRefused> {
        let stripped = python_strip(url);
        let parts = split_url(stripped)?;
        let (video_id, index_id) = video_ids(&parts);
        Ok(Self {
            host: parts.host,
            video_id,
            index_id,
            stripped: stripped.to_owned(),
        })
    }

    /// Whether the host is YouTube's (PROTOCOL §8.1).
    pub fn is_youtube(&self) -> bool {
        self.host
            .as_deref()
            .is_some_and(|host| is_youtube_dot_com(host) || host == "youtu.be")
    }

    /// What rows of the same source share: the video id, else the URL. Empty for a blank id and for blank text.
    pub fn key(&self) -> &str {
        self.video_id.as_deref().unwrap_or(&self.stripped)
    }

    /// The key of a row: that of its URL, else its source_video_id, else its URL.
    pub fn row_key<'a>(&'a self, source_video_id: &'a str) -> &'a str {
        [self.key(), python_strip(source_video_id)]
            .into_iter()
            .find(|key| !key.is_empty())
            .unwrap_or(&self.stripped)
    }

    /// The key of this URL in the global index. `None` for blank text.
    pub fn index_key(&self) -> Option<String> {
        if self.stripped.is_empty() {
            return None;
        }
        match (&self.index_id, &self.host) {
            (Some(id), _) => Some(watch_url(id)),
            (None, Some(_)) => Some(self.stripped.clone()),
            (None, None) => Some(watch_url(&self.stripped)),
        }
    }
}

fn is_youtube_dot_com(host: &str) -> bool {
    host.strip_suffix("youtube.com")
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn watch_url(id: &str) -> String {
    format!("https://www.youtube.com/watch?v={id}")
}

/// The video id for a row, and the one for a key of the global index.
fn video_ids(parts: &UrlParts) -> (Option<String>, Option<String>) {
    let Some(host) = parts.host.as_deref() else {
        return (None, None);
    };
    if host == "youtu.be" {
        let id = parts.path.trim_matches('/');
        let id = (!id.is_empty()).then(|| id.to_owned());
        return (id.clone(), id);
    }
    if !is_youtube_dot_com(host) {
        return (None, None);
    }
    let in_query = query_value(&parts.query, "v").map(|value| python_strip(&value).to_owned());
    let in_path = id_in_path(&parts.path);
    let named = |id: &Option<String>| id.clone().filter(|id| !id.is_empty());
    let index_id = named(&in_query).or_else(|| named(&in_path));
    (in_query.or(in_path), index_id)
}

/// The X of `/shorts/X`, `/embed/X` and `/v/X`.
fn id_in_path(path: &str) -> Option<String> {
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    match segments.next() {
        Some("shorts" | "embed" | "v") => segments.next().map(|id| python_strip(id).to_owned()),
        _ => None,
    }
}

/// The first non-empty value of a name, as Python's `parse_qs` gives it.
fn query_value(query: &str, name: &str) -> Option<String> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .filter(|(_, value)| !value.is_empty())
        .find(|(key, _)| unquote(key) == name)
        .map(|(_, value)| unquote(value))
}

/// `+` becomes a blank, `%XX` a byte; bytes that are no UTF-8 become U+FFFD.
fn unquote(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escaped = bytes
            .get(at + 1..at + 3)
            .filter(|_| byte == b'%')
            .and_then(hex_byte);
        if let Some(value) = escaped {
            plain.push(value);
            at += 3;
        } else {
            plain.push(if byte == b'+' { b' ' } else { byte });
            at += 1;
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let digit = |b: &u8| {
        char::from(*b)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    match digits {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    }
}

/// The key that an entry of the record-info object gets: any spelling of a video, with or without the
/// spec prefix, becomes its watch URL (PROTOCOL §13). `None` for blank keys.
///
/// # Errors
/// [`UrlRefused`] where others' code raises.
pub fn index_key(key: &str) -> Result<Option<String>, UrlRefused> {
    let key = python_strip(key);
    let key = key.strip_prefix(SPEC_PREFIX).unwrap_or(key);
    SourceUrl::read(key).map(|url| url.index_key())
}

/// Every key under which the global index may hold a row's source (PROTOCOL §7.1): video id,
/// source_video_id and URL, each also with the spec prefix, without repeats.
pub fn row_index_keys(url: &SourceUrl, source_video_id: &str) -> Vec<String> {
    let mut keys: Vec<String> = Vec::with_capacity(6);
    let id = python_strip(source_video_id);
    for key in [url.row_key(id), id, &url.stripped] {
        if !key.is_empty() && !keys.iter().any(|known| known == key) {
            keys.push(key.to_owned());
            keys.push(format!("{SPEC_PREFIX}{key}"));
        }
    }
    keys
}
