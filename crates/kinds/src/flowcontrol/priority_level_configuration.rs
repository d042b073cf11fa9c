//! How much of the server a level may use, and how long its queues are.

use super::GROUP;
use super::flow_schema::condition_types;
use crate::kind::built_in;
use crate::rules::{get, path};
use crate::{Column, Kind, Names, Scope, Subresource, table};
use jiff::Timestamp;
use meta::{FieldErrors, FieldPath, value};
use serde_json::Value;

pub struct PriorityLevelConfiguration;

const QUEUES_MAX: i64 = 10_000_000;
const HASH_BITS: f64 = 60.0;

impl Kind for PriorityLevelConfiguration {
    built_in!(
        "io.k8s.api.flowcontrol.v1.PriorityLevelConfiguration",
        Names::new(GROUP, "v1", "PriorityLevelConfiguration", "prioritylevelconfigurations", Scope::Cluster)
    );

    fn has_generation(&self) -> bool {
        true
    }

    fn default(&self, object: &mut Value) {
        for (part, shares) in [("exempt", 0), ("limited", 30)] {
            if value::at(object, &["spec", part]).is_some() {
                value::default(object, &["spec", part, "nominalConcurrencyShares"], shares);
                value::default(object, &["spec", part, "lendablePercent"], 0);
            }
        }
        if let Some(queuing) = value::at_mut(object, &["spec", "limited", "limitResponse", "queuing"]) {
            for (name, default) in [("handSize", 8), ("queues", 64), ("queueLengthLimit", 50)] {
                if value::int(queuing, &[name]).unwrap_or(0) == 0 {
                    value::set(queuing, &[name], default);
                }
            }
        }
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let (spec, at) = (get(object, "spec"), path("spec"));
        let ty = value::text(spec, &["type"]);
        if (value::text(object, &["metadata", "name"]) == "exempt") != (ty == "Exempt") {
            errors.invalid(&at.child("type"), ty, "must be 'Exempt' if and only if `name` is 'exempt'");
        }
        match (ty, spec.get("limited"), spec.get("exempt")) {
            ("Exempt", Some(_), _) => errors.forbidden(&at.child("limited"), "must be nil if the type is not Limited"),
            ("Exempt", None, exempt) => {
                if let Some(exempt) = exempt {
                    shares(exempt, &at.child("exempt"), &mut errors);
                }
            }
            ("Limited", limited, exempt) => {
                if exempt.is_some() {
                    errors.forbidden(&at.child("exempt"), "must be nil if the type is Limited");
                }
                match limited {
                    None => errors.required(&at.child("limited"), "must not be empty when type is Limited"),
                    Some(limited) => check_limited(limited, &at.child("limited"), &mut errors),
                }
            }
            _ => errors.not_supported(&at.child("type"), ty, &["Exempt", "Limited"]),
        }
        errors
    }

    fn validate_status(&self, new: &Value, _old: &Value) -> FieldErrors {
        condition_types(new)
    }

    fn columns(&self) -> Vec<Column> {
        let mut columns = vec![Column::name()];
        columns
            .extend(["Type", "NominalConcurrencyShares", "Queues", "HandSize", "QueueLengthLimit"].map(|name| Column::new(name, "string")));
        columns.push(Column::age());
        columns
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let number = |path: &[&str]| value::int(object, path).map_or("<none>".into(), Value::from);
        let queuing = |name| number(&["spec", "limited", "limitResponse", "queuing", name]);
        vec![
            table::name(object),
            table::text(object, &["spec", "type"]),
            number(&["spec", "limited", "nominalConcurrencyShares"]),
            queuing("queues"),
            queuing("handSize"),
            queuing("queueLengthLimit"),
            table::age(object, now).into(),
        ]
    }

    fn subresources(&self) -> Vec<Subresource> {
        vec![Subresource::Status]
    }
}

fn shares(part: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    if let Some(shares) = value::int(part, &["nominalConcurrencyShares"]).filter(|n| *n < 0) {
        errors.invalid(&at.child("nominalConcurrencyShares"), shares, "must be a non-negative integer");
    }
    if let Some(percent) = value::int(part, &["lendablePercent"]).filter(|n| !(0..=100).contains(n)) {
        errors.invalid(&at.child("lendablePercent"), percent, "must be between 0 and 100, inclusive");
    }
}

fn check_limited(limited: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    shares(limited, at, errors);
    if let Some(percent) = value::int(limited, &["borrowingLimitPercent"]).filter(|n| *n < 0) {
        errors.invalid(&at.child("borrowingLimitPercent"), percent, "if specified, must be a non-negative integer");
    }
    let (response, at) = (get(limited, "limitResponse"), at.child("limitResponse"));
    let queuing_at = at.child("queuing");
    match (value::text(response, &["type"]), response.get("queuing")) {
        ("Reject", Some(_)) => errors.forbidden(&queuing_at, "must be nil if limited.limitResponse.type is not Limited"),
        ("Reject", None) => {}
        ("Queue", None) => errors.required(&queuing_at, "must not be empty if limited.limitResponse.type is Limited"),
        ("Queue", Some(queuing)) => check_queuing(queuing, &queuing_at, errors),
        (other, _) => errors.not_supported(&at.child("type"), other, &["Queue", "Reject"]),
    }
}

fn check_queuing(queuing: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let int = |name: &str| value::int(queuing, &[name]).unwrap_or(0);
    let (queues, hand) = (int("queues"), int("handSize"));
    for name in ["queueLengthLimit", "queues", "handSize"] {
        if int(name) <= 0 {
            errors.invalid(&at.child(name), int(name), "must be positive");
        }
    }
    if queues > QUEUES_MAX {
        errors.invalid(&at.child("queues"), queues, &format!("must not be greater than {QUEUES_MAX}"));
    }
    if hand > queues {
        errors.invalid(&at.child("handSize"), hand, &format!("should not be greater than queues ({queues})"));
    } else if hand > 0 {
        // A hand is dealt from the bits of one hash.
        let bits: f64 = (0..hand.min(64)).map(|i| ((queues - i) as f64).log2()).sum();
        if bits.ceil() > HASH_BITS || hand > 64 {
            let detail = format!("required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {HASH_BITS}");
            errors.invalid(&at.child("handSize"), hand, &detail);
        }
    }
}
