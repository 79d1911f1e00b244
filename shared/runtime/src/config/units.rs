//! Values as people write them: `30s`, `1m30s`, `64MiB`.

use std::time::Duration;

/// Longest duration that is accepted: ten years, far below what overflows an `Instant`.
const LONGEST_SECS: f64 = 10.0 * 365.0 * 86_400.0;

/// Reads `250ms`, `30s`, `1.5s`, `2m`, `1h30m`, `1d`. A bare number needs a unit, except `0`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let (number, tail) = leading_number(rest)?;
        let unit_end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, next) = tail.split_at(unit_end);
        let factor = match unit.trim() {
            "ms" => 0.001,
            "s" | "sec" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return None,
        };
        total += number * factor;
        rest = next;
    }
    seconds(total)
}

/// Reads a plain number as seconds, else as [`parse_duration`] does.
pub fn parse_seconds(text: &str) -> Option<Duration> {
    match leading_number(text.trim()) {
        Some((number, "")) => seconds(number),
        _ => parse_duration(text),
    }
}

fn seconds(number: f64) -> Option<Duration> {
    (number.is_finite() && (0.0..=LONGEST_SECS).contains(&number))
        .then(|| Duration::from_secs_f64(number))
}

/// Splits off a leading decimal number: digits with at most one point.
fn leading_number(text: &str) -> Option<(f64, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    if !number.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    Some((number.parse().ok()?, rest))
}

/// Reads `1048576`, `64KiB`, `64MiB`, `2GiB`, `10MB`; bytes when no unit is given.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor = match unit.trim() {
        "" | "B" => 1,
        "kB" | "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1_u64 << 30,
        "TiB" => 1_u64 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::{parse_bytes, parse_duration, parse_seconds};
    use std::time::Duration;

    #[test]
    fn durations_read_as_people_write_them() {
        for (text, millis) in [
            ("0", 0),
            ("250ms", 250),
            ("30s", 30_000),
            ("1.5s", 1500),
            ("1m30s", 90_000),
            ("1h 30m", 5_400_000),
            (" 2d ", 172_800_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Some(Duration::from_millis(millis)),
                "{text}"
            );
        }
        for text in [
            "", " ", "30", "s", "-1s", "1x", "1..2s", ".5s", "nan", "inf", "9999999d", "1s2",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
        assert_eq!(parse_seconds("6.0"), Some(Duration::from_secs(6)));
        assert_eq!(parse_seconds("6s"), Some(Duration::from_secs(6)));
        assert_eq!(parse_seconds("-6"), None);
    }

    #[test]
    fn sizes_read_as_people_write_them_and_never_wrap() {
        for (text, bytes) in [
            ("0", 0),
            ("12", 12),
            ("64MiB", 64 << 20),
            ("64 MiB", 64 << 20),
            ("1GB", 1_000_000_000),
        ] {
            assert_eq!(parse_bytes(text), Some(bytes), "{text}");
        }
        for text in [
            "",
            "MiB",
            "-1",
            "1.5MiB",
            "1mib",
            "18446744073709551616",
            "99999999999999TiB",
        ] {
            assert_eq!(parse_bytes(text), None, "{text}");
        }
    }
}
