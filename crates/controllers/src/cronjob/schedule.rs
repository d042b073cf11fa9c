//! The five fields of cron, and the times they name.

use k8s_openapi::jiff::tz::TimeZone;
use k8s_openapi::jiff::{Span, Timestamp, Zoned};

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    #[error("expected exactly 5 fields, found {0}")]
    Fields(usize),
    #[error("failed to parse {0:?}")]
    Field(String),
    #[error("unrecognized descriptor: {0}")]
    Descriptor(String),
    #[error("unknown time zone {0}")]
    Zone(String),
}

#[derive(Debug)]
pub struct Schedule {
    when: When,
    zone: TimeZone,
}

#[derive(Debug)]
enum When {
    Every(i64),
    /// A bit per value: minute, hour, day, month, weekday.
    Fields {
        sets: [u64; 5],
        any_day: bool,
        any_weekday: bool,
    },
}

impl Schedule {
    pub fn parse(text: &str, zone: Option<&str>) -> Result<Self, ScheduleError> {
        let mut text = text.trim();
        let mut zone = zone;
        for key in ["TZ=", "CRON_TZ="] {
            if let Some((name, rest)) = text.strip_prefix(key).and_then(|t| t.split_once(' ')) {
                (zone, text) = (Some(name), rest.trim());
            }
        }
        let zone = match zone.filter(|z| !z.is_empty()) {
            Some(name) => TimeZone::get(name).map_err(|_| ScheduleError::Zone(name.into()))?,
            None => TimeZone::UTC,
        };
        Ok(Self { when: When::parse(text)?, zone })
    }

    /// The first time after `from`; `None` if there is none in five years.
    pub fn after(&self, from: Timestamp) -> Option<Timestamp> {
        let (sets, any_day, any_weekday) = match &self.when {
            When::Every(seconds) => return Timestamp::from_second(from.as_second().checked_add(*seconds)?).ok(),
            When::Fields { sets, any_day, any_weekday } => (sets, *any_day, *any_weekday),
        };
        let start = Timestamp::from_second(from.as_second().div_euclid(60).checked_add(1)? * 60).ok()?;
        let mut at: Zoned = start.to_zoned(self.zone.clone());
        let last = at.year() + 5;
        let has = |field: usize, value: i8| sets[field] & (1 << value) != 0;
        while at.year() <= last {
            let (day, weekday) = (has(2, at.day()), has(4, at.weekday().to_sunday_zero_offset()));
            // Both given, either will do; that is cron.
            let today = if any_day || any_weekday { day && weekday } else { day || weekday };
            let step = if !has(3, at.month()) {
                at = at.first_of_month().ok()?.start_of_day().ok()?;
                Span::new().months(1)
            } else if !today {
                at = at.start_of_day().ok()?;
                Span::new().days(1)
            } else if !has(1, at.hour()) {
                at = at.checked_sub(Span::new().minutes(i64::from(at.minute()))).ok()?;
                Span::new().hours(1)
            } else if !has(0, at.minute()) {
                Span::new().minutes(1)
            } else {
                return Some(at.timestamp());
            };
            at = at.checked_add(step).ok()?;
        }
        None
    }

    /// The newest time after `last` that is not after `now`, and how many there were (counting ends
    /// where it is too many anyway).
    pub fn due(&self, last: Timestamp, now: Timestamp) -> (Option<Timestamp>, usize) {
        let (mut due, mut count, mut at) = (None, 0, last);
        while let Some(next) = self.after(at).filter(|t| *t <= now) {
            count += 1;
            (due, at) = (Some(next), next);
            if count == 101 {
                // Of a long gap only the end matters.
                let near = Timestamp::from_second(now.as_second() - 3600).unwrap_or(at);
                at = at.max(near);
            }
        }
        (due, count)
    }
}

impl When {
    fn parse(text: &str) -> Result<Self, ScheduleError> {
        let text = match text {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other => other,
        };
        if let Some(span) = text.strip_prefix("@every ") {
            let span: Span = span.trim().parse().map_err(|_| ScheduleError::Descriptor(text.into()))?;
            let seconds = span.total(k8s_openapi::jiff::Unit::Second).map_err(|_| ScheduleError::Descriptor(text.into()))?;
            return Ok(Self::Every((seconds as i64).max(1)));
        }
        if text.starts_with('@') {
            return Err(ScheduleError::Descriptor(text.into()));
        }
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else { return Err(ScheduleError::Fields(fields.len())) };
        let mut weekdays = set(weekday, 0, 7, &DAYS, 0)?;
        // Sunday has two numbers.
        weekdays |= weekdays >> 7 & 1;
        let sets =
            [set(minute, 0, 59, &[], 0)?, set(hour, 0, 23, &[], 0)?, set(day, 1, 31, &[], 0)?, set(month, 1, 12, &MONTHS, 1)?, weekdays];
        let any = |field: &str| field.starts_with(['*', '?']);
        Ok(Self::Fields { sets, any_day: any(day), any_weekday: any(weekday) })
    }
}

fn set(field: &str, low: u32, high: u32, names: &[&str], first: u32) -> Result<u64, ScheduleError> {
    let wrong = || ScheduleError::Field(field.into());
    let number = |text: &str| {
        let named = names.iter().position(|n| n.eq_ignore_ascii_case(text)).and_then(|i| u32::try_from(i).ok()).map(|i| i + first);
        named.or_else(|| text.parse().ok()).filter(|n| (low..=high).contains(n)).ok_or_else(wrong)
    };
    let mut bits = 0;
    for part in field.split(',') {
        let (range, step) = part.split_once('/').map_or((part, None), |(r, s)| (r, Some(s)));
        let (from, to) = match range.split_once('-') {
            _ if range == "*" || range == "?" => (low, high),
            Some((from, to)) => (number(from)?, number(to)?),
            // A step from one value on goes to the end.
            None => (number(range)?, if step.is_some() { high } else { number(range)? }),
        };
        let step: u32 = step.map_or(Ok(1), |s| s.parse().map_err(|_| wrong()))?;
        if from > to || step == 0 {
            return Err(wrong());
        }
        bits |= (from..=to).step_by(usize::try_from(step).unwrap_or(1)).fold(0, |bits, n| bits | 1u64 << n);
    }
    Ok(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(text: &str, from: &str) -> String {
        Schedule::parse(text, None).unwrap().after(from.parse().unwrap()).unwrap().to_string()
    }

    #[test]
    fn fields_name_times() {
        assert_eq!(next("*/15 * * * *", "2026-01-01T00:16:10Z"), "2026-01-01T00:30:00Z");
        assert_eq!(next("0 3 29 feb *", "2026-01-01T00:00:00Z"), "2028-02-29T03:00:00Z");
        assert_eq!(next("5 4 * * 7", "2026-01-01T00:00:00Z"), "2026-01-04T04:05:00Z");
        assert_eq!(next("@hourly", "2026-12-31T23:00:00Z"), "2027-01-01T00:00:00Z");
    }

    #[test]
    fn of_day_and_weekday_either_will_do_if_both_are_given() {
        assert_eq!(next("0 0 13 * fri", "2026-01-03T00:00:00Z"), "2026-01-09T00:00:00Z");
        assert_eq!(next("0 0 13 * *", "2026-01-03T00:00:00Z"), "2026-01-13T00:00:00Z");
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(Schedule::parse("* * *", None).unwrap_err(), ScheduleError::Fields(3));
        for text in ["60 * * * *", "*/0 * * * *", "5-1 * * * *", "@never", "x * * * *"] {
            assert!(Schedule::parse(text, None).is_err(), "{text}");
        }
    }

    #[test]
    fn of_many_missed_times_the_newest_is_due() {
        let schedule = Schedule::parse("* * * * *", None).unwrap();
        let (due, missed) = schedule.due("2026-01-01T00:00:30Z".parse().unwrap(), "2026-03-01T00:00:30Z".parse().unwrap());
        assert_eq!(due.unwrap().to_string(), "2026-03-01T00:00:00Z");
        assert!(missed > 100);
    }
}
