//! `Last-Modified`, read as leniently as the SDK of other validators reads it; what cannot be read counts as not told.

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;

/// The time in the one form that our own SDK reads; fractions of a second are kept.
pub(crate) fn canonical(text: &str) -> Option<String> {
    let time = read(text)?;
    let whole = time.fmt(Format::HttpDate).ok()?;
    let nanos = time.subsec_nanos();
    if nanos == 0 {
        return Some(whole);
    }
    let fraction = format!("{nanos:09}");
    let fraction = fraction.trim_end_matches('0');
    let seconds = whole.strip_suffix(" GMT")?;
    Some(format!("{seconds}.{fraction} GMT"))
}

/// The three forms of RFC 9110, ISO 8601 with or without a zone (none: UTC), or seconds since the epoch.
fn read(text: &str) -> Option<DateTime> {
    if let Ok(time) = DateTime::from_str(text, Format::HttpDate) {
        return Some(time);
    }
    if let Ok(time) = httpdate::parse_http_date(text) {
        return Some(DateTime::from(time));
    }
    if let Ok(seconds) = text.parse::<f64>() {
        return (seconds.is_finite() && seconds >= 0.0).then(|| DateTime::from_secs_f64(seconds));
    }
    let iso = text.replacen(' ', "T", 1);
    let zoned = |text: &str| DateTime::from_str(text, Format::DateTimeWithOffset).ok();
    zoned(&iso).or_else(|| zoned(&format!("{iso}Z")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_that_names_one_moment_is_read_as_that_moment() {
        for text in [
            "Wed, 21 Oct 2015 07:28:00 GMT",
            "Wednesday, 21-Oct-15 07:28:00 GMT",
            "Wed Oct 21 07:28:00 2015",
            "2015-10-21T07:28:00Z",
            "2015-10-21T07:28:00.000Z",
            "2015-10-21T09:28:00+02:00",
            "2015-10-21T07:28:00",
            "2015-10-21 07:28:00",
            "1445412480",
            "1445412480.0",
        ] {
            let canonical = canonical(text);
            assert_eq!(
                canonical.as_deref(),
                Some("Wed, 21 Oct 2015 07:28:00 GMT"),
                "{text}"
            );
        }
    }

    #[test]
    fn fractions_of_a_second_are_kept() {
        for text in [
            "2020-06-09T14:35:33.892Z",
            "Tue, 09 Jun 2020 14:35:33.892 GMT",
        ] {
            let canonical = canonical(text).unwrap();
            assert_eq!(canonical, "Tue, 09 Jun 2020 14:35:33.892 GMT");
            let time = DateTime::from_str(&canonical, Format::HttpDate).unwrap();
            assert!((time.as_secs_f64() - 1_591_713_333.892).abs() < 1e-6);
        }
    }

    #[test]
    fn what_is_no_time_is_not_told() {
        for text in [
            "",
            "yesterday",
            "nan",
            "inf",
            "-1",
            "1e400",
            "2015-13-01T00:00:00Z",
            "Wed, 21 Oct",
        ] {
            assert_eq!(canonical(text), None, "{text:?}");
        }
    }
}
