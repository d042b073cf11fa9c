//! Whatever an expression is, it ends, and costs what it may cost.

use cel::schema::declare;
use cel::{Budget, Environment, EvalError, Type, Variables};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

fn schema() -> Json {
    json!({"type": "object", "properties": {
        "n": {"type": "integer"}, "s": {"type": "string", "maxLength": 10}, "free": {"type": "string"},
        "l": {"type": "array", "maxItems": 100, "items": {"type": "string", "maxLength": 10}},
        "open": {"type": "array", "items": {"type": "integer"}},
        "m": {"type": "object", "maxProperties": 10, "additionalProperties": {"type": "integer"}},
        "o": {"type": "array", "maxItems": 5, "items": {"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}}}}}})
}

fn object() -> Json {
    json!({"n": 5, "s": "abc", "free": "free text", "l": ["a", "b", "c"], "open": [1, 2], "m": {"x": 1}, "o": [{"k": "v"}]})
}

#[test]
fn an_expression_that_costs_too_much_is_stopped() {
    let run = |expression: &str| {
        let program = Environment::new().compile(expression).unwrap();
        program.evaluate(&Variables::new(), &mut Budget::new()).map(|v| v.as_bool())
    };
    let nested = "lists.range(1000).all(a, lists.range(1000).all(b, lists.range(1000).all(c, true)))";
    assert_eq!(run(nested), Err(EvalError::CostLimit));
    assert_eq!(run(&format!("({nested}) || true")), Err(EvalError::CostLimit));
    // A list that doubles again and again costs little by the language's own count.
    let doubling = (0..60).fold("[1]".to_string(), |list, _| format!("[{list}].map(x, x + x)[0]"));
    assert_eq!(run(&format!("{doubling}.size() > 0")), Err(EvalError::CostLimit));
    let text = (0..40).fold("'aaaaaaaa'".to_string(), |text, _| format!("[{text}].map(x, x + x)[0]"));
    assert_eq!(run(&format!("{text}.size() > 0")), Err(EvalError::CostLimit));
}

#[test]
fn budgets_are_shared() {
    let program = Environment::new().compile("lists.range(1000).all(x, x >= 0)").unwrap();
    let mut budget = Budget::with_limits(1_000_000, 10_000);
    assert!(program.evaluate(&Variables::new(), &mut budget).is_ok());
    assert_eq!(program.evaluate(&Variables::new(), &mut budget).map(|_| ()), Err(EvalError::OutOfBudget));
}

#[test]
fn deep_and_long_expressions_are_refused_or_evaluated() {
    let compile = |source: String| Environment::new().with_variable("x", Type::Dyn).compile(&source).map(|_| ()).map_err(|e| e.to_string());
    let too_deep = "recursion limit exceeded";
    assert!(compile("(".repeat(100_000)).unwrap_err().contains(too_deep));
    assert!(compile("[".repeat(10_000) + &"]".repeat(10_000)).unwrap_err().contains(too_deep));
    assert!(compile("x".to_string() + &".a".repeat(1_000)).unwrap_err().contains(too_deep));
    assert!(compile("1".to_string() + &"+1".repeat(10_000)).unwrap_err().contains(too_deep));
    assert!(compile("!".repeat(50_000) + "true").is_ok());
    assert!(compile("true".to_string() + &" && true".repeat(10_000)).is_ok());
    assert!(compile("x".repeat(100_001)).unwrap_err().contains("code point size exceeds limit"));
    assert!(compile("optional.of(1)".to_string() + &".optMap(y, y)".repeat(40)).unwrap_err().contains("too large"));
    let chain = (0..100).fold("[1]".to_string(), |list, i| format!("{list}.map(x{i}, {{'k': x{i}}})"));
    assert!(compile(format!("{chain}.nope()")).is_err());
    let deep = "[".repeat(200) + &"]".repeat(200);
    let program = Environment::new().compile(&format!("{deep} == {deep}")).unwrap();
    assert_eq!(program.evaluate(&Variables::new(), &mut Budget::new()).unwrap().as_bool(), Some(true));
}

/// Pieces of which expressions are made, right and wrong.
fn piece() -> impl Strategy<Value = String> {
    let leaves = prop::sample::select(vec![
        "1",
        "-1",
        "0u",
        "1.5",
        "''",
        "'a'",
        "b'x'",
        "true",
        "null",
        "[]",
        "{}",
        "self",
        "self.n",
        "self.s",
        "self.l",
        "self.m",
        "self.o",
        "x",
        "int",
        "9223372036854775807",
        "duration('1h')",
        "timestamp('2024-01-01T00:00:00Z')",
        "optional.none()",
        "self.?s",
        "'%s'",
        "quantity('1')",
        "ip('::1')",
    ])
    .prop_map(String::from);
    leaves.prop_recursive(5, 40, 3, |inner| {
        let binary = prop::sample::select(vec!["+", "-", "*", "/", "%", "==", "!=", "<", ">=", "&&", "||", "in"]);
        let method = prop::sample::select(vec![
            "size",
            "contains",
            "startsWith",
            "matches",
            "split",
            "join",
            "replace",
            "substring",
            "indexOf",
            "format",
            "sum",
            "max",
            "sort",
            "flatten",
            "distinct",
            "value",
            "orValue",
            "or",
            "hasValue",
            "add",
            "compareTo",
            "findAll",
            "slice",
            "reverse",
            "charAt",
            "getHours",
        ]);
        let loops = prop::sample::select(vec!["all", "exists", "exists_one", "map", "filter", "sortBy", "optMap"]);
        let function = prop::sample::select(vec![
            "size",
            "int",
            "uint",
            "double",
            "string",
            "bytes",
            "type",
            "dyn",
            "has",
            "duration",
            "timestamp",
            "ip",
            "url",
        ]);
        prop_oneof![
            (inner.clone(), binary, inner.clone()).prop_map(|(a, op, b)| format!("({a} {op} {b})")),
            (inner.clone(), method.clone()).prop_map(|(a, m)| format!("{a}.{m}()")),
            (inner.clone(), method.clone(), inner.clone()).prop_map(|(a, m, b)| format!("{a}.{m}({b})")),
            (inner.clone(), method, inner.clone(), inner.clone()).prop_map(|(a, m, b, c)| format!("{a}.{m}({b}, {c})")),
            (inner.clone(), loops, inner.clone()).prop_map(|(a, l, b)| format!("{a}.{l}(x, {b})")),
            (function, inner.clone()).prop_map(|(f, a)| format!("{f}({a})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("[{a}, {b}]")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{{{a}: {b}}}")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a}[{b}]")),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            inner.prop_map(|a| format!("dyn({a})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// A program that the checker lets through costs no more than was estimated, and its value has the type that it says.
    #[test]
    fn random_expressions_end_within_their_estimate(source in piece()) {
        let schema = schema();
        let declared = declare(&schema, false, "selfType").unwrap();
        let environment = Environment::new().with_variable("self", declared.ty.clone()).with_variable("x", Type::Dyn);
        let Ok(program) = environment.compile(&source) else { return Ok(()) };
        let (object, x) = (object(), json!([1, "a", {"b": null}]));
        let mut budget = Budget::new();
        let before = budget.left();
        let value = program.evaluate(&Variables::new().json("self", &object).json("x", &x), &mut budget);
        let spent = before - budget.left();
        prop_assert!(spent <= cel::PER_EXPRESSION + 1_000_000);
        if let (Ok(value), Type::Bool) = (&value, program.ty()) {
            prop_assert!(value.as_bool().is_some(), "{source}: {value:?}");
        }
    }

    /// No text makes the parser panic.
    #[test]
    fn any_text_is_parsed_or_refused(source in "[ -~äß'\"\\\\\n]{0,60}") {
        let _ = Environment::new().compile(&source);
    }
}
