//! Asset URIs of rows: from what a miner wrote to a key in its bucket (PROTOCOL §3).

use crate::ids::IntervalId;
use crate::text::python_strip;

/// Normalises an asset URI: blanks and leading `/` stripped, empty parts and `.` dropped. `None` when
/// nothing is left before splitting or a part is `..` (`invalid_asset_uri`). `Some("")` is legal: for `.`.
pub fn normalize_relative_uri(uri: &str) -> Option<String> {
    let rest = python_strip(uri).trim_start_matches('/');
    if rest.is_empty() {
        return None;
    }
    let mut path = String::with_capacity(rest.len());
    for part in rest.split('/') {
        match part {
            "" | "." => {}
            ".." => return None,
            _ => {
                if !path.is_empty() {
                    path.push('/');
                }
                path.push_str(part);
            }
        }
    }
    Some(path)
}

/// The bucket key of an asset: `{interval}/{normalised uri}`.
pub fn asset_key(interval: IntervalId, uri: &str) -> Option<String> {
    normalize_relative_uri(uri).map(|path| format!("{interval}/{path}"))
}

/// The last part of a normalised URI: the name under which a frame is listed (PROTOCOL §10).
pub fn file_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// Whether a clip id can be a path of folders: no NUL, no part between slashes longer than 255 bytes. Others' code
/// raises on a sampled row that fails this, so the submission gets `validation_exception` (PROTOCOL §6).
pub fn fits_path(clip_id: &str) -> bool {
    !clip_id.contains('\0') && clip_id.split('/').all(|part| part.len() <= 255)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_of_a_clip_id_may_have_255_bytes() {
        let part = "x".repeat(255);
        assert!(fits_path(&part));
        assert!(fits_path(&format!("{part}/{part}/{part}")));
        assert!(!fits_path(&format!("{part}x")));
        assert!(!fits_path(&format!("a/{part}x/b")));
        assert!(!fits_path(&format!("{}\u{e9}", "x".repeat(254))));
        assert!(!fits_path("a\0"));
    }
}
