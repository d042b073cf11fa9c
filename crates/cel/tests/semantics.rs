//! What expressions are worth, in tables.

use cel::{Budget, Environment, Type, Variables};
use serde_json::{Value as Json, json};

fn object() -> Json {
    json!({"spec": {"replicas": 3, "name": "web", "ratio": 1, "names": ["a", "b", "c"], "labels": {"app": "x", "tier": "y"},
        "namespace": "n", "a.b": true, "ports": [{"name": "http", "port": 80}, {"name": "tls", "port": 443}]}})
}

fn environment() -> Environment {
    let port = Type::object("Port", [("name".into(), Type::String), ("port".into(), Type::Int)]);
    let spec = Type::object(
        "Spec",
        [
            ("replicas".to_string(), Type::Int),
            ("name".into(), Type::String),
            ("ratio".into(), Type::Double),
            ("names".into(), Type::list(Type::String)),
            ("labels".into(), Type::map(Type::String, Type::String)),
            ("namespace".into(), Type::String),
            ("a.b".into(), Type::Bool),
            ("absent".into(), Type::String),
            ("ports".into(), Type::list(port)),
        ],
    );
    Environment::new()
        .with_variable("self", Type::object("Self", [("spec".into(), spec)]))
        .with_variable("any", Type::Dyn)
        .with_variable("maybe", Type::optional(Type::Int))
}

/// The value as JSON, or the error.
fn value(expression: &str) -> Result<Json, String> {
    let object = object();
    let program = environment().compile(expression).map_err(|e| e.to_string())?;
    let variables = Variables::new().json("self", &object).json("any", &object);
    let value = program.evaluate(&variables, &mut Budget::new()).map_err(|e| e.to_string())?;
    value.to_json().map_err(|e| e.to_string())
}

fn all(table: &[(&str, Json)]) {
    for (expression, wanted) in table {
        assert_eq!(value(expression).as_ref(), Ok(wanted), "{expression}");
    }
}

fn fail(table: &[(&str, &str)]) {
    for (expression, wanted) in table {
        let error = value(expression).expect_err(expression);
        assert!(error.contains(wanted), "{expression}: {error}");
    }
}

#[test]
fn literals_and_operators() {
    all(&[
        ("1 + 2 * 3", json!(7)),
        ("(1 + 2) * 3", json!(9)),
        ("-7 / 2", json!(-3)),
        ("-7 % 3", json!(-1)),
        ("7u - 2u", json!(5)),
        ("0xFF", json!(255)),
        ("-9223372036854775808", json!(i64::MIN)),
        ("1.5 + .5", json!(2.0)),
        ("'a' + \"b\"", json!("ab")),
        (r"r'a\n' + '\n' + '''x'y'''", json!("a\\n\nx'y")),
        (r"'\u00e9\x41\101'", json!("éAA")),
        ("b'abc'", json!("YWJj")),
        ("!true || false ? 1 : 2", json!(2)),
        ("[1, 2] + [3]", json!([1, 2, 3])),
        ("{'a': 1, 'b': 2}", json!({"a": 1, "b": 2})),
        ("{'a': 1}.a", json!(1)),
        ("[1, 2, 3][1]", json!(2)),
        ("2 in [1, 2]", json!(true)),
        ("'a' in {'a': 1}", json!(true)),
        ("dyn(1) == dyn(1u)", json!(true)),
        ("1 < 1.5 && 2u > 1", json!(true)),
        ("dyn(1) == dyn(1.0) && dyn(1u) == dyn(1)", json!(true)),
        ("dyn(1) == dyn('1')", json!(false)),
        ("{1: 'a'}[dyn(1.0)]", json!("a")),
        ("1 > 0 // a comment", json!(true)),
    ]);
    fail(&[
        ("9223372036854775807 + 1", "integer overflow"),
        ("-(-9223372036854775808)", "integer overflow"),
        ("0u - 1u", "unsigned integer overflow"),
        ("1 / 0", "division by zero"),
        ("1 % 0", "modulus by zero"),
        ("[1][5]", "index out of bounds: 5"),
        ("{'a': 1}.b", "no such key: b"),
        ("int('x')", "type conversion error from 'string' to 'int'"),
        ("uint(-1)", "unsigned integer overflow"),
        ("int(1e30)", "integer overflow"),
    ]);
}

#[test]
fn errors_of_one_side_do_not_matter_where_the_other_decides() {
    all(&[
        ("1 / 0 > 0 || true", json!(true)),
        ("true || 1 / 0 > 0", json!(true)),
        ("1 / 0 > 0 && false", json!(false)),
        ("[0, 1].exists(x, 1 / x > 0)", json!(true)),
        ("[0, 1].all(x, 1 / x > 1)", json!(false)),
        ("true ? 1 : 1 / 0", json!(1)),
    ]);
    fail(&[("1 / 0 > 0 || false", "division by zero"), ("[0, 1].all(x, 1 / x > 0)", "division by zero")]);
}

#[test]
fn macros_go_over_lists_and_maps() {
    all(&[
        ("[1, 2, 3].all(x, x > 0)", json!(true)),
        ("[1, 2, 3].exists_one(x, x > 2)", json!(true)),
        ("[1, 2, 3].existsOne(x, x > 1)", json!(false)),
        ("[1, 2, 3].map(x, x * 2)", json!([2, 4, 6])),
        ("[1, 2, 3].map(x, x > 1, x * 2)", json!([4, 6])),
        ("[1, 2, 3].filter(x, x != 2)", json!([1, 3])),
        ("{'a': 1, 'b': 2}.map(k, k)", json!(["a", "b"])),
        ("[[1, 2], [3]].map(l, l.map(x, x + size(l)))", json!([[3, 4], [4]])),
        ("['a', 'b'].all(i, v, i < 2 && v != 'c')", json!(true)),
        ("{'a': 1}.exists(k, v, k == 'a' && v == 1)", json!(true)),
        ("['a', 'b'].transformList(i, v, v + string(i))", json!(["a0", "b1"])),
        ("[1, 2, 3].transformList(i, v, i > 0, v)", json!([2, 3])),
        ("{'a': 1, 'b': 2}.transformMap(k, v, v * 2)", json!({"a": 2, "b": 4})),
        ("{'a': 'x', 'b': 'y'}.transformMapEntry(k, v, {v: k})", json!({"x": "a", "y": "b"})),
        ("has({'a': 1}.a) && !has({'a': 1}.b)", json!(true)),
    ]);
    fail(&[
        ("{'a': 'x', 'b': 'x'}.transformMapEntry(k, v, {v: k})", "key x already exists"),
        ("5.map(x, x)", "cannot be range of a comprehension"),
    ]);
}

#[test]
fn fields_are_those_that_are_declared() {
    all(&[
        ("self.spec.replicas + 1", json!(4)),
        ("self.spec.__namespace__", json!("n")),
        ("self.spec.a__dot__b", json!(true)),
        ("type(self.spec.ratio) == double", json!(true)),
        ("self.spec.labels.app + self.spec.labels['tier']", json!("xy")),
        ("has(self.spec.absent)", json!(false)),
        ("self.spec.ports.filter(p, p.port > 100)[0].name", json!("tls")),
        ("any.spec.replicas == 3 && any.spec.ports[0].name == 'http'", json!(true)),
        ("size(self.spec.names) == self.spec.names.size()", json!(true)),
        ("self.spec.names == ['a', 'b', 'c']", json!(true)),
    ]);
    fail(&[
        ("self.spec.nope", "ERROR: <input>:1:10: undefined field 'nope'\n | self.spec.nope\n | .........^"),
        ("self.spec.namespace", "undefined field 'namespace'"),
        ("self.spec.absent", "no such key: absent"),
        ("nope", "undeclared reference to 'nope' (in container '')"),
        ("self.spec.replicas + 'a'", "found no matching overload for '_+_' applied to '(int, string)'"),
        ("self.spec.name.startsWith(1)", "found no matching overload for 'startsWith' applied to 'string.(int)'"),
        ("self.spec.name == 1", "found no matching overload for '_==_' applied to '(string, int)'"),
        ("[1, 'a']", "expected type 'int' but found 'string'"),
        ("self.spec.name.foo()", "undeclared reference to 'foo'"),
        ("1 +", "Syntax error: mismatched input '<EOF>'"),
        ("'a'.matches('(')", "invalid matches argument"),
        ("duration('1x')", "invalid duration argument"),
    ]);
}

#[test]
fn optional_values() {
    all(&[
        ("self.spec.?absent.hasValue()", json!(false)),
        ("self.spec.?absent.orValue('d')", json!("d")),
        ("self.spec.?name.orValue('d')", json!("web")),
        ("any.?nope.deeper.orValue(5)", json!(5)),
        ("[1, 2][?5].hasValue()", json!(false)),
        ("{'a': 1}[?'a'].value()", json!(1)),
        ("optional.of(1).optMap(x, x + 1).value()", json!(2)),
        ("optional.none().optMap(x, x + 1).hasValue()", json!(false)),
        ("optional.of(1).optFlatMap(x, optional.of(x)).value()", json!(1)),
        ("optional.ofNonZeroValue('').or(optional.of('x')).value()", json!("x")),
        ("[?self.spec.?absent, ?optional.of('y')]", json!(["y"])),
        ("{?'a': self.spec.?absent, 'b': 'c'}", json!({"b": "c"})),
        ("maybe.hasValue()", json!(false)),
    ]);
    fail(&[("optional.none().value()", "optional.none() dereference")]);
}

#[test]
fn conversions_and_time() {
    all(&[
        ("string(1) + string(1.5) + string(true) + string(2u)", json!("11.5true2")),
        ("int('42') + int(2.9) + int(3u)", json!(47)),
        ("double('1.5')", json!(1.5)),
        ("string(b'abc')", json!("abc")),
        ("timestamp('2024-02-29T12:30:45Z').getFullYear()", json!(2024)),
        ("timestamp('2024-02-29T23:30:00Z').getDate('+01:00')", json!(1)),
        ("timestamp('2024-07-01T12:00:00Z').getHours('America/New_York')", json!(8)),
        ("timestamp('2024-02-29T12:30:45Z') + duration('1h')", json!("2024-02-29T13:30:45Z")),
        ("timestamp('2024-01-02T00:00:00Z') - timestamp('2024-01-01T00:00:00Z') == duration('24h')", json!(true)),
        ("duration('90m').getHours()", json!(1)),
        ("string(duration('1h0m1.5s'))", json!("3601.5s")),
        ("type(1) == int && type('a') == string && type([]) == list", json!(true)),
        ("'abc'.size() + size('äö')", json!(5)),
        ("'hello'.contains('ell') && 'hello'.startsWith('he') && 'hello'.endsWith('lo') && 'a1'.matches('^[a-z][0-9]$')", json!(true)),
    ]);
    fail(&[("timestamp('9999-12-30T00:00:00Z') + duration('240h')", "timestamp overflow")]);
}

#[derive(Debug)]
struct OnlyGet;

impl cel::authorizer::Authorizer for OnlyGet {
    fn authorize(&self, check: &cel::authorizer::Check) -> cel::authorizer::Decision {
        cel::authorizer::Decision { allowed: check.verb == "get", reason: format!("{:?}", check.target), error: None }
    }
}

#[test]
fn the_authorizer_is_the_callers() {
    let environment = Environment::new()
        .with_variable("authorizer", cel::authorizer::authorizer_type())
        .with_variable("authorizer.requestResource", cel::authorizer::request_resource_type());
    let table = [
        ("authorizer.group('apps').resource('deployments').namespace('n').check('get').allowed()", true),
        ("authorizer.path('/healthz').check('post').allowed()", false),
        ("authorizer.requestResource.check('get').reason().contains('pods')", true),
        ("authorizer.serviceAccount('n', 'a').path('/x').check('get').errored()", false),
    ];
    let programs: Vec<_> = table.iter().map(|(expression, _)| environment.compile(expression).unwrap()).collect();
    let authorizer = std::sync::Arc::new(OnlyGet);
    let resource = cel::authorizer::Resource { resource: "pods".into(), ..Default::default() };
    let variables = Variables::new()
        .value("authorizer", cel::authorizer::authorizer(authorizer.clone()))
        .value("authorizer.requestResource", cel::authorizer::request_resource(authorizer, resource));
    for ((expression, wanted), program) in table.iter().zip(&programs) {
        let value = program.evaluate(&variables, &mut Budget::new()).unwrap();
        assert_eq!(value.as_bool(), Some(*wanted), "{expression}");
    }
}
