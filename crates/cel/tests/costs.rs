//! What expressions cost is part of the API: the numbers are those of Kubernetes 1.36 for the same schemas and objects.

use cel::schema::declare;
use cel::{Budget, Environment, Variables};
use serde_json::{Value as Json, json};

/// For each expression, all of which are true of the object: what it costs, and what it is estimated to cost at most.
fn check(schema: &Json, object: &Json, table: &[(&str, u64, u64)]) {
    let declared = declare(schema, true, "selfType").unwrap();
    let environment = Environment::new().with_variable("self", declared.ty.clone());
    for (expression, cost, most) in table {
        let program = environment.compile(expression).unwrap_or_else(|error| panic!("{error}"));
        let mut budget = Budget::new();
        let before = budget.left();
        let value = program.evaluate(&Variables::new().json("self", object), &mut budget);
        assert_eq!(value.map(|v| v.as_bool()), Ok(Some(true)), "{expression}");
        assert_eq!((before - budget.left(), program.estimate(&declared).max), (*cost, *most), "{expression}");
    }
}

fn object(properties: Json) -> Json {
    json!({"type": "object", "properties": properties})
}

#[test]
fn scalars_and_text() {
    let schema = object(json!({"val1": {"type": "string"}, "val2": {"type": "string"}}));
    check(
        &schema,
        &json!({"val1": "Rook takes 👑", "val2": "Rook takes 👑"}),
        &[
            ("self.val1.startsWith('Rook')", 4, 3),
            ("self.val1.matches('^[^0-9]*$')", 8, 943721),
            ("size(self.val1) == 12", 4, 4),
            ("type(self.val1) == string", 4, 4),
            ("self.val1.replace(' ', 'x') == 'Rookxtakesx👑'", 7, 629150),
            ("self.val1.lowerAscii() == self.val1.lowerAscii()", 10, 943723),
            ("has(self.val1) && has(self.val2)", 2, 2),
        ],
    );
    let schema = object(json!({"val1": {"type": "integer"}, "val2": {"type": "string", "format": "duration"}}));
    check(
        &schema,
        &json!({"val1": 5, "val2": "1h"}),
        &[
            ("double(self.val1) < 10.0", 4, 4),
            ("5 < int(10.0)", 1, 2),
            ("self.val2.getHours() == 1", 4, 4),
            ("quantity('50k').sub(20) == quantity('49980')", 4, 4),
        ],
    );
}

#[test]
fn lists() {
    let schema = object(json!({"array": {"type": "array", "items": {"type": "integer"}}}));
    check(
        &schema,
        &json!({"array": [1, 1, 2, 2, 3, 3, 4, 5]}),
        &[
            ("2 in self.array", 10, 1572865),
            ("self.array.all(e, e > 0)", 43, 7864318),
            ("self.array.exists(e, e > 2)", 36, 9437181),
            ("self.array.exists_one(e, e > 4)", 22, 6291456),
            ("size(self.array.filter(e, e%2 == 0)) == 3", 68, 25165823),
            ("self.array.map(e, e * 20).filter(e, e > 50).exists(e, e == 60)", 194, 53477367),
        ],
    );
    let set = json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}});
    check(
        &object(json!({"val1": set, "val2": set})),
        &json!({"val1": ["a", "b", "c"], "val2": ["a", "c", "b"]}),
        &[
            ("self.val1 == self.val2", 5, 104862),
            ("self.val1 == ['c', 'b', 'a']", 3, 13),
            ("self.val2[0] in self.val1", 8, 1048580),
            ("self.val1 + ['c', 'd'] == ['a', 'b', 'c', 'd']", 4, 24),
        ],
    );
    let item = object(json!({"k": {"type": "string"}, "v": {"type": "string"}, "v2": {"type": "string"}}));
    let list = json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": item});
    check(
        &object(json!({"listMap": list})),
        &json!({"listMap": [{"k": "a1", "v": "b1"}, {"k": "a2", "v": "b2"}, {"k": "a3", "v": "b3", "v2": "z"}]}),
        &[
            ("self.listMap.all(m, m.k.startsWith('a'))", 21, 6291453),
            ("self.listMap.exists(m, m.v2 == 'z')", 24, 7340028),
            ("self.listMap.map(m, m.v).exists(v, v == 'b1')", 55, 19922939),
            ("self.listMap.filter(m, has(m.v2) && m.v2 == 'z').map(m, m.v2).size() == 1", 39, 32505851),
        ],
    );
}

#[test]
fn maps() {
    let schema = object(json!({"val": {"type": "object", "additionalProperties": {"type": "integer"}}}));
    check(
        &schema,
        &json!({"val": {"b": 1, "d": 2}}),
        &[
            ("'b' in self.val", 3, 3),
            ("self.val.all(k, self.val[k] > 0)", 17, 3595115),
            ("self.val.exists_one(k, self.val[k] == 2)", 14, 2696338),
            ("size(self.val.filter(k, self.val[k] > 1)) == 1", 26, 8089017),
        ],
    );
}
