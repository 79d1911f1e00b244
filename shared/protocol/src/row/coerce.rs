//! Scalar coercions, exactly as lenient as other validators' row and manifest schemas.

use super::{Cell, CellFault};
use crate::pyjson::MAX_INT_DIGITS;

/// Text: text, or bytes that are UTF-8. Not stripped yet.
#[inline]
pub fn text(cell: Cell<'_>) -> Result<&str, CellFault> {
    match cell {
        Cell::Text(text) => Ok(text),
        Cell::Bytes(bytes) => std::str::from_utf8(bytes).map_err(|_| CellFault::NotText),
        _ => Err(CellFault::NotText),
    }
}

/// A float: numbers, booleans, numeric text.
#[inline]
pub fn float(cell: Cell<'_>) -> Result<f64, CellFault> {
    match cell {
        Cell::Bool(value) => Ok(f64::from(u8::from(value))),
        Cell::Int(value) => Ok(value as f64),
        Cell::Float(value) => Ok(value),
        Cell::Decimal { unscaled, scale } => format!("{unscaled}e-{scale}")
            .parse()
            .map_err(|_| CellFault::NotNumber),
        Cell::Text(text) => text_as_float(text).ok_or(CellFault::NotNumber),
        Cell::Bytes(bytes) => std::str::from_utf8(bytes)
            .ok()
            .and_then(text_as_float)
            .ok_or(CellFault::NotNumber),
        Cell::Null | Cell::Other => Err(CellFault::NotNumber),
    }
}

/// An integer: integers, integral floats within 64 bits, integral decimals, booleans, numeric text such as `" +5 "`,
/// `"5.0"`, `"1_0"`. Values beyond an `i128` are kept as its nearest.
#[inline]
pub fn int(cell: Cell<'_>) -> Result<i128, CellFault> {
    match cell {
        Cell::Bool(value) => Ok(i128::from(value)),
        Cell::Int(value) => Ok(value),
        Cell::Float(value) => float_as_int(value).ok_or(CellFault::NotInteger),
        Cell::Decimal { unscaled, scale } => {
            decimal_as_int(unscaled, scale).ok_or(CellFault::NotInteger)
        }
        Cell::Text(text) => text_as_int(text).ok_or(CellFault::NotInteger),
        Cell::Bytes(bytes) => std::str::from_utf8(bytes)
            .ok()
            .and_then(text_as_int)
            .ok_or(CellFault::NotInteger),
        Cell::Null | Cell::Other => Err(CellFault::NotInteger),
    }
}

/// A boolean: booleans, 0 and 1 as any number, and the words for them in any case, without blanks around.
pub fn bool(cell: Cell<'_>) -> Result<bool, CellFault> {
    let truth = match cell {
        Cell::Bool(value) => Some(value),
        Cell::Int(0) => Some(false),
        Cell::Int(1) => Some(true),
        Cell::Float(0.0) => Some(false),
        Cell::Float(1.0) => Some(true),
        Cell::Decimal { unscaled, scale } => match decimal_as_int(unscaled, scale) {
            Some(0) => Some(false),
            Some(1) => Some(true),
            _ => None,
        },
        Cell::Text(text) => truth_of(text),
        Cell::Bytes(bytes) => std::str::from_utf8(bytes).ok().and_then(truth_of),
        _ => None,
    };
    truth.ok_or(CellFault::NotBool)
}

fn truth_of(text: &str) -> Option<bool> {
    let is_one_of = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is_one_of(&["1", "true", "t", "yes", "y", "on"]) {
        Some(true)
    } else if is_one_of(&["0", "false", "f", "no", "n", "off"]) {
        Some(false)
    } else {
        None
    }
}

/// Blanks around and underscores inside do not go together.
fn text_as_float(text: &str) -> Option<f64> {
    text.trim()
        .parse()
        .ok()
        .or_else(|| without_underscores(text)?.parse().ok())
}

fn float_as_int(value: f64) -> Option<i128> {
    /// 2^63: whole floats at or beyond it are refused.
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "integral and within 64 bits"
    )]
    (value.fract() == 0.0 && value.abs() < LIMIT).then_some(value as i128)
}

fn decimal_as_int(unscaled: i128, scale: u32) -> Option<i128> {
    let Some(unit) = 10_i128.checked_pow(scale) else {
        return (unscaled == 0).then_some(0);
    };
    (unscaled % unit == 0).then(|| unscaled / unit)
}

fn text_as_int(text: &str) -> Option<i128> {
    let text = text.trim();
    let text = match text.strip_prefix('+') {
        Some(rest) if rest.starts_with('-') => return None,
        Some(rest) => rest,
        None => text,
    };
    // ".0", ".00": an integral float's tail. A bare point is none.
    let text = match text.split_once('.') {
        Some((whole, tail)) if !tail.is_empty() && tail.bytes().all(|b| b == b'0') => whole,
        Some(_) => return None,
        None => text,
    };
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let digits = without_underscores(digits)?;
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits = digits.trim_start_matches('0');
    if digits.len() > MAX_INT_DIGITS {
        return None;
    }
    if digits.is_empty() {
        return Some(0);
    }
    let value = digits.parse().unwrap_or(i128::MAX);
    Some(if negative { -value } else { value })
}

/// The text without single underscores between its characters; `None` when one leads, trails or is doubled.
fn without_underscores(text: &str) -> Option<String> {
    if text.starts_with('_') || text.ends_with('_') || text.contains("__") {
        return None;
    }
    Some(text.replace('_', ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_from_what_others_read_them_from() {
        for (cell, value) in [
            (Cell::Bool(true), Some(1)),
            (Cell::Float(5.0), Some(5)),
            (Cell::Float(5.5), None),
            (Cell::Float(1e18), Some(1_000_000_000_000_000_000)),
            (Cell::Float(1e19), None),
            (Cell::Float(f64::NAN), None),
            (Cell::Float(f64::INFINITY), None),
            (Cell::Text(" 5 "), Some(5)),
            (Cell::Text("5.00"), Some(5)),
            (Cell::Text("5."), None),
            (Cell::Text(".0"), None),
            (Cell::Text("1_0"), Some(10)),
            (Cell::Text("1__0"), None),
            (Cell::Text("1_"), None),
            (Cell::Text("+5"), Some(5)),
            (Cell::Text("+-5"), None),
            (Cell::Text("-007"), Some(-7)),
            (Cell::Text("5.0_0"), None),
            (Cell::Text("1e3"), None),
            (Cell::Text(""), None),
            (Cell::Text("\u{a0}5"), Some(5)),
            (Cell::Text("\u{1c}5"), None),
            (Cell::Text("-_5"), None),
            (Cell::Text("0_.0"), None),
            (Cell::Text("1_000.0"), Some(1000)),
            (Cell::Bytes(b" 5.0 "), Some(5)),
            (Cell::Bytes(b"\xff"), None),
            (
                Cell::Decimal {
                    unscaled: 128_000,
                    scale: 2,
                },
                Some(1280),
            ),
            (
                Cell::Decimal {
                    unscaled: 12_805,
                    scale: 1,
                },
                None,
            ),
            (Cell::Null, None),
        ] {
            assert_eq!(int(cell).ok(), value, "{cell:?}");
        }
    }

    #[test]
    fn floats_and_booleans_are_read_from_what_others_read_them_from() {
        for (cell, value) in [
            (Cell::Bool(true), Some(1.0)),
            (Cell::Int(5), Some(5.0)),
            (Cell::Text("5."), Some(5.0)),
            (Cell::Text("1_0.0_1"), Some(10.01)),
            (Cell::Text("1e1_0"), Some(1e10)),
            (Cell::Text("-INF"), Some(f64::NEG_INFINITY)),
            (Cell::Text("0x10"), None),
            (Cell::Text("5,0"), None),
            (Cell::Text("_1"), None),
            (Cell::Text("\u{1c}5"), None),
            (Cell::Bytes(b"5"), Some(5.0)),
            (Cell::Bytes(b" 1_0 "), None),
            (
                Cell::Decimal {
                    unscaled: 515,
                    scale: 2,
                },
                Some(5.15),
            ),
            (Cell::Other, None),
        ] {
            assert_eq!(float(cell).ok(), value, "{cell:?}");
        }
        for (cell, value) in [
            (Cell::Text("YES"), Some(true)),
            (Cell::Text("oFF"), Some(false)),
            (Cell::Text(" true"), None),
            (Cell::Text("1.0"), None),
            (Cell::Float(-0.0), Some(false)),
            (Cell::Float(0.5), None),
            (Cell::Int(2), None),
            (Cell::Bytes(b"Y"), Some(true)),
            (
                Cell::Decimal {
                    unscaled: 10,
                    scale: 1,
                },
                Some(true),
            ),
            (Cell::Null, None),
        ] {
            assert_eq!(bool(cell).ok(), value, "{cell:?}");
        }
    }
}
