//! Times as the API writes them, and ages as people read them.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

/// In the words of Go's `time.Parse`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TimeError(pub String);

/// `2026-01-02T03:04:05Z`
pub fn now() -> String {
    format(Timestamp::now())
}

/// `2026-01-02T03:04:05.000006Z`
pub fn now_micro() -> String {
    format_micro(Timestamp::now())
}

fn fields(t: Timestamp) -> String {
    let z = t.to_zoned(TimeZone::UTC);
    format!("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", z.year(), z.month(), z.day(), z.hour(), z.minute(), z.second())
}

pub fn format(t: Timestamp) -> String {
    fields(t) + "Z"
}

pub fn format_micro(t: Timestamp) -> String {
    format!("{}.{:06}Z", fields(t), t.subsec_nanosecond().max(0) / 1000)
}

/// Any RFC 3339 time, with or without a fraction. Nothing laxer: the times library alone would also take
/// dates without separators, lower case and blanks.
pub fn parse(text: &str) -> Result<Timestamp, TimeError> {
    const LAYOUT: [(&str, &str); 11] = [
        ("2006", "####"),
        ("-", "-"),
        ("01", "##"),
        ("-", "-"),
        ("02", "##"),
        ("T", "T"),
        ("15", "##"),
        (":", ":"),
        ("04", "##"),
        (":", ":"),
        ("05", "##"),
    ];
    let quoted = Value::from(text);
    let cannot = |rest: &str, element: &str| {
        let rest = Value::from(rest);
        TimeError(format!("parsing time {quoted} as \"2006-01-02T15:04:05Z07:00\": cannot parse {rest} as \"{element}\""))
    };
    let mut rest = text;
    for (element, pattern) in LAYOUT {
        let fits = |(p, b): (u8, u8)| if p == b'#' { b.is_ascii_digit() } else { p == b };
        if rest.len() < pattern.len() || !pattern.bytes().zip(rest.bytes()).all(fits) {
            return Err(cannot(rest, element));
        }
        rest = &rest[pattern.len()..];
    }
    if let Some(fraction) = rest.strip_prefix('.') {
        let end = fraction.find(|c: char| !c.is_ascii_digit()).unwrap_or(fraction.len());
        if end > 0 {
            rest = &fraction[end..];
        }
    }
    let offset = match rest.as_bytes() {
        b"Z" => true,
        [b'+' | b'-', a, b, b':', c, d] => [a, b, c, d].iter().all(|x| x.is_ascii_digit()),
        _ => false,
    };
    if !offset {
        return Err(cannot(rest, "Z07:00"));
    }
    text.parse().map_err(|_| TimeError(format!("parsing time {quoted}: {}", out_of_range(text))))
}

/// Which part of a well-formed time does not exist.
fn out_of_range(text: &str) -> &'static str {
    let number = |range: std::ops::Range<usize>| text.get(range).and_then(|t| t.parse::<u32>().ok()).unwrap_or(0);
    if !(1..=12).contains(&number(5..7)) {
        "month out of range"
    } else if number(11..13) > 23 {
        "hour out of range"
    } else if number(14..16) > 59 {
        "minute out of range"
    } else if number(17..19) > 59 {
        "second out of range"
    } else {
        "day out of range"
    }
}

/// kubectl's ages: two or three significant figures.
pub fn human_duration(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    let two = |big: i64, unit: &str, small: i64, below: &str| {
        if small == 0 { format!("{big}{unit}") } else { format!("{big}{unit}{small}{below}") }
    };
    match seconds {
        i64::MIN..-1 => "<invalid>".into(),
        -1 => "0s".into(),
        s if s < 2 * MINUTE => format!("{s}s"),
        s if s < 10 * MINUTE => two(s / MINUTE, "m", s % MINUTE, "s"),
        s if s < 3 * HOUR => format!("{}m", s / MINUTE),
        s if s < 8 * HOUR => two(s / HOUR, "h", s % HOUR / MINUTE, "m"),
        s if s < 2 * DAY => format!("{}h", s / HOUR),
        s if s < 8 * DAY => two(s / DAY, "d", s % DAY / HOUR, "h"),
        s if s < 2 * YEAR => format!("{}d", s / DAY),
        s if s < 8 * YEAR => two(s / YEAR, "y", s / DAY % 365, "d"),
        s => format!("{}y", s / YEAR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_change_their_unit_where_kubectl_changes_it() {
        for (seconds, text) in [
            (-5, "<invalid>"),
            (-1, "0s"),
            (119, "119s"),
            (120, "2m"),
            (121, "2m1s"),
            (599, "9m59s"),
            (600, "10m"),
            (10799, "179m"),
            (10800, "3h"),
            (8 * 3600 - 1, "7h59m"),
            (8 * 3600, "8h"),
            (48 * 3600 - 1, "47h"),
            (49 * 3600, "2d1h"),
            (8 * 86400, "8d"),
            (730 * 86400, "2y"),
            (731 * 86400, "2y1d"),
            (8 * 365 * 86400, "8y"),
        ] {
            assert_eq!(human_duration(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn times_round_trip_and_only_rfc3339_is_taken() {
        let t = parse("2026-01-02T03:04:05.000006Z").unwrap();
        assert_eq!(format_micro(t), "2026-01-02T03:04:05.000006Z");
        assert_eq!(format(parse("2026-01-02T05:04:05+02:00").unwrap()), "2026-01-02T03:04:05Z");
        for bad in ["", "2026-01-02", "20260102T030405Z", "2026-01-02t03:04:05z", "2026-01-02T03:04:05", "2026-13-02T03:04:05Z"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let error = |text| parse(text).unwrap_err().0;
        assert_eq!(error("soon"), r#"parsing time "soon" as "2006-01-02T15:04:05Z07:00": cannot parse "soon" as "2006""#);
        assert_eq!(error("2026-02-30T03:04:05Z"), r#"parsing time "2026-02-30T03:04:05Z": day out of range"#);
    }
}
