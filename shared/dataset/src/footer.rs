//! A look at the footer before the decoder follows it.

use crate::error::{DatasetError, within};
use crate::limits::Limits;
use crate::thrift::{FOOTER, Found, walk};

/// Bytes after the footer: its length and the magic.
const TAIL_BYTES: usize = 8;
/// Most elements of a list that no limit is about, such as key-value pairs.
const LIST_ELEMENTS: u64 = 1 << 14;

/// Checks what the decoder allocates, recurses or counts by.
pub(crate) fn check(bytes: &[u8], limits: &Limits) -> Result<(), DatasetError> {
    const NO_FOOTER: DatasetError = DatasetError::Broken { what: "no footer" };
    within(bytes.len(), limits.file_bytes, "bytes")?;
    let (body, tail) = bytes.split_last_chunk::<TAIL_BYTES>().ok_or(NO_FOOTER)?;
    let [a, b, c, d, magic @ ..] = *tail;
    if magic != *b"PAR1" {
        return Err(DatasetError::Broken {
            what: "it does not end in PAR1",
        });
    }
    let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).map_err(|_| NO_FOOTER)?;
    within(length, limits.footer_bytes, "footer bytes")?;
    let footer = body
        .len()
        .checked_sub(length)
        .and_then(|begin| body.get(begin..))
        .ok_or(NO_FOOTER)?;

    let mut children: Vec<i64> = Vec::new();
    let mut beyond = None;
    let mut found = |path: &[i16], found: Found| {
        let checked = match (path, found) {
            ([2], Found::List(count)) => count_within(count, limits.schema_elements, "columns"),
            ([4], Found::List(count)) => count_within(count, limits.row_groups, "row groups"),
            (_, Found::List(count)) => {
                return count <= LIST_ELEMENTS;
            }
            ([2], Found::Struct) => {
                children.push(0);
                Ok(())
            }
            ([2, 5], Found::Int(count)) => {
                if let Some(element) = children.last_mut() {
                    *element = count;
                }
                Ok(())
            }
            _ => Ok(()),
        };
        match checked {
            Ok(()) => true,
            Err(error) => {
                beyond = Some(error);
                false
            }
        }
    };
    let walked = walk(footer, FOOTER, &mut found);
    if let Some(error) = beyond {
        return Err(error);
    }
    walked.ok_or(DatasetError::Broken {
        what: "its footer is no thrift structure",
    })?;
    within(depth(&children), limits.schema_depth, "nested columns")
}

fn count_within(count: u64, limit: usize, what: &'static str) -> Result<(), DatasetError> {
    within(usize::try_from(count).unwrap_or(usize::MAX), limit, what)
}

/// How deep a schema is nested whose elements, written depth first, have so many children each.
fn depth(children: &[i64]) -> usize {
    let mut open: Vec<i64> = Vec::new();
    let mut deepest = 0;
    for &children in children {
        if let Some(left) = open.last_mut() {
            *left -= 1;
        }
        open.push(children);
        deepest = deepest.max(open.len());
        while open.last().is_some_and(|left| *left <= 0) {
            open.pop();
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_groups_that_are_open_at_once() {
        assert_eq!(depth(&[]), 0);
        assert_eq!(depth(&[2, 0, 0]), 2);
        assert_eq!(depth(&[2, 1, 1, 0, 0]), 4);
        assert_eq!(depth(&[1; 500]), 500);
        assert_eq!(depth(&[1, i64::MAX, 0, -5]), 3);
    }

    fn file(footer: &[u8]) -> Vec<u8> {
        let mut file = b"PAR1".to_vec();
        file.extend(footer);
        file.extend(u32::try_from(footer.len()).unwrap().to_le_bytes());
        file.extend(b"PAR1");
        file
    }

    #[test]
    fn a_deep_or_wide_schema_is_beyond_the_limits() {
        let limits = Limits::default();
        for (elements, what) in [(500_u16, "nested columns"), (600, "columns")] {
            let mut footer = vec![0x15, 2, 0x19, 0xfc];
            let low = elements.to_le_bytes()[0] | 0x80;
            footer.extend([low, (elements >> 7).to_le_bytes()[0]]);
            for _ in 0..elements {
                footer.extend([0x55, 2, 0]);
            }
            footer.push(0);
            match check(&file(&footer), &limits) {
                Err(DatasetError::TooLarge { what: found, .. }) => assert_eq!(found, what),
                other => panic!("{elements}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_footer_that_is_not_there_is_broken() {
        for bytes in [
            &b""[..],
            b"PAR1",
            b"PAR1\x09\0\0\0PAR1",
            b"PAR1\xff\xff\x03\0PAR1",
        ] {
            assert!(
                matches!(
                    check(bytes, &Limits::default()),
                    Err(DatasetError::Broken { .. })
                ),
                "{bytes:?}"
            );
        }
        assert!(matches!(
            check(b"PAR1\xff\xff\xff\x7fPAR1", &Limits::default()),
            Err(DatasetError::TooLarge { .. })
        ));
    }
}
