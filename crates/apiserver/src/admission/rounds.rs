//! Mutating twice: when a webhook or a policy has changed the object, everything that mutates sees it a second time,
//! and of the webhooks and policies those that ask for it.

use parking_lot::Mutex;
use serde_json::Value;
use std::collections::HashSet;

#[derive(Default)]
pub struct Rounds(Mutex<State>);

#[derive(Default)]
struct State {
    again: bool,
    wanted: bool,
    policies: Replay,
    webhooks: Replay,
}

/// Of one plugin: who has run, and who is to run again.
#[derive(Default)]
struct Replay {
    output: Option<Value>,
    ran: HashSet<String>,
    due: HashSet<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    Policies,
    Webhooks,
}

impl State {
    fn of(&mut self, which: Which) -> &mut Replay {
        match which {
            Which::Policies => &mut self.policies,
            Which::Webhooks => &mut self.webhooks,
        }
    }
}

impl Replay {
    fn rerun(&mut self) {
        self.due.extend(self.ran.drain());
    }
}

impl Rounds {
    /// Whether there is to be a second round, which begins.
    pub fn begin_again(&self) -> bool {
        let mut state = self.0.lock();
        state.again = state.wanted;
        state.again
    }

    pub fn again(&self) -> bool {
        self.0.lock().again
    }

    /// Before a plugin's turn: what others have changed since its last one makes all it ran due again.
    pub fn enter(&self, which: Which, object: &Value) {
        let mut state = self.0.lock();
        let again = state.again;
        let replay = state.of(which);
        if again && replay.output.as_ref() != Some(object) {
            replay.rerun();
        }
    }

    pub fn leave(&self, which: Which, object: &Value) {
        let mut state = self.0.lock();
        // The second round is the last.
        if !state.again {
            state.of(which).output = Some(object.clone());
        }
    }

    /// Whether this one runs in this round. Nobody runs for the first time in the second.
    pub fn runs(&self, which: Which, who: &str) -> bool {
        let mut state = self.0.lock();
        !state.again || state.of(which).due.contains(who)
    }

    /// One has run. `reinvocable`: it wants to see what others change after it.
    pub fn ran(&self, which: Which, who: &str, changed: bool, reinvocable: bool) {
        let mut state = self.0.lock();
        if changed {
            state.wanted = true;
            state.of(which).rerun();
        }
        if reinvocable {
            state.of(which).ran.insert(who.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn who_asked_for_it_runs_again_when_somebody_after_it_changed_the_object() {
        let rounds = Rounds::default();
        rounds.enter(Which::Webhooks, &json!(1));
        rounds.ran(Which::Webhooks, "wants", false, true);
        rounds.ran(Which::Webhooks, "wants-not", false, false);
        rounds.ran(Which::Webhooks, "changes", true, true);
        rounds.leave(Which::Webhooks, &json!(2));
        assert!(rounds.begin_again());
        rounds.enter(Which::Webhooks, &json!(2));
        assert!(rounds.runs(Which::Webhooks, "wants"));
        assert!(!rounds.runs(Which::Webhooks, "wants-not") && !rounds.runs(Which::Webhooks, "changes"));
    }

    #[test]
    fn what_another_plugin_changes_brings_all_back() {
        let rounds = Rounds::default();
        rounds.ran(Which::Webhooks, "changes", true, true);
        rounds.leave(Which::Webhooks, &json!(2));
        assert!(rounds.begin_again());
        rounds.enter(Which::Webhooks, &json!(3));
        assert!(rounds.runs(Which::Webhooks, "changes"));
    }

    #[test]
    fn nothing_runs_twice_when_nothing_changed() {
        let rounds = Rounds::default();
        rounds.ran(Which::Webhooks, "p", false, true);
        assert!(!rounds.begin_again());
    }
}
