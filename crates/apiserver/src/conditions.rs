//! Conditions in an object's status.

use meta::value;
use serde_json::{Value, json};

/// Sets the condition of that type where it stands, for others keep theirs there too. Its time moves only with its status.
pub fn set(object: &mut Value, mut condition: Value, now: &str) {
    let mut all = value::items(object, &["status", "conditions"]).to_vec();
    condition["lastTransitionTime"] = json!(now);
    match all.iter_mut().find(|c| c["type"] == condition["type"]) {
        Some(old) => {
            if old["status"] == condition["status"] {
                condition["lastTransitionTime"] = old["lastTransitionTime"].clone();
            }
            if condition.get("observedGeneration").is_none() {
                value::carry(&mut condition, old, &["observedGeneration"]);
            }
            *old = condition;
        }
        None => all.push(condition),
    }
    value::set(object, &["status", "conditions"], all);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_keeps_its_place_and_its_time_until_its_status_changes() {
        let mut object = json!({"status": {"conditions": [{"type": "A", "status": "True", "lastTransitionTime": "then"}, {"type": "B"}]}});
        set(&mut object, json!({"type": "A", "status": "True", "reason": "Why"}), "now");
        let first = |object: &Value| object["status"]["conditions"][0].clone();
        assert_eq!(first(&object), json!({"type": "A", "status": "True", "reason": "Why", "lastTransitionTime": "then"}));
        set(&mut object, json!({"type": "A", "status": "False"}), "now");
        assert_eq!(first(&object), json!({"type": "A", "status": "False", "lastTransitionTime": "now"}));
        set(&mut object, json!({"type": "C", "status": "True"}), "now");
        assert_eq!(object["status"]["conditions"][2]["lastTransitionTime"], "now");
    }
}
