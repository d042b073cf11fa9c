//! Whether the rules of a definition can be used: they compile, and do not cost too much for what its schema lets in.

use super::expressions::{self, field_path};
use crate::rules::get;
use cel::schema::{self, Declared};
use meta::{FieldErrors, FieldPath, value};
use serde_json::{Value, json};

/// What one rule may cost, for all values that it is about.
const PER_RULE: u64 = 10_000_000;
/// What all rules of a schema may cost together.
const PER_SCHEMA: u64 = 100_000_000;
/// How many of the most expensive are named.
const NAMED: usize = 4;
const RULES: &str = "x-kubernetes-validations";
const REASONS: [&str; 4] = ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

/// Only of a schema that is right otherwise.
pub fn check(schema: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let mut checker = Checker { total: 0, expensive: Vec::new(), errors };
    let declared = schema::declare(schema, true, "selfType");
    checker.node(schema, declared.as_ref(), Some(1), None, at);
    let Checker { total, mut expensive, errors } = checker;
    if total > PER_SCHEMA {
        expensive.sort_by_key(|(_, cost)| std::cmp::Reverse(*cost));
        for (path, _) in expensive.iter().take(NAMED) {
            errors.forbidden(path, "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema");
        }
        let name = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        errors.forbidden(at, &too_expensive(name, total, PER_SCHEMA));
    }
}

struct Checker<'e> {
    total: u64,
    expensive: Vec<(FieldPath, u64)>,
    errors: &'e mut FieldErrors,
}

impl Checker<'_> {
    /// `count`: how many of these there can be, where every list and map around has a bound. `fixed`: the nearest around
    /// whose parts cannot be told apart between two states of an object.
    fn node(&mut self, schema: &Value, declared: Option<&Declared>, count: Option<u64>, loose: Option<&FieldPath>, at: &FieldPath) {
        let own = Some(at);
        let granular = matches!(get(schema, "x-kubernetes-map-type").as_str(), None | Some("granular" | "atomic"));
        for (name, inner) in get(schema, "properties").as_object().into_iter().flatten() {
            let field = cel::escape(name).and_then(|name| declared.and_then(|d| d.field(&name)));
            let own_type;
            let field = match field {
                Some(field) => Some(field),
                None => {
                    own_type = schema::declare(inner, value::flag(inner, &["x-kubernetes-embedded-resource"]), "selfType");
                    own_type.as_ref()
                }
            };
            self.node(inner, field, count, if granular { loose } else { own }, &at.child("properties").key(name));
        }
        let element = declared.and_then(Declared::element);
        let most = |key: &str| value::int(schema, &[key]).map(|n| n.max(0) as u64);
        let times = |most: Option<u64>| Some(count?.saturating_mul(most?));
        if let inner @ Value::Object(_) = get(schema, "additionalProperties") {
            self.node(inner, element, times(most("maxProperties")), loose, &at.child("additionalProperties"));
        }
        if let inner @ Value::Object(_) = get(schema, "items") {
            let loose = if value::text(schema, &["x-kubernetes-list-type"]) == "map" { loose } else { own };
            self.node(inner, element, times(most("maxItems")), loose, &at.child("items"));
        }
        let rules = value::items(schema, &[RULES]);
        let before = self.errors.0.len();
        self.form(schema, at);
        let Some(declared) = declared.filter(|_| self.errors.0.len() == before) else { return };
        for (i, rule) in rules.iter().enumerate() {
            self.rule(rule, schema, declared, count, loose, &at.child(RULES).index(i));
        }
    }

    /// What can be said of a rule without its schema.
    fn form(&mut self, schema: &Value, at: &FieldPath) {
        for (i, rule) in value::items(schema, &[RULES]).iter().enumerate() {
            let at = at.child(RULES).index(i);
            let text = |key: &str| value::text(rule, &[key]);
            let (source, message) = (text("rule").trim(), text("message"));
            let breaks = |text: &str| text.contains(['\n', '\r']);
            if source.is_empty() {
                self.errors.required(&at.child("rule"), "rule is not specified");
            } else if !message.is_empty() && message.trim().is_empty() {
                self.errors.invalid(&at.child("message"), message, "must be non-empty if specified");
            } else if breaks(message.trim()) {
                self.errors.invalid(&at.child("message"), message, "must not contain line breaks");
            } else if breaks(source) && message.trim().is_empty() {
                self.errors.required(&at.child("message"), "message must be specified if rule contains line breaks");
            }
            let expression = text("messageExpression");
            if !expression.is_empty() && expression.trim().is_empty() {
                self.errors.required(&at.child("messageExpression"), "messageExpression must be non-empty if specified");
            }
            let reason = text("reason");
            if !reason.is_empty() && !REASONS.contains(&reason) {
                self.errors.not_supported(&at.child("reason"), reason, &REASONS);
            }
            let path = text("fieldPath");
            if !path.is_empty() && path.trim().is_empty() {
                self.errors.invalid(&at.child("fieldPath"), path, "must be non-empty if specified");
            }
            if breaks(path) {
                self.errors.invalid(&at.child("fieldPath"), path, "must not contain line breaks");
            }
            if !path.is_empty() && field_path(path, schema, true).is_err() {
                self.errors.invalid(&at.child("fieldPath"), path, "must be a valid path");
            }
        }
    }

    fn rule(&mut self, rule: &Value, schema: &Value, declared: &Declared, count: Option<u64>, loose: Option<&FieldPath>, at: &FieldPath) {
        let Some(expression) = expressions::compile(rule, schema, declared) else { return };
        let cost = expression.cost.saturating_mul(count.unwrap_or_else(|| declared.cardinality()));
        let rule_at = at.child("rule");
        if cost > PER_RULE {
            self.errors.forbidden(&rule_at, &too_expensive("estimated rule cost", cost, PER_RULE));
        }
        self.observe(&rule_at, cost);
        if let Err(why) = &expression.program {
            self.errors.invalid(&rule_at, shown(rule), why);
        }
        let message_at = at.child("messageExpression");
        match &expression.message {
            Some(Err(why)) => self.errors.invalid(&message_at, shown(rule), why),
            Some(Ok(_)) => {
                if expression.message_cost > PER_RULE {
                    let detail = too_expensive("estimated messageExpression cost", expression.message_cost, PER_RULE);
                    self.errors.forbidden(&message_at, &detail);
                }
                self.observe(&message_at, expression.message_cost);
            }
            None => {}
        }
        let optional = rule.get("optionalOldSelf").and_then(Value::as_bool);
        match (expression.uses_old, loose, optional) {
            (true, Some(within), _) => {
                let detail = format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {within}");
                self.errors.invalid(&rule_at, value::text(rule, &["rule"]), &detail);
            }
            (false, _, Some(given)) => {
                self.errors.invalid(&at.child("optionalOldSelf"), given, "may not be set if oldSelf is not used in rule");
            }
            _ => {}
        }
    }

    fn observe(&mut self, at: &FieldPath, cost: u64) {
        self.total = self.total.saturating_add(cost);
        // What is less than a hundredth of all is not what makes it too much.
        if cost >= PER_SCHEMA / 100 {
            self.expensive.push((at.clone(), cost));
        }
    }
}

/// A rule as errors print it.
fn shown(rule: &Value) -> Value {
    let text = |key: &str| value::text(rule, &[key]);
    json!({"Rule": text("rule"), "Message": text("message"), "MessageExpression": text("messageExpression"),
        "Reason": get(rule, "reason"), "FieldPath": text("fieldPath"), "OptionalOldSelf": get(rule, "optionalOldSelf")})
}

fn too_expensive(what: &str, cost: u64, limit: u64) -> String {
    let factor = cost as f64 / limit as f64;
    let factor = match factor {
        f if f > 100.0 => "more than 100x".to_string(),
        f if f < 1.5 => format!("{f:.6}x"),
        f => format!("{f:.1}x"),
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(spec: Value) -> String {
        let mut errors = FieldErrors::new();
        check(&json!({"type": "object", "properties": {"spec": spec}}), &FieldPath::new("s"), &mut errors);
        if errors.is_empty() { String::new() } else { errors.to_string() }
    }

    fn rule(rule: &str) -> Value {
        json!([{"rule": rule}])
    }

    #[test]
    fn rules_that_do_not_compile_are_told_with_the_place() {
        let spec = |rules: Value| json!({"type": "object", "properties": {"n": {"type": "integer"}}, RULES: rules});
        assert_eq!(errors(spec(rule("self.n > 0"))), "");
        let shown = errors(spec(rule("self.nope > 0")));
        assert!(shown.starts_with("s.properties[spec].x-kubernetes-validations[0].rule: Invalid value: {"), "{shown}");
        assert!(shown.contains("compilation failed: ERROR: <input>:1:5: undefined field 'nope'"), "{shown}");
        assert!(errors(spec(rule("self.n"))).ends_with("cel expression must evaluate to a bool"));
        assert!(errors(spec(json!([{"rule": ""}]))).ends_with("rule: Required value: rule is not specified"));
        assert!(errors(spec(json!([{"rule": "true", "fieldPath": ".x"}]))).ends_with("must be a valid path"));
        assert!(errors(spec(json!([{"rule": "true", "messageExpression": "1"}]))).ends_with("messageExpression must evaluate to a string"));
        assert!(
            errors(spec(json!([{"rule": "true", "optionalOldSelf": true}]))).ends_with("may not be set if oldSelf is not used in rule")
        );
    }

    #[test]
    fn rules_that_may_cost_too_much_are_refused() {
        let list = |max: Option<u64>, rule: &str| {
            let mut list = json!({"type": "array", "items": {"type": "string", "maxLength": 10}, RULES: [{"rule": rule}]});
            if let Some(max) = max {
                list["maxItems"] = max.into();
            }
            json!({"type": "object", "properties": {"l": list}})
        };
        let quadratic = "self.all(x, self.all(y, x == y))";
        assert_eq!(errors(list(Some(100), quadratic)), "");
        let refused = errors(list(None, quadratic));
        assert!(refused.contains("rule: Forbidden: estimated rule cost exceeds budget by factor of more than 100x"), "{refused}");
        assert!(refused.contains("total for entire OpenAPIv3 schema"), "{refused}");
    }

    #[test]
    fn changes_are_judged_only_where_old_and_new_can_be_told_apart() {
        let list = |kind: &str| {
            let items = json!({"type": "object", "properties": {"k": {"type": "string"}}, RULES: [{"rule": "self.k == oldSelf.k"}]});
            let mut list = json!({"type": "array", "maxItems": 10, "x-kubernetes-list-type": kind, "items": items});
            if kind == "map" {
                list["x-kubernetes-list-map-keys"] = json!(["k"]);
            }
            json!({"type": "object", "properties": {"l": list}})
        };
        assert_eq!(errors(list("map")), "");
        assert!(
            errors(list("atomic"))
                .ends_with("oldSelf cannot be used on the uncorrelatable portion of the schema within s.properties[spec].properties[l]")
        );
    }
}
