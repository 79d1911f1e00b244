//! Stored values as protocol cells, and as what Python can hold.

use crate::file::kind::{Kind, Physical};
use crate::file::leaf::View;
use crate::file::python::{check_number, is_total};
use crate::file::values::Values;
use crate::file::{Fault, Result, broken};
use nexis_protocol::row::Cell;

/// What a column wants, where a number of more than 128 bits has to become something smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    Text,
    Float,
    Int,
    Bool,
}

/// An error when Python has no value for one of these. `seen` keeps which values of the dictionary were looked at.
pub(crate) fn check_all(
    kind: &Kind,
    physical: Physical,
    view: &View<'_>,
    seen: &mut Vec<bool>,
) -> Result<()> {
    if !matches!(kind, Kind::Text | Kind::Decimal { .. }) && is_total(kind) {
        return Ok(());
    }
    if let Values::Indices {
        indices,
        dictionary,
    } = view.values
    {
        seen.resize(dictionary.len(), false);
        for &index in indices {
            let index = index as usize;
            if !std::mem::replace(&mut seen[index], true) {
                check(kind, physical, dictionary.get(index))?;
            }
        }
        return Ok(());
    }
    (0..view.count).try_for_each(|at| check(kind, physical, view.values.get(at)))
}

fn check(kind: &Kind, physical: Physical, bytes: &[u8]) -> Result<()> {
    match kind {
        Kind::Text => match std::str::from_utf8(bytes) {
            Ok(_) => Ok(()),
            Err(_) => Err(Fault::Unconvertible("a text that is no UTF-8")),
        },
        Kind::Decimal { bytes: most, .. } => decimal(physical, bytes, *most).map(|_| ()),
        _ => check_number(kind, number(physical, bytes)),
    }
}

/// One value as a cell; an error when Python has no value for it.
pub(crate) fn cell<'a>(
    kind: &Kind,
    physical: Physical,
    bytes: &'a [u8],
    wish: Wish,
) -> Result<Cell<'a>> {
    Ok(match kind {
        Kind::Text => match std::str::from_utf8(bytes) {
            Ok(text) => Cell::Text(text),
            Err(_) => return Err(Fault::Unconvertible("a text that is no UTF-8")),
        },
        Kind::Binary | Kind::FixedBinary => Cell::Bytes(bytes),
        Kind::Bool => Cell::Bool(bytes.first().is_some_and(|byte| *byte == 1)),
        Kind::Bool8 => Cell::Bool(number(physical, bytes).to_le_bytes()[0] != 0),
        Kind::Int { bits, signed } => Cell::Int(cut(number(physical, bytes), *bits, *signed)),
        Kind::Double => Cell::Float(f64::from_le_bytes(whole(bytes)?)),
        Kind::Float => Cell::Float(f64::from(f32::from_le_bytes(whole(bytes)?))),
        Kind::Half => Cell::Float(half(u16::from_le_bytes(whole(bytes)?))),
        Kind::Decimal { scale, bytes: most } => {
            decimal_cell(&decimal(physical, bytes, *most)?, *scale, wish)
        }
        Kind::Null => Cell::Null,
        Kind::Uuid => Cell::Other,
        Kind::Date | Kind::Time(_) | Kind::Timestamp { .. } | Kind::Duration(_) => {
            check_number(kind, number(physical, bytes))?;
            Cell::Other
        }
    })
}

fn whole<const N: usize>(bytes: &[u8]) -> Result<[u8; N]> {
    bytes
        .try_into()
        .map_err(|_| broken("a value has another length than its column"))
}

/// A stored integer; of the twelve bytes of an old time, nanoseconds since 1970.
fn number(physical: Physical, bytes: &[u8]) -> i64 {
    match (physical, bytes) {
        (Physical::Int32, [a, b, c, d]) => i64::from(i32::from_le_bytes([*a, *b, *c, *d])),
        (Physical::Int64, bytes) => bytes.try_into().map_or(0, i64::from_le_bytes),
        (Physical::Int96, bytes) => old_time(bytes).unwrap_or(0),
        _ => 0,
    }
}

fn old_time(bytes: &[u8]) -> Option<i64> {
    const EPOCH_DAY: i64 = 2_440_588;
    const NANOS_PER_DAY: i64 = 86_400 * 1_000_000_000;
    let (nanos, day) = bytes.split_first_chunk::<8>()?;
    let day = u32::from_le_bytes(day.try_into().ok()?);
    if day == 0 {
        return Some(0);
    }
    let days = i64::from(day) - EPOCH_DAY;
    Some(
        days.wrapping_mul(NANOS_PER_DAY)
            .wrapping_add(i64::from_le_bytes(*nanos)),
    )
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "as Arrow cuts stored integers"
)]
fn cut(value: i64, bits: u8, signed: bool) -> i128 {
    match (bits, signed) {
        (8, true) => i128::from(value as i8),
        (8, false) => i128::from(value as u8),
        (16, true) => i128::from(value as i16),
        (16, false) => i128::from(value as u16),
        (32, true) => i128::from(value as i32),
        (32, false) => i128::from(value as u32),
        (_, true) => i128::from(value),
        (_, false) => i128::from(value as u64),
    }
}

fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let exponent = i32::from(bits >> 10 & 0x1f);
    let fraction = f64::from(bits & 0x3ff);
    sign * match exponent {
        0 => fraction * 2_f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + fraction / 1024.0) * 2_f64.powi(exponent - 15),
    }
}

/// A decimal's digits as 32 bytes, big endian, two's complement.
fn decimal(physical: Physical, bytes: &[u8], most: usize) -> Result<[u8; 32]> {
    let stored = match physical {
        Physical::Int32 | Physical::Int64 => &number(physical, bytes).to_be_bytes()[..],
        _ => bytes,
    };
    let Some(first) = stored.first().filter(|_| stored.len() <= most) else {
        return Err(broken("a decimal has a length that others do not read"));
    };
    let mut wide = [if *first >= 0x80 { 0xff } else { 0 }; 32];
    wide[32 - stored.len()..].copy_from_slice(stored);
    Ok(wide)
}

fn decimal_cell(wide: &[u8; 32], scale: u32, wish: Wish) -> Cell<'static> {
    if let Some(unscaled) = narrow(wide) {
        return Cell::Decimal { unscaled, scale };
    }
    // Beyond 128 bits: without the zeros behind the point it may fit; else only its size matters.
    let (negative, mut digits) = digits(wide);
    let mut scale = scale as usize;
    while scale > 0 && digits.last() == Some(&b'0') {
        digits.pop();
        scale -= 1;
    }
    let text = String::from_utf8(digits).unwrap_or_default();
    let sign = if negative { -1 } else { 1 };
    if let Ok(unscaled) = text.parse::<i128>() {
        let scale = u32::try_from(scale).unwrap_or(u32::MAX);
        return Cell::Decimal {
            unscaled: sign * unscaled,
            scale,
        };
    }
    match wish {
        Wish::Float => {
            let size: f64 = format!("{text}e-{scale}").parse().unwrap_or(f64::INFINITY);
            Cell::Float(if negative { -size } else { size })
        }
        Wish::Int if scale == 0 => Cell::Int(sign * i128::MAX),
        Wish::Int | Wish::Bool => Cell::Float(0.5),
        Wish::Text => Cell::Other,
    }
}

fn narrow(wide: &[u8; 32]) -> Option<i128> {
    let (high, low) = wide.split_at(16);
    let low = i128::from_be_bytes(low.try_into().ok()?);
    let sign = if low < 0 { 0xff } else { 0 };
    high.iter().all(|byte| *byte == sign).then_some(low)
}

/// Sign and decimal digits.
fn digits(wide: &[u8; 32]) -> (bool, Vec<u8>) {
    let negative = wide[0] >= 0x80;
    let mut bytes = *wide;
    if negative {
        let mut carry = true;
        for byte in bytes.iter_mut().rev() {
            (*byte, carry) = (!*byte).overflowing_add(u8::from(carry));
        }
    }
    let mut digits = Vec::new();
    while bytes.iter().any(|byte| *byte != 0) {
        let mut rest = 0_u16;
        for byte in &mut bytes {
            let value = rest << 8 | u16::from(*byte);
            *byte = (value / 10).to_le_bytes()[0];
            rest = value % 10;
        }
        digits.push(b'0' + rest.to_le_bytes()[0]);
    }
    digits.reverse();
    (negative, digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one<'a>(kind: &Kind, physical: Physical, bytes: &'a [u8]) -> Cell<'a> {
        cell(kind, physical, bytes, Wish::Float).unwrap()
    }

    #[test]
    fn numbers_are_what_others_make_of_them() {
        let int = |bits, signed| Kind::Int { bits, signed };
        let minus = (-1_i32).to_le_bytes();
        assert_eq!(one(&int(8, true), Physical::Int32, &minus), Cell::Int(-1));
        assert_eq!(one(&int(8, false), Physical::Int32, &minus), Cell::Int(255));
        assert_eq!(
            one(&int(32, false), Physical::Int32, &minus),
            Cell::Int(u32::MAX.into())
        );
        assert_eq!(
            one(&int(64, false), Physical::Int64, &[0xff; 8]),
            Cell::Int(u64::MAX.into())
        );
        assert_eq!(
            one(&Kind::Float, Physical::Float, &5.15_f32.to_le_bytes()),
            Cell::Float(f64::from(5.15_f32))
        );
        for (bits, value) in [
            (0x4500, 5.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x0001, 2_f64.powi(-24)),
            (0x7c00, f64::INFINITY),
        ] {
            assert_eq!(half(bits).to_bits(), value.to_bits(), "{bits:x}");
        }
        assert!(half(0x7e00).is_nan());
    }

    #[test]
    fn decimals_of_any_length_are_numbers() {
        let kind = |bytes| Kind::Decimal { scale: 2, bytes };
        let fixed = |bytes: &'static [u8], most| {
            cell(
                &kind(most),
                Physical::Fixed(bytes.len()),
                bytes,
                Wish::Float,
            )
        };
        assert_eq!(
            fixed(&[0x01, 0xf4], 16),
            Ok(Cell::Decimal {
                unscaled: 500,
                scale: 2
            })
        );
        assert_eq!(
            fixed(&[0xff; 17], 32),
            Ok(Cell::Decimal {
                unscaled: -1,
                scale: 2
            })
        );
        assert!(fixed(&[0xff; 17], 16).is_err() && fixed(&[], 16).is_err());
        assert_eq!(
            one(&kind(16), Physical::Int32, &500_i32.to_le_bytes()),
            Cell::Decimal {
                unscaled: 500,
                scale: 2
            }
        );
        // 2^200, and 10^40 with two zeros behind the point.
        let mut wide = [0; 32];
        wide[6] = 1;
        assert_eq!(
            decimal_cell(&wide, 0, Wish::Float),
            Cell::Float(2_f64.powi(200))
        );
        assert_eq!(decimal_cell(&wide, 0, Wish::Int), Cell::Int(i128::MAX));
        assert_eq!(decimal_cell(&wide, 0, Wish::Text), Cell::Other);
        wide = [0xff; 32];
        wide[6] = 0xfe;
        assert!(digits(&wide).0);
        assert_eq!(String::from_utf8(digits(&[0; 32]).1).unwrap(), "");
    }

    #[test]
    fn old_times_are_nanoseconds() {
        let mut bytes = 5_000_u64.to_le_bytes().to_vec();
        bytes.extend(2_440_589_u32.to_le_bytes());
        assert_eq!(number(Physical::Int96, &bytes), 86_400_000_005_000);
    }
}
