//! How long the steps of a request took, and a line in the log where that was too long.

use crate::attributes::Attributes;
use std::fmt::Write;
use std::time::{Duration, Instant};

/// Upstream's threshold.
const SLOW: Duration = Duration::from_millis(500);

/// Where a request can get to, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Authenticated,
    Authorized,
    /// It has a seat.
    Admitted,
    Answered,
}

const NAMES: [&str; 4] = ["authenticated", "authorized", "waited for its turn", "answered"];

#[derive(Clone, Debug)]
pub struct Steps {
    began: Instant,
    ends: [Option<Instant>; 4],
}

impl Steps {
    pub fn begin(began: Instant) -> Self {
        Self { began, ends: [None; 4] }
    }

    /// How long the step that ends now took.
    pub fn mark(&mut self, step: Step) -> Duration {
        let now = Instant::now();
        let before = self.ends[..step as usize].iter().flatten().last().copied().unwrap_or(self.began);
        self.ends[step as usize] = Some(now);
        now - before
    }

    pub fn total(&self) -> Duration {
        self.began.elapsed()
    }

    /// In the queue of a priority level.
    pub fn waited(&self) -> Duration {
        match (self.ends[Step::Authorized as usize], self.ends[Step::Admitted as usize]) {
            (Some(from), Some(to)) => to - from,
            _ => Duration::ZERO,
        }
    }

    pub fn slow(&self, took: Duration) -> bool {
        took >= SLOW
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let mut before = self.began;
        for (end, name) in self.ends.iter().zip(NAMES) {
            let Some(end) = end else { continue };
            // Writing into a string does not fail.
            let _ = write!(text, "{}{name} {:?}", if text.is_empty() { "" } else { ", " }, *end - before);
            before = *end;
        }
        text
    }

    pub fn tell(&self, attributes: &Attributes, audit_id: &str, took: Duration) {
        let (verb, path, user) = (&attributes.verb, &attributes.path, &attributes.user.name);
        tracing::warn!(audit_id, %verb, %path, %user, total = ?took, steps = self.text(), "a request was slow");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_lasts_from_the_one_before_whatever_was_left_out() {
        let began = Instant::now();
        let at = |ms| Some(began + Duration::from_millis(ms));
        let steps = Steps { began, ends: [at(1), at(2), at(602), None] };
        assert_eq!(steps.waited(), Duration::from_millis(600));
        assert_eq!(steps.text(), "authenticated 1ms, authorized 1ms, waited for its turn 600ms");
        assert!(Steps { began, ends: [None; 4] }.waited().is_zero());
    }
}
