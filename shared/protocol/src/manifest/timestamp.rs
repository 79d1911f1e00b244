//! The times that `created_at` may hold.

use crate::pyjson::PyValue;

/// Numbers beyond this are milliseconds.
const MOST_SECONDS: f64 = 2e10;
/// 0001-01-01T00:00:00Z and the last second of 9999, epoch seconds.
const YEARS_1_TO_9999: std::ops::Range<f64> = -62_135_596_800.0..253_402_300_800.0;

/// Epoch seconds in UTC, to the microsecond.
pub(super) fn epoch_sec(value: &PyValue) -> Option<f64> {
    match value {
        PyValue::Int { text } => from_number(text.parse().ok()?),
        PyValue::Float(value) => from_number(*value),
        PyValue::Str(text) => {
            let text = text.as_str()?;
            let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
            if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
                return from_number(text.parse().ok()?);
            }
            from_iso(text)
        }
        _ => None,
    }
}

/// The whole part by its floor, the fraction rounded to whole microseconds, a half upwards: as pydantic does, whose
/// sum is exact where that of floats would not be.
fn from_number(number: f64) -> Option<f64> {
    let (unit, per_second) = if number.abs() > MOST_SECONDS {
        (1e3, 1e3)
    } else {
        (1e6, 1.0)
    };
    let whole = number.floor();
    if !YEARS_1_TO_9999.contains(&(whole / per_second)) {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "within years 1 to 9999, in milliseconds at most"
    )]
    let (whole, fraction, unit) = (
        whole as i64,
        ((number - whole) * unit).round() as i64,
        unit as i64,
    );
    Some(seconds(whole * unit + fraction))
}

/// Microseconds as seconds: the nearest float, as Python's `timestamp()` gives it.
fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}

/// `YYYY-MM-DD`, or that with `[Tt _]HH:MM[:SS[.,f…]]` and `Z` or `±HH[:]MM`.
fn from_iso(text: &str) -> Option<f64> {
    let (year, rest) = number(text, 4)?;
    let (month, rest) = number(rest.strip_prefix('-')?, 2)?;
    let (day, rest) = number(rest.strip_prefix('-')?, 2)?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if year == 0 || !(1..=days).contains(&day) {
        return None;
    }
    let midnight = day_number(year, month, day) * 86_400;
    if rest.is_empty() {
        return Some(midnight as f64);
    }
    let (hour, rest) = number(rest.strip_prefix(['T', 't', ' ', '_'])?, 2)?;
    let (minute, mut rest) = number(rest.strip_prefix(':')?, 2)?;
    let (mut second, mut micros) = (0, 0_i64);
    if let Some(after) = rest.strip_prefix(':') {
        (second, rest) = number(after, 2)?;
        if let Some(after) = rest.strip_prefix(['.', ',']) {
            let len = after.bytes().take_while(u8::is_ascii_digit).count();
            let kept = after
                .get(..len.min(6))
                .filter(|digits| !digits.is_empty())?;
            micros = format!("{kept:0<6}").parse().ok()?;
            rest = after.get(len..)?;
        }
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let whole = midnight + hour * 3600 + minute * 60 + second - zone_sec(rest)?;
    Some(seconds(whole * 1_000_000 + micros))
}

fn zone_sec(zone: &str) -> Option<i64> {
    if matches!(zone, "" | "Z" | "z") {
        return Some(0);
    }
    let sign = if zone.starts_with('+') { 1 } else { -1 };
    let (hours, rest) = number(zone.strip_prefix(['+', '-', '\u{2212}'])?, 2)?;
    let (minutes, rest) = number(rest.strip_prefix(':').unwrap_or(rest), 2)?;
    (rest.is_empty() && hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

fn number(text: &str, digits: usize) -> Option<(i64, &str)> {
    let (head, rest) = text.split_at_checked(digits)?;
    let all = head.bytes().all(|b| b.is_ascii_digit());
    Some((head.parse().ok().filter(|_| all)?, rest))
}

/// Days since 1970-01-01, by years that begin in March.
const fn day_number(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + of_year
        - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_others_read_them() {
        for (text, seconds) in [
            ("2026-04-01T00:00:00Z", Some(1_775_001_600.0)),
            ("2026-04-01_00:00", Some(1_775_001_600.0)),
            ("2026-04-01", Some(1_775_001_600.0)),
            ("2026-04-01T00:00:00,1", Some(1_775_001_600.1)),
            ("2026-04-01T00:00:00.1234569", Some(1_775_001_600.123456)),
            ("2026-04-01T00:00:00.", None),
            ("2026-04-01T00:00:00+0100", Some(1_774_998_000.0)),
            ("2026-04-01T00:00:00\u{2212}01:30", Some(1_775_007_000.0)),
            ("2026-04-01T00:00:00+01", None),
            ("2026-04-01T00:00:00+24:00", None),
            ("2026-04-01T24:00:00", None),
            ("2026-02-29", None),
            ("2026-1-1", None),
            ("0000-01-01", None),
            ("0001-01-01", Some(-62_135_596_800.0)),
            (" 2026-04-01", None),
            ("2026-04-01Z", None),
            ("20260401", Some(20_260_401.0)),
            ("1775060910000.5", Some(1_775_060_910.000_5)),
            ("-1.5", Some(-1.5)),
            ("5.", Some(5.0)),
            ("1e9", None),
            ("nan", None),
            ("", None),
        ] {
            assert_eq!(epoch_sec(&PyValue::Str(text.into())), seconds, "{text:?}");
        }
        for (number, seconds) in [
            (1_775_037_600.123_456_4, 1_775_037_600.123_456),
            (7.0 / 128.0, 0.054_688),
            (-1.0 / 128.0, -0.007_812),
            (1_775_060_910_000.5, 1_775_060_910.000_5),
            (-1_775_060_910_000.5, -1_775_060_910.000_5),
            (20_000_000_000.001, 20_000_000.000_001),
            (-62_135_596_800.0, -62_135_596.8),
        ] {
            assert_eq!(
                epoch_sec(&PyValue::Float(number)),
                Some(seconds),
                "{number}"
            );
        }
        assert_eq!(epoch_sec(&PyValue::Float(253_402_300_800_000.0)), None);
        assert_eq!(epoch_sec(&PyValue::Float(f64::NAN)), None);
        assert_eq!(
            epoch_sec(&PyValue::Int {
                text: "20000000001".into()
            }),
            Some(20_000_000.001)
        );
        assert_eq!(epoch_sec(&PyValue::Bool(true)), None);
    }
}
