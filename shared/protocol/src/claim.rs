//! What pruning and the hard checks need of a data set's rows, compact and in columns, so that the
//! scheduler can arbitrate a whole subnet without captions.

use crate::profile::Profile;
use crate::source::{SourceUrl, UrlRefused, row_index_keys};
use crate::text::{has_words, python_strip, strip};
use serde::ser::SerializeTuple as _;
use serde::{Deserialize, Serialize, Serializer};
use std::collections::HashMap;

/// What is looked at in one row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowFacts<'a> {
    /// The row's clip id.
    pub clip_id: &'a str,
    /// The row's source id.
    pub source_video_id: &'a str,
    /// The row's source URL.
    pub source_video_url: &'a str,
    /// The row's caption.
    pub caption: &'a str,
    /// Where the clip starts in its source, seconds.
    pub clip_start_sec: f64,
}

/// What the lexical rule says about a caption (PROTOCOL §8.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CaptionVerdict {
    /// Nothing to object to.
    Fine,
    /// Blank.
    Empty,
    /// Too few words.
    Short,
    /// Holds a link.
    UrlLike,
}

impl CaptionVerdict {
    /// Judges a caption.
    pub fn of(caption: &str, profile: &Profile) -> Self {
        let caption = python_strip(caption);
        if caption.is_empty() {
            return Self::Empty;
        }
        if !has_words(caption, profile.caption_min_words) {
            return Self::Short;
        }
        if holds_link(caption) {
            Self::UrlLike
        } else {
            Self::Fine
        }
    }
}

/// Whether there is `http://` or `https://` in any case. No character outside ASCII becomes one of these letters in
/// lower case, so bytes are enough; hardly a caption has a colon, so that is what is looked for.
fn holds_link(caption: &str) -> bool {
    caption.match_indices(':').any(|(at, _)| {
        let (before, after) = caption.as_bytes().split_at(at);
        let ends_with = |scheme: &[u8]| {
            before
                .len()
                .checked_sub(scheme.len())
                .is_some_and(|from| before[from..].eq_ignore_ascii_case(scheme))
        };
        after.starts_with(b"://") && (ends_with(b"http") || ends_with(b"https"))
    })
}

/// A source as rows name it: one per distinct pair of source id and URL.
#[derive(Debug, Clone, PartialEq)]
pub struct ClaimSource {
    /// source_video_id.
    pub id: String,
    /// source_video_url.
    pub url: String,
    /// What rows of the same video share, or why the URL is refused.
    pub key: Result<String, UrlRefused>,
    /// Whether the host is YouTube's.
    pub is_youtube: bool,
    /// Every key under which the global index may hold this source.
    pub index_keys: Vec<String>,
}

impl ClaimSource {
    fn new(id: &str, url: &str) -> Self {
        let read = SourceUrl::read(url);
        Self {
            id: id.to_owned(),
            url: url.to_owned(),
            is_youtube: read.as_ref().is_ok_and(SourceUrl::is_youtube),
            index_keys: read
                .as_ref()
                .map(|url| row_index_keys(url, id))
                .unwrap_or_default(),
            key: read.map(|url| url.row_key(id).to_owned()),
        }
    }

    /// The name under which the overlap check groups rows: the id without blanks around, else the URL as it is.
    pub fn label(&self) -> &str {
        match python_strip(&self.id) {
            "" => &self.url,
            id => id,
        }
    }
}

// Only what the miner wrote travels; what follows from it is computed again where it arrives.
impl Serialize for ClaimSource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut pair = serializer.serialize_tuple(2)?;
        pair.serialize_element(&self.id)?;
        pair.serialize_element(&self.url)?;
        pair.end()
    }
}

/// One miner's rows, in data set order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ReadClaims")]
pub struct Claims {
    sources: Vec<ClaimSource>,
    source_of: Vec<u32>,
    starts_sec: Vec<f64>,
    captions: Vec<CaptionVerdict>,
    /// All clip ids, one after the other.
    clip_ids: String,
    /// Where each ends.
    clip_id_ends: Vec<u64>,
}

/// Claims as they arrive, before anything is believed.
#[derive(Deserialize)]
struct ReadClaims {
    sources: Vec<(String, String)>,
    source_of: Vec<u32>,
    starts_sec: Vec<f64>,
    captions: Vec<CaptionVerdict>,
    clip_ids: String,
    clip_id_ends: Vec<u64>,
}

/// Why claims that arrived cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClaimsError {
    /// Columns of different lengths.
    #[error("reading claims: columns differ in length")]
    Ragged,
    /// A row names a source that is not there.
    #[error("reading claims: a row names an unknown source")]
    UnknownSource,
    /// Ends of clip ids do not ascend or cut a character.
    #[error("reading claims: the clip ids are cut wrongly")]
    BadCut,
}

impl TryFrom<ReadClaims> for Claims {
    type Error = ClaimsError;
    fn try_from(read: ReadClaims) -> Result<Self, ClaimsError> {
        let rows = read.source_of.len();
        if [
            read.starts_sec.len(),
            read.captions.len(),
            read.clip_id_ends.len(),
        ] != [rows; 3]
        {
            return Err(ClaimsError::Ragged);
        }
        if read
            .source_of
            .iter()
            .any(|at| read.sources.get(*at as usize).is_none())
        {
            return Err(ClaimsError::UnknownSource);
        }
        let mut begin = 0;
        for end in &read.clip_id_ends {
            let end = usize::try_from(*end).map_err(|_| ClaimsError::BadCut)?;
            if read.clip_ids.get(begin..end).is_none() {
                return Err(ClaimsError::BadCut);
            }
            begin = end;
        }
        if begin != read.clip_ids.len() {
            return Err(ClaimsError::BadCut);
        }
        Ok(Self {
            sources: read
                .sources
                .iter()
                .map(|(id, url)| ClaimSource::new(id, url))
                .collect(),
            source_of: read.source_of,
            starts_sec: read.starts_sec,
            captions: read.captions,
            clip_ids: read.clip_ids,
            clip_id_ends: read.clip_id_ends,
        })
    }
}

impl Claims {
    /// Collects the rows of one data set, in its order. Ids and URLs are stripped as the row schema strips.
    pub fn collect<'a>(rows: impl IntoIterator<Item = RowFacts<'a>>, profile: &Profile) -> Self {
        let mut claims = Self {
            sources: Vec::new(),
            source_of: Vec::new(),
            starts_sec: Vec::new(),
            captions: Vec::new(),
            clip_ids: String::new(),
            clip_id_ends: Vec::new(),
        };
        let mut known: HashMap<(&str, &str), u32> = HashMap::new();
        for row in rows {
            let pair = (strip(row.source_video_id), strip(row.source_video_url));
            let at = *known.entry(pair).or_insert_with(|| {
                claims.sources.push(ClaimSource::new(pair.0, pair.1));
                u32::try_from(claims.sources.len() - 1)
                    .expect("a data set of 4 billion sources does not fit in memory")
            });
            claims.source_of.push(at);
            claims.starts_sec.push(row.clip_start_sec);
            claims
                .captions
                .push(CaptionVerdict::of(row.caption, profile));
            claims.clip_ids.push_str(strip(row.clip_id));
            claims.clip_id_ends.push(claims.clip_ids.len() as u64);
        }
        claims
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.source_of.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.source_of.is_empty()
    }

    /// Row numbers, ascending.
    pub fn rows(&self) -> impl Iterator<Item = u32> + use<> {
        0..u32::try_from(self.len()).unwrap_or(u32::MAX)
    }

    /// The distinct sources.
    pub fn sources(&self) -> &[ClaimSource] {
        &self.sources
    }

    /// Position of a row's source in [`Claims::sources`].
    pub fn source_at(&self, row: u32) -> Option<usize> {
        self.source_of.get(row as usize).map(|at| *at as usize)
    }

    /// A row's source.
    pub fn source(&self, row: u32) -> Option<&ClaimSource> {
        self.sources.get(self.source_at(row)?)
    }

    /// A row's clip start, seconds.
    pub fn start_sec(&self, row: u32) -> Option<f64> {
        self.starts_sec.get(row as usize).copied()
    }

    /// What the lexical rule says about a row's caption.
    pub fn caption(&self, row: u32) -> Option<CaptionVerdict> {
        self.captions.get(row as usize).copied()
    }

    /// A row's clip id.
    pub fn clip_id(&self, row: u32) -> Option<&str> {
        let row = row as usize;
        let end = usize::try_from(*self.clip_id_ends.get(row)?).ok()?;
        let begin = match row.checked_sub(1) {
            Some(before) => usize::try_from(*self.clip_id_ends.get(before)?).ok()?,
            None => 0,
        };
        self.clip_ids.get(begin..end)
    }

    /// Whether a row has a URL on which others' code raises.
    pub fn has_refused_url(&self) -> bool {
        // Every listed source has a row: `collect` lists them by row, and a foreign list that does not
        // would only reject its own sender.
        self.sources.iter().any(|source| source.key.is_err())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_found_in_any_case_and_place_but_not_by_a_colon_alone() {
        for link in [
            "see http://a",
            "HTTPS://",
            "xhttp://y",
            "a: b httpS://c",
            "::http://",
            "äöü http://",
        ] {
            assert!(holds_link(link), "{link}");
        }
        for none in [
            "", ":", "://", "ttp://", "http:/ /", "http//", "ftp://a", "http :", "httpx://",
        ] {
            assert!(!holds_link(none), "{none}");
        }
    }
}
