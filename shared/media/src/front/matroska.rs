//! Elements of Matroska and WebM.

/// A variable-length number; `keep` leaves the length marker in, as ids do.
pub(crate) fn number(bytes: &[u8], at: &mut usize, keep: bool) -> Option<u64> {
    let first = *bytes.get(*at)?;
    let length = first.leading_zeros() as usize + 1;
    if length > 8 {
        return None;
    }
    let mut value = u64::from(first);
    if !keep {
        value &= (1 << (8 - length)) - 1;
    }
    for byte in bytes.get(*at + 1..*at + length)? {
        value = (value << 8) | u64::from(*byte);
    }
    *at += length;
    if !keep && value == (1 << (7 * length)) - 1 {
        return Some(u64::MAX);
    }
    Some(value)
}

/// Elements inside `bytes`: id and body. One of unknown or too large a size reaches to the end.
pub(crate) fn elements(bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let id = number(bytes, &mut at, true)?;
        let size = number(bytes, &mut at, false)?;
        let stated = at.saturating_add(usize::try_from(size).unwrap_or(usize::MAX));
        let body = bytes.get(at..stated.min(bytes.len()))?;
        at = stated.min(bytes.len());
        Some((id, body))
    })
}

pub(crate) fn child(bytes: &[u8], id: u64) -> Option<&[u8]> {
    elements(bytes)
        .find(|found| found.0 == id)
        .map(|found| found.1)
}

pub(crate) fn unsigned(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .take(8)
        .fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}
