//! Row numbers as they travel in a plan: one bit per row, or a list when few of many rows are in it. A plan holds those
//! of every miner, up to a million each.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize, Deserialize)]
enum RowSet {
    /// Ascending; row `n` is bit `n % 8` of byte `n / 8`.
    Bits(Vec<u8>),
    /// In this order.
    List(Vec<u32>),
}

/// Below this many bytes of bits for each row, bits are shorter than a list.
const BYTES_PER_LISTED: usize = 2;

pub(crate) fn serialize<S: Serializer>(rows: &[u32], serializer: S) -> Result<S::Ok, S::Error> {
    let ascends = rows.windows(2).all(|pair| pair[0] < pair[1]);
    let bytes = rows.last().map_or(0, |&last| last as usize / 8 + 1);
    if !ascends || bytes > BYTES_PER_LISTED.saturating_mul(rows.len()) {
        return RowSet::List(rows.to_vec()).serialize(serializer);
    }
    let mut bits = vec![0; bytes];
    for &row in rows {
        bits[row as usize / 8] |= 1_u8 << (row % 8);
    }
    RowSet::Bits(bits).serialize(serializer)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<u32>, D::Error> {
    Ok(match RowSet::deserialize(deserializer)? {
        RowSet::List(rows) => rows,
        RowSet::Bits(bits) => (0..)
            .zip(bits)
            .flat_map(|(at, byte): (u32, u8)| {
                (0..8)
                    .filter(move |bit| byte >> bit & 1 == 1)
                    .map(move |bit| at * 8 + bit)
            })
            .collect(),
    })
}
