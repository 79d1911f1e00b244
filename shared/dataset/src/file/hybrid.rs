//! Runs and packed bits, as levels, dictionary indices and booleans are stored.

/// One run of the encoding.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Run<'a> {
    /// A value so many times.
    Repeated { value: u32, count: usize },
    /// So many values of the given width, packed.
    Packed { bytes: &'a [u8], count: usize },
}

/// Reads runs until the bytes end or make no run: others see no error there, only fewer values.
#[derive(Debug)]
pub(crate) struct Runs<'a> {
    bytes: &'a [u8],
    width: u32,
}

const MAX_GROUPS: u32 = i32::MAX.cast_unsigned() / 8;

impl<'a> Runs<'a> {
    pub(crate) fn new(bytes: &'a [u8], width: u32) -> Self {
        Self { bytes, width }
    }
}

impl<'a> Iterator for Runs<'a> {
    type Item = Run<'a>;

    fn next(&mut self) -> Option<Run<'a>> {
        let mut rest = self.bytes;
        let head = leb128_u32(&mut rest)?;
        let width = self.width as usize;
        if head & 1 == 0 {
            let (value, after) = rest.split_at_checked(width.div_ceil(8))?;
            let count = (head >> 1) as usize;
            if count == 0 {
                return None;
            }
            self.bytes = after;
            let mut word = [0; 4];
            word[..value.len()].copy_from_slice(value);
            return Some(Run::Repeated {
                value: u32::from_le_bytes(word),
                count,
            });
        }
        let groups = head >> 1;
        if groups == 0 || groups > MAX_GROUPS {
            return None;
        }
        let groups = groups as usize;
        if let Some((bytes, after)) = rest.split_at_checked(groups * width) {
            self.bytes = after;
            return Some(Run::Packed {
                bytes,
                count: groups * 8,
            });
        }
        // Some writers do not pad the last group.
        let count = rest.len() * 8 / width;
        if count <= (groups - 1) * 8 {
            return None;
        }
        self.bytes = &[];
        Some(Run::Packed { bytes: rest, count })
    }
}

/// A number in groups of seven bits that fits 32, or `None`.
pub(crate) fn leb128_u32(bytes: &mut &[u8]) -> Option<u32> {
    leb128(bytes, 5, 0x0f).and_then(|value| u32::try_from(value).ok())
}

/// The same for 64 bits.
pub(crate) fn leb128_u64(bytes: &mut &[u8]) -> Option<u64> {
    leb128(bytes, 10, 0x01)
}

fn leb128(bytes: &mut &[u8], most: usize, last: u8) -> Option<u64> {
    let mut value = 0_u64;
    for place in 0..most {
        let byte = *bytes.get(place)?;
        if place == most - 1 && byte > last {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            *bytes = &bytes[place + 1..];
            return Some(value);
        }
    }
    None
}

/// Value `at` of packed values of that width (at most 32 bits); bits behind the end are zero.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "width is 32 at most")]
pub(crate) fn packed(bytes: &[u8], at: usize, width: u32) -> u32 {
    packed_u64(bytes, at * width as usize, width) as u32
}

/// `width` bits from bit `from` on, least first.
#[inline]
pub(crate) fn packed_u64(bytes: &[u8], from: usize, width: u32) -> u64 {
    if width == 0 {
        return 0;
    }
    let (byte, shift) = (from / 8, from % 8);
    let low = match bytes.get(byte..).and_then(|rest| rest.first_chunk::<8>()) {
        Some(word) => u64::from_le_bytes(*word),
        None => partial(bytes, byte),
    };
    let mut value = low >> shift;
    if shift + width as usize > 64 {
        value |= u64::from(bytes.get(byte + 8).copied().unwrap_or(0)) << (64 - shift);
    }
    value & (u64::MAX >> (64 - width))
}

#[cold]
fn partial(bytes: &[u8], from: usize) -> u64 {
    let rest = bytes.get(from..).unwrap_or_default();
    let mut word = [0; 8];
    let count = rest.len().min(8);
    word[..count].copy_from_slice(&rest[..count]);
    u64::from_le_bytes(word)
}

fn level(value: u32) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}

/// Width in bits of levels up to `max`.
pub(crate) fn level_width(max: u16) -> u32 {
    u16::BITS - max.leading_zeros()
}

/// Appends `count` levels, as far as they are there, and answers how many there were; `None` when one is above `max`.
pub(crate) fn levels(bytes: &[u8], max: u16, count: usize, into: &mut Vec<u16>) -> Option<usize> {
    let width = level_width(max);
    let mut left = count;
    for run in Runs::new(bytes, width) {
        if left == 0 {
            break;
        }
        let begin = into.len();
        match run {
            Run::Repeated { value, count } => {
                let level = u16::try_from(value).ok().filter(|level| *level <= max)?;
                let count = count.min(left);
                into.resize(begin + count, level);
                left -= count;
            }
            Run::Packed { bytes, count } => {
                let count = count.min(left);
                into.extend((0..count).map(|at| level(packed(bytes, at, width))));
                left -= count;
                if into[begin..]
                    .iter()
                    .copied()
                    .max()
                    .is_some_and(|largest| largest > max)
                {
                    return None;
                }
            }
        }
    }
    Some(count - left)
}

/// Appends `count` values, as far as they are there; answers how many there were.
pub(crate) fn values(bytes: &[u8], width: u32, count: usize, into: &mut Vec<u32>) -> usize {
    let mut left = count;
    for run in Runs::new(bytes, width) {
        match run {
            Run::Repeated { value, count } => {
                let count = count.min(left);
                into.resize(into.len() + count, value);
                left -= count;
            }
            Run::Packed { bytes, count } => {
                let count = count.min(left);
                into.extend((0..count).map(|at| packed(bytes, at, width)));
                left -= count;
            }
        }
        if left == 0 {
            break;
        }
    }
    count - left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8], width: u32, count: usize) -> (usize, Vec<u32>) {
        let mut into = Vec::new();
        (values(bytes, width, count, &mut into), into)
    }

    #[test]
    fn runs_and_packed_values_are_unpacked() {
        assert_eq!(all(&[8, 5], 3, 10), (4, vec![5; 4]));
        assert_eq!(
            all(&[3, 0b1000_1000, 0b1100_0110, 0b1111_1010], 3, 8).1,
            (0..8).collect::<Vec<_>>()
        );
        assert_eq!(all(&[8, 5, 8, 6], 3, 6), (6, vec![5, 5, 5, 5, 6, 6]));
        assert_eq!(all(&[9], 0, 40), (32, vec![0; 32]), "values of no width");
    }

    #[test]
    fn what_makes_no_run_ends_the_values() {
        for bytes in [
            &[][..],
            &[0],
            &[1],
            &[8],
            &[0x80],
            &[0xff, 0xff, 0xff, 0xff, 0x1f],
            &[5, 0xff, 0xff],
        ] {
            assert_eq!(all(bytes, 8, 100).0, 0, "{bytes:?}");
        }
        // Two groups of which the last is not padded.
        assert_eq!(all(&[5, 1, 2, 3, 4, 5, 6, 7, 8, 9], 8, 100).0, 9);
    }

    #[test]
    fn bits_are_taken_from_anywhere() {
        let bytes: Vec<u8> = (1..=20).collect();
        for from in 0..100 {
            for width in 1..=64 {
                let expected = (0..width).fold(0_u64, |value, bit| {
                    let at = from + bit as usize;
                    let set = bytes
                        .get(at / 8)
                        .is_some_and(|byte| byte >> (at % 8) & 1 == 1);
                    value | u64::from(set) << bit
                });
                assert_eq!(packed_u64(&bytes, from, width), expected, "{from} {width}");
            }
        }
    }
}
