//! Cron schedules: five fields or a descriptor, checked in the words of the parser that upstream uses.

/// What is wrong with a schedule, if anything is.
pub fn check(schedule: &str) -> Result<(), String> {
    let mut text = schedule.trim();
    if text.starts_with("TZ=") || text.starts_with("CRON_TZ=") {
        text = text.split_once(' ').map_or("", |(_, rest)| rest.trim());
    }
    if text.is_empty() {
        return Err("empty spec string".into());
    }
    if text.starts_with('@') {
        return descriptor(text);
    }
    let fields: Vec<&str> = text.split_whitespace().collect();
    if fields.len() != 5 {
        return Err(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
    }
    const NONE: &[&str] = &[];
    const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
    for (field, (min, max, names, first)) in
        fields.into_iter().zip([(0, 59, NONE, 0), (0, 23, NONE, 0), (1, 31, NONE, 0), (1, 12, MONTHS, 1), (0, 6, DAYS, 0)])
    {
        for range in field.split(',').filter(|r| !r.is_empty()) {
            check_range(range, min, max, &|text| number(text, names, first))?;
        }
    }
    Ok(())
}

fn descriptor(text: &str) -> Result<(), String> {
    if matches!(text, "@yearly" | "@annually" | "@monthly" | "@weekly" | "@daily" | "@midnight" | "@hourly") {
        return Ok(());
    }
    match text.strip_prefix("@every ") {
        Some(duration) if is_duration(duration) => Ok(()),
        Some(duration) => Err(format!("failed to parse duration {text}: time: invalid duration {duration:?}")),
        None => Err(format!("unrecognized descriptor: {text}")),
    }
}

/// Go's durations: `1h30m`, `1.5s`.
fn is_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        if digits == 0 || rest[..digits].parse::<f64>().is_err() {
            return false;
        }
        rest = &rest[digits..];
        match ["ns", "us", "µs", "ms", "s", "m", "h"].iter().find_map(|unit| rest.strip_prefix(unit)) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    true
}

fn check_range(range: &str, min: i64, max: i64, number: &dyn Fn(&str) -> Result<i64, String>) -> Result<(), String> {
    let steps: Vec<&str> = range.split('/').collect();
    let limits: Vec<&str> = steps[0].split('-').collect();
    let (start, mut end) = if matches!(limits[0], "*" | "?") {
        (min, max)
    } else {
        let start = number(limits[0])?;
        match limits.len() {
            1 => (start, start),
            2 => (start, number(limits[1])?),
            _ => return Err(format!("too many hyphens: {range}")),
        }
    };
    let step = match steps.len() {
        1 => 1,
        2 => {
            if limits.len() == 1 {
                end = max;
            }
            plain(steps[1])?
        }
        _ => return Err(format!("too many slashes: {range}")),
    };
    if start < min {
        return Err(format!("beginning of range ({start}) below minimum ({min}): {range}"));
    }
    if end > max {
        return Err(format!("end of range ({end}) above maximum ({max}): {range}"));
    }
    if start > end {
        return Err(format!("beginning of range ({start}) beyond end of range ({end}): {range}"));
    }
    if step == 0 {
        return Err(format!("step of range should be a positive number: {range}"));
    }
    Ok(())
}

fn number(text: &str, names: &[&str], first: i64) -> Result<i64, String> {
    match names.iter().position(|name| text.eq_ignore_ascii_case(name)) {
        Some(i) => Ok(i as i64 + first),
        None => plain(text),
    }
}

fn plain(text: &str) -> Result<i64, String> {
    match text.parse::<i64>() {
        Ok(n) if n < 0 => Err(format!("negative number ({n}) not allowed: {text}")),
        Ok(n) => Ok(n),
        Err(_) => Err(format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax")),
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn schedules_are_checked_field_by_field() {
        for good in ["* * * * *", "*/5 0-3,7 1 jan-mar SUN", "@hourly", "@every 1h30m", "0 0 ? * 1/2"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, message) in [
            ("error schedule", "expected exactly 5 fields, found 2: [error schedule]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("x * * * *", "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax"),
            ("@sometimes", "unrecognized descriptor: @sometimes"),
        ] {
            assert_eq!(check(bad), Err(message.into()), "{bad}");
        }
    }
}
