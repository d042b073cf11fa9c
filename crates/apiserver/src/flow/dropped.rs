//! How long refused clients are told to stay away: longer while refusals go on, shorter when they end.

use parking_lot::Mutex;
use std::collections::VecDeque;

const LONGEST: u64 = 32;

#[derive(Default)]
pub struct Dropped(Mutex<State>);

struct State {
    after: u64,
    changed: u64,
    /// Refusals by second.
    history: VecDeque<(u64, u64)>,
}

impl Default for State {
    fn default() -> Self {
        Self { after: 1, changed: 0, history: VecDeque::new() }
    }
}

impl Dropped {
    /// Counts one, and answers the seconds to stay away.
    pub fn count(&self, second: u64) -> u32 {
        let mut state = self.0.lock();
        match state.history.back_mut() {
            Some((last, count)) if *last == second => *count += 1,
            _ => {
                state.adjust(second);
                state.history.push_back((second, 1));
            }
        }
        u32::try_from(state.after).unwrap_or(1)
    }
}

impl State {
    fn adjust(&mut self, second: u64) {
        let keep = (2 * self.after).min(LONGEST);
        while self.history.front().is_some_and(|(then, _)| second - (*then).min(second) > keep) {
            self.history.pop_front();
        }
        let recent = self.history.iter().filter(|(then, _)| second - (*then).min(second) <= self.after);
        let dropped: u64 = recent.map(|(_, count)| count).sum();
        if second.saturating_sub(self.changed) >= self.after && dropped >= 3 * self.after {
            self.after = (self.after * 2).min(LONGEST);
            self.changed = second;
        } else if dropped < self.after && self.after > 1 {
            self.after -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_to_stay_away_follows_refusals() {
        let dropped = Dropped::default();
        assert_eq!(dropped.count(100), 1);
        let mut last = 1;
        for second in 101..300 {
            for _ in 0..200 {
                last = dropped.count(second);
            }
        }
        assert_eq!(last, 32);
        let calm = (0..60).map(|i| dropped.count(1000 + 100 * i)).last();
        assert_eq!(calm, Some(1));
    }
}
