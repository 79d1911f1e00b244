//! NAL units.

/// NAL units with a length in front; `None` when a length does not fit, as a decoder refuses the sample.
pub(crate) fn prefixed(mut sample: &[u8], size: usize) -> Option<Vec<&[u8]>> {
    let mut nals = Vec::new();
    while sample.len() > size {
        let length = sample[..size]
            .iter()
            .fold(0usize, |sum, b| (sum << 8) | usize::from(*b));
        if length == 0 {
            return None;
        }
        nals.push(sample.get(size..size.checked_add(length)?)?);
        sample = &sample[size + length..];
    }
    Some(nals)
}

/// NAL units between start codes.
pub(crate) fn annex_b(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = next_start(bytes);
    std::iter::from_fn(move || {
        let begin = rest?;
        rest = next_start(begin);
        let end = rest.map_or(begin.len(), |next| begin.len() - next.len() - 3);
        begin.get(..end)
    })
}

/// What follows the next start code.
fn next_start(bytes: &[u8]) -> Option<&[u8]> {
    let at = bytes.windows(3).position(|w| w == [0, 0, 1])?;
    bytes.get(at + 3..)
}
