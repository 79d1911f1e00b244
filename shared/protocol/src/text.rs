//! Text as the other validators' Python reads it: what a blank is, what a word is, what a number is.

mod printable;
mod word_chars;

pub use printable::is_printable;

/// Strips what the row and manifest schemas strip: Unicode White_Space (PROTOCOL §5).
#[inline]
pub fn strip(text: &str) -> &str {
    text.trim()
}

/// Whether Python's `str.split` and `str.strip` take a character for a blank: White_Space and the four
/// separators U+001C to U+001F.
#[inline]
pub fn is_python_blank(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// Python's `str.strip()`.
pub fn python_strip(text: &str) -> &str {
    text.trim_matches(is_python_blank)
}

/// Text of somebody else's choosing for a terminal or a log: whatever is not printable (control characters, format
/// characters such as those that reverse the direction of writing, line ends) is shown as an escape.
pub fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if is_printable(c) {
            safe.push(c);
        } else {
            safe.extend(c.escape_default());
        }
    }
    safe
}

/// Number of words as Python's `str.split()` counts them.
pub fn word_count(text: &str) -> usize {
    text.split(is_python_blank)
        .filter(|word| !word.is_empty())
        .count()
}

/// Whether there are at least so many words; looks no further than they are.
pub fn has_words(text: &str, least: u32) -> bool {
    let words = text.split(is_python_blank).filter(|word| !word.is_empty());
    words.take(least as usize).count() == least as usize
}

/// Whether Python's regular expressions take a character for part of a word (`\w`).
pub fn is_word_char(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphanumeric() || c == '_';
    }
    let code = u32::from(c);
    let at = word_chars::RANGES.partition_point(|(_, last)| *last < code);
    word_chars::RANGES
        .get(at)
        .is_some_and(|(first, _)| *first <= code)
}

/// Zeros of the runs of decimal digits (category Nd) in Unicode 14; each run has ten.
const ZEROS: [u32; 66] = [
    0x30, 0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66,
    0xde6, 0xe50, 0xed0, 0xf20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90,
    0x1b50, 0x1bb0, 0x1c40, 0x1c50, 0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10,
    0x104a0, 0x10d30, 0x11066, 0x110f0, 0x11136, 0x111d0, 0x112f0, 0x11450, 0x114d0, 0x11650,
    0x116c0, 0x11730, 0x118e0, 0x11950, 0x11c50, 0x11d50, 0x11da0, 0x16a60, 0x16ac0, 0x16b50,
    0x1d7ce, 0x1d7d8, 0x1d7e2, 0x1d7ec, 0x1d7f6, 0x1e140, 0x1e2f0, 0x1e950, 0x1fbf0,
];

/// The ASCII spelling of a number's text: decimal digits of any script become ASCII, single underscores
/// between digits vanish, White_Space around is stripped (the separators U+001C to U+001F are not, unlike in
/// `str.strip`). `None` when a character can be in no number.
fn plain_number(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut chars = strip(text).chars().peekable();
    while let Some(c) = chars.next() {
        if c == '_' {
            let before = plain.ends_with(|d: char| d.is_ascii_digit());
            let after = chars.peek().copied().and_then(decimal_digit).is_some();
            if !before || !after {
                return None;
            }
            continue;
        }
        match decimal_digit(c) {
            Some(digit) => plain.push(char::from(b'0' + digit)),
            None if c.is_ascii() => plain.push(c),
            None => return None,
        }
    }
    Some(plain)
}

/// Value of a decimal digit of any script.
pub fn decimal_digit(c: char) -> Option<u8> {
    let code = u32::from(c);
    let at = ZEROS.partition_point(|zero| *zero <= code).checked_sub(1)?;
    u8::try_from(code - ZEROS[at])
        .ok()
        .filter(|digit| *digit < 10)
}

/// Python's `float(text)`. `None` where Python raises.
pub fn python_float(text: &str) -> Option<f64> {
    plain_number(text)?.parse().ok()
}

/// Python's `int(text)` for numbers that fit. `None` where Python raises or the number is larger.
pub fn python_int(text: &str) -> Option<i128> {
    let plain = plain_number(text)?;
    let digits = plain.strip_prefix(['+', '-']).unwrap_or(&plain);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    plain.parse().ok()
}

/// Python's `f"{value:.3f}"`.
pub fn three_decimals(value: f64) -> String {
    if value.is_nan() {
        "nan".to_owned()
    } else {
        format!("{value:.3}")
    }
}

/// Seconds since the epoch as RFC 3339 text in UTC with microseconds.
pub fn rfc3339(epoch_sec: f64) -> String {
    /// 9999-12-31T23:59:59: later times have no four-digit year.
    const LAST: f64 = 253_402_300_799.0;
    let clamped = if epoch_sec.is_nan() {
        0.0
    } else {
        epoch_sec.clamp(0.0, LAST)
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to 0..=LAST, whose microseconds fit u64"
    )]
    let micros = (clamped * 1e6).round() as u64;
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil_date(days);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

/// Gregorian date of a day counted from 1970-01-01, by eras of 400 years that begin in March.
const fn civil_date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_python_reads_them() {
        for (text, value) in [
            (" 2 ", Some(2.0)),
            ("1_0", Some(10.0)),
            ("1e3", Some(1000.0)),
            ("\u{661}\u{662}", Some(12.0)),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            ("-Infinity", Some(f64::NEG_INFINITY)),
            ("_1", None),
            ("1_", None),
            ("1__0", None),
            ("1_.0", None),
            ("0x1", None),
            ("", None),
            ("1\u{e9}", None),
            ("\u{2003}5\u{a0}", Some(5.0)),
            ("\u{1c}5", None),
            ("5\u{1f}", None),
            ("\u{2003}\u{1c}5", None),
        ] {
            assert_eq!(python_float(text), value, "{text:?}");
        }
        assert_eq!(python_int(" +1_0 "), Some(10));
        assert_eq!(python_int("1.0"), None);
        assert_eq!(python_int("+"), None);
    }

    #[test]
    fn foreign_text_reaches_no_terminal_as_anything_but_text() {
        assert_eq!(
            escaped("a caf\u{e9} \u{65e5}'\"\\"),
            "a caf\u{e9} \u{65e5}'\"\\"
        );
        assert_eq!(
            escaped("c\n\u{1b}]0;x\u{7}\r\u{202e}\u{200b}\u{85}"),
            "c\\n\\u{1b}]0;x\\u{7}\\r\\u{202e}\\u{200b}\\u{85}"
        );
    }

    #[test]
    fn vowel_signs_end_a_word_and_letters_do_not() {
        assert!(!is_word_char('\u{345}'));
        assert!(!is_word_char('\u{301}'));
        assert!(is_word_char('\u{e9}'));
        assert!(is_word_char('\u{4e2d}'));
        assert!(is_word_char('_'));
    }

    #[test]
    fn times_are_written_in_utc() {
        assert_eq!(rfc3339(0.0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(rfc3339(1_775_000_000.25), "2026-03-31T23:33:20.250000Z");
        assert_eq!(rfc3339(951_782_400.0), "2000-02-29T00:00:00.000000Z");
        assert_eq!(rfc3339(f64::NAN), "1970-01-01T00:00:00.000000Z");
        assert_eq!(rfc3339(f64::INFINITY), "9999-12-31T23:59:59.000000Z");
    }
}
