//! Which values Python has no value for: `to_pylist` raises on them.

use super::footer::Unit;
use super::kind::Kind;
use super::{Fault, Result};
use std::collections::HashMap;
use std::sync::LazyLock;

const DAY: i128 = 86_400;
/// 0001-01-01 and the end of 9999-12-31, in days and seconds after 1970-01-01.
const FIRST_DAY: i64 = -719_162;
const LAST_DAY: i64 = 2_932_896;
const MICROS: i128 = 1_000_000;
const FIRST_MICRO: i128 = FIRST_DAY as i128 * DAY * MICROS;
const LAST_MICRO: i128 = (LAST_DAY as i128 + 1) * DAY * MICROS - 1;
/// Most days of a `timedelta`.
const DELTA_DAYS: i128 = 999_999_999;

const NO_TIME: Fault = Fault::Unconvertible("a time that Python cannot hold");
const NO_ZONE: Fault = Fault::Unconvertible("a time zone that is not known");

/// A time zone, as far as it decides whether a time can be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Zone {
    Unknown,
    /// Seconds east of UTC in the first and the last year.
    Known {
        first: i32,
        last: i32,
    },
}

impl Zone {
    pub(crate) const UTC: Self = Self::Known { first: 0, last: 0 };

    /// A zone by its name; `None` for no name, which is no zone.
    pub(crate) fn of(name: &[u8]) -> Option<Self> {
        if name.is_empty() {
            return None;
        }
        let Ok(name) = std::str::from_utf8(name) else {
            return Some(Self::Unknown);
        };
        let offset = fixed(name).map(|offset| (offset, offset));
        let name = ["posix/", "right/"]
            .iter()
            .find_map(|folder| name.strip_prefix(folder))
            .unwrap_or(name);
        let known = offset.or_else(|| ZONES.get(name).copied());
        Some(known.map_or(Self::Unknown, |(first, last)| Self::Known { first, last }))
    }
}

/// `+05:30` and the like, in seconds.
fn fixed(name: &str) -> Option<i32> {
    let [sign, h1, h2, b':', m1, m2] = *name.as_bytes() else {
        return None;
    };
    let digit = |byte: u8| byte.is_ascii_digit().then(|| i32::from(byte - b'0'));
    let hours = digit(h1)? * 10 + digit(h2)?;
    let minutes = digit(m1)? * 10 + digit(m2)?;
    let seconds = (hours * 60 + minutes) * 60;
    match sign {
        b'+' if hours < 24 && minutes < 60 => Some(seconds),
        b'-' if hours < 24 && minutes < 60 => Some(-seconds),
        _ => None,
    }
}

/// All names of the time zone database, with their first and last offset.
static ZONES: LazyLock<HashMap<&'static str, (i32, i32)>> = LazyLock::new(|| {
    let line = |line: &'static str| {
        let mut words = line.split(' ');
        let name = words.next()?;
        let mut offset = || words.next()?.parse().ok();
        Some((name, (offset()?, offset()?)))
    };
    include_str!("zones.txt").lines().filter_map(line).collect()
});

/// An error when Python has no value for a number of this kind.
pub(crate) fn check_number(kind: &Kind, value: i64) -> Result<()> {
    match kind {
        Kind::Date if !(FIRST_DAY..=LAST_DAY).contains(&value) => Err(NO_TIME),
        Kind::Time(unit) => instant(value, *unit, None),
        Kind::Timestamp { unit, zone } => instant(value, *unit, *zone),
        Kind::Duration(unit) => duration(value, *unit),
        _ => Ok(()),
    }
}

/// Whether no number of this kind can be an error.
pub(crate) fn is_total(kind: &Kind) -> bool {
    !matches!(
        kind,
        Kind::Date | Kind::Time(_) | Kind::Timestamp { .. } | Kind::Duration(_)
    )
}

fn instant(value: i64, unit: Unit, zone: Option<Zone>) -> Result<()> {
    let offset = match zone {
        None => None,
        Some(Zone::Unknown) => return Err(NO_ZONE),
        Some(Zone::Known { first, last }) => Some(if value < 0 { first } else { last }),
    };
    let micros = micros(value, unit)?;
    let local = micros + i128::from(offset.unwrap_or(0)) * MICROS;
    let range = FIRST_MICRO..=LAST_MICRO;
    if range.contains(&micros) && range.contains(&local) {
        Ok(())
    } else {
        Err(NO_TIME)
    }
}

fn duration(value: i64, unit: Unit) -> Result<()> {
    let days = micros(value, unit)?.div_euclid(DAY * MICROS);
    if (-DELTA_DAYS..=DELTA_DAYS).contains(&days) {
        Ok(())
    } else {
        Err(NO_TIME)
    }
}

fn micros(value: i64, unit: Unit) -> Result<i128> {
    let value = i128::from(value);
    match unit {
        Unit::Second => Ok(value * MICROS),
        Unit::Milli => Ok(value * 1_000),
        Unit::Micro => Ok(value),
        Unit::Nano if value % 1_000 == 0 => Ok(value / 1_000),
        Unit::Nano => Err(Fault::Unconvertible("a time with a nanosecond part")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_known_by_name_or_offset() {
        assert_eq!(Zone::of(b""), None);
        for name in [
            "UTC",
            "Europe/Paris",
            "posix/Asia/Tokyo",
            "+05:30",
            "-23:59",
            "EST5EDT",
        ] {
            assert_ne!(Zone::of(name.as_bytes()), Some(Zone::Unknown), "{name}");
        }
        for name in [
            "utc",
            "Mars/Phobos",
            "+5:30",
            "+24:00",
            "+05:60",
            "UTC ",
            "America",
            "Z",
        ] {
            assert_eq!(Zone::of(name.as_bytes()), Some(Zone::Unknown), "{name}");
        }
        assert_eq!(Zone::of(b"\xff"), Some(Zone::Unknown));
    }

    #[test]
    fn times_end_with_the_years_1_and_9999() {
        let ends = |kind: Kind, first: i64, last: i64| {
            for (value, fits) in [
                (first, true),
                (last, true),
                (first - 1, false),
                (last + 1, false),
            ] {
                assert_eq!(check_number(&kind, value).is_ok(), fits, "{kind:?} {value}");
            }
        };
        let stamp = |unit, zone| Kind::Timestamp { unit, zone };
        ends(Kind::Date, -719_162, 2_932_896);
        ends(
            stamp(Unit::Milli, None),
            -62_135_596_800_000,
            253_402_300_799_999,
        );
        ends(
            stamp(Unit::Micro, Some(Zone::UTC)),
            -62_135_596_800_000_000,
            253_402_300_799_999_999,
        );
        let east = Zone::of(b"+01:00");
        ends(
            stamp(Unit::Second, east),
            -62_135_596_800,
            253_402_300_799 - 3600,
        );
        ends(
            Kind::Duration(Unit::Second),
            -86_399_999_913_600,
            86_399_999_999_999,
        );
        assert!(check_number(&stamp(Unit::Nano, None), 1_000).is_ok());
        assert!(check_number(&stamp(Unit::Nano, None), 1_001).is_err());
        assert!(check_number(&Kind::Duration(Unit::Nano), -1).is_err());
        assert!(check_number(&stamp(Unit::Micro, Zone::of(b"Mars/Phobos")), 0).is_err());
    }
}
