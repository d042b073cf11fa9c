//! Timestamps and durations, as text.

use jiff::Timestamp;

const SECOND: i64 = 1_000_000_000;

/// RFC 3339, or a date alone; between the years 1 and 9999.
pub fn timestamp(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    if bytes.len() == 10 {
        return timestamp(&format!("{text}T00:00:00Z"));
    }
    // The parser takes more than RFC 3339 allows.
    if bytes.len() < 20 || !bytes[0].is_ascii_digit() || !matches!(bytes[10], b'T' | b't') || text.contains(['[', ' ']) {
        return None;
    }
    let parsed: Timestamp = text.parse().ok()?;
    in_range(parsed).then_some(parsed)
}

pub fn in_range(timestamp: Timestamp) -> bool {
    (-62_135_596_800..=253_402_300_799).contains(&timestamp.as_second())
}

pub fn show_timestamp(timestamp: &Timestamp) -> String {
    timestamp.to_string()
}

/// `1h30m`, `-1.5s`, `100ms`; in nanoseconds.
pub fn duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanos: i128 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, left) = after.split_at(end);
        rest = left;
        let unit: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => i128::from(SECOND),
            "m" => 60 * i128::from(SECOND),
            "h" => 3600 * i128::from(SECOND),
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') || whole.len() > 20 {
            return None;
        }
        nanos += whole.parse::<i128>().or(if whole.is_empty() { Ok(0) } else { Err(()) }).ok()?.checked_mul(unit)?;
        let digits = &fraction[..fraction.len().min(18)];
        if !digits.is_empty() {
            nanos += digits.parse::<i128>().ok()? * unit / 10i128.pow(digits.len() as u32);
        }
        if nanos > 1 << 64 {
            return None;
        }
    }
    i64::try_from(if negative { -nanos } else { nanos }).ok()
}

/// In seconds, as protobuf's JSON has it.
pub fn show_duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let all = nanos.unsigned_abs();
    let (seconds, rest) = (all / SECOND as u64, all % SECOND as u64);
    if rest == 0 {
        return format!("{sign}{seconds}s");
    }
    let fraction = format!("{rest:09}");
    format!("{sign}{seconds}.{}s", fraction.trim_end_matches('0'))
}
