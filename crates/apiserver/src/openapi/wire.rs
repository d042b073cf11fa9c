//! The older document in protobuf, which generated clients ask for before anything else (gnostic's `openapi.v2`).

use serde_json::{Map, Value};

/// A message that is being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn bytes(&mut self, number: u32, held: &[u8]) {
        self.varint(u64::from(number) << 3 | 2);
        self.varint(held.len() as u64);
        self.0.extend_from_slice(held);
    }

    fn message(&mut self, number: u32, held: Self) {
        self.bytes(number, &held.0);
    }

    fn int(&mut self, number: u32, value: u64) {
        self.varint(u64::from(number) << 3);
        self.varint(value);
    }

    /// A field of the tree in the form that it has there: text, flag, or a number of the field's type.
    fn scalar(&mut self, number: u32, held: &Value, is_double: bool) {
        match held {
            Value::String(text) => self.bytes(number, text.as_bytes()),
            Value::Bool(true) => self.int(number, 1),
            Value::Number(value) if is_double => {
                self.varint(u64::from(number) << 3 | 1);
                self.0.extend_from_slice(&value.as_f64().unwrap_or_default().to_le_bytes());
            }
            Value::Number(value) => self.int(number, value.as_i64().unwrap_or_default().cast_unsigned()),
            _ => {}
        }
    }

    fn texts(&mut self, number: u32, of: &Value) {
        of.as_array().into_iter().flatten().filter_map(Value::as_str).for_each(|text| self.bytes(number, text.as_bytes()));
    }

    /// The named fields that `of` has.
    fn scalars(&mut self, of: &Value, fields: &[(u32, &str)]) {
        for (number, name) in fields {
            self.scalar(*number, &of[*name], false);
        }
    }
}

fn entries<'a>(of: &'a Value, name: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    of[name].as_object().into_iter().flat_map(Map::iter)
}

/// A name, and what goes by it.
fn named(name: &str, held: Message) -> Message {
    let mut out = Message::default();
    out.bytes(1, name.as_bytes());
    out.message(2, held);
    out
}

/// Anything, as YAML; all JSON is.
fn any(held: &Value) -> Message {
    let mut out = Message::default();
    out.bytes(2, held.to_string().as_bytes());
    out
}

fn extensions(out: &mut Message, number: u32, of: &Value) {
    for (name, held) in of.as_object().into_iter().flatten().filter(|(name, _)| name.starts_with("x-")) {
        out.message(number, named(name, any(held)));
    }
}

fn holding(number: u32, held: Message) -> Message {
    let mut out = Message::default();
    out.message(number, held);
    out
}

pub fn document(document: &Value) -> Vec<u8> {
    let mut out = Message::default();
    out.scalars(document, &[(1, "swagger")]);
    let mut info = Message::default();
    info.scalars(&document["info"], &[(1, "title"), (2, "version")]);
    out.message(2, info);
    let mut paths = Message::default();
    entries(document, "paths").for_each(|(name, item)| paths.message(2, named(name, path_item(item))));
    out.message(8, paths);
    let mut definitions = Message::default();
    entries(document, "definitions").for_each(|(name, held)| definitions.message(1, named(name, schema(held))));
    out.message(9, definitions);
    for requirement in document["security"].as_array().into_iter().flatten() {
        let mut held = Message::default();
        requirement.as_object().into_iter().flatten().for_each(|(name, _)| held.message(1, named(name, Message::default())));
        out.message(12, held);
    }
    let mut schemes = Message::default();
    for (name, held) in entries(document, "securityDefinitions") {
        let mut key = Message::default();
        key.scalars(held, &[(1, "type"), (2, "name"), (3, "in"), (4, "description")]);
        schemes.message(1, named(name, holding(2, key)));
    }
    out.message(13, schemes);
    out.0
}

fn path_item(item: &Value) -> Message {
    let mut out = Message::default();
    for (number, method) in [(2, "get"), (3, "put"), (4, "post"), (5, "delete"), (6, "options"), (7, "head"), (8, "patch")] {
        if item[method].is_object() {
            out.message(number, operation(&item[method]));
        }
    }
    item["parameters"].as_array().into_iter().flatten().for_each(|p| out.message(9, parameter(p)));
    out
}

fn operation(operation: &Value) -> Message {
    let mut out = Message::default();
    out.texts(1, &operation["tags"]);
    out.scalars(operation, &[(3, "description"), (5, "operationId")]);
    out.texts(6, &operation["produces"]);
    out.texts(7, &operation["consumes"]);
    operation["parameters"].as_array().into_iter().flatten().for_each(|p| out.message(8, parameter(p)));
    let mut responses = Message::default();
    for (code, response) in entries(operation, "responses") {
        let mut held = Message::default();
        held.scalars(response, &[(1, "description")]);
        if response["schema"].is_object() {
            held.message(2, holding(1, schema(&response["schema"])));
        }
        responses.message(1, named(code, holding(1, held)));
    }
    out.message(9, responses);
    out.texts(10, &operation["schemes"]);
    extensions(&mut out, 13, operation);
    out
}

fn parameter(parameter: &Value) -> Message {
    let mut held = Message::default();
    let (place, fields): (u32, &[(u32, &str)]) = match parameter["in"].as_str() {
        Some("body") => {
            held.scalars(parameter, &[(1, "description"), (2, "name"), (3, "in"), (4, "required")]);
            held.message(5, schema(&parameter["schema"]));
            return holding(1, holding(1, held));
        }
        Some("path") => {
            (4, &[(1, "required"), (2, "in"), (3, "description"), (4, "name"), (5, "type"), (6, "format"), (19, "uniqueItems")])
        }
        _ => (3, &[(1, "required"), (2, "in"), (3, "description"), (4, "name"), (6, "type"), (7, "format"), (20, "uniqueItems")]),
    };
    held.scalars(parameter, fields);
    holding(1, holding(2, holding(place, held)))
}

fn schema(of: &Value) -> Message {
    let mut out = Message::default();
    out.scalars(of, &[(1, "$ref"), (2, "format"), (3, "title"), (4, "description")]);
    if !of["default"].is_null() {
        out.message(5, any(&of["default"]));
    }
    for (number, name) in [(6, "multipleOf"), (7, "maximum"), (9, "minimum")] {
        out.scalar(number, &of[name], true);
    }
    out.scalars(of, &[(8, "exclusiveMaximum"), (10, "exclusiveMinimum"), (11, "maxLength"), (12, "minLength"), (13, "pattern")]);
    out.scalars(of, &[(14, "maxItems"), (15, "minItems"), (16, "uniqueItems"), (17, "maxProperties"), (18, "minProperties")]);
    out.texts(19, &of["required"]);
    of["enum"].as_array().into_iter().flatten().for_each(|held| out.message(20, any(held)));
    match &of["additionalProperties"] {
        held @ Value::Object(_) => out.message(21, holding(1, schema(held))),
        Value::Bool(allowed) => {
            let mut held = Message::default();
            held.int(2, u64::from(*allowed));
            out.message(21, held);
        }
        _ => {}
    }
    if let Some(ty) = of["type"].as_str() {
        let mut held = Message::default();
        held.bytes(1, ty.as_bytes());
        out.message(22, held);
    }
    if of["items"].is_object() {
        out.message(23, holding(1, schema(&of["items"])));
    }
    of["allOf"].as_array().into_iter().flatten().for_each(|held| out.message(24, schema(held)));
    if of["properties"].is_object() {
        let mut properties = Message::default();
        entries(of, "properties").for_each(|(name, held)| properties.message(1, named(name, schema(held))));
        out.message(25, properties);
    }
    if !of["example"].is_null() {
        out.message(30, any(&of["example"]));
    }
    extensions(&mut out, 31, of);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The messages with this number inside of a message.
    fn held(mut bytes: &[u8], wanted: u64) -> Vec<&[u8]> {
        let varint = |bytes: &mut &[u8]| {
            let mut value = 0;
            for shift in (0..).step_by(7) {
                let (byte, rest) = bytes.split_first().expect("a whole number");
                *bytes = rest;
                value |= u64::from(byte & 0x7f) << shift;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            value
        };
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let tag = varint(&mut bytes);
            match tag & 7 {
                0 => drop(varint(&mut bytes)),
                1 => bytes = &bytes[8..],
                _ => {
                    let length = varint(&mut bytes) as usize;
                    if tag >> 3 == wanted {
                        found.push(&bytes[..length]);
                    }
                    bytes = &bytes[length..];
                }
            }
        }
        found
    }

    #[test]
    fn the_document_holds_the_same_as_its_json() {
        let tree = super::super::v2::document(&kinds::registry::builtin());
        let wire = document(&tree);
        let names = |at: u64, of: u64| -> Vec<String> {
            let inner = held(&wire, at);
            held(inner[0], of).iter().map(|n| String::from_utf8(held(n, 1)[0].to_vec()).expect("a name")).collect()
        };
        let keys = |name: &str| tree[name].as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(8, 2), keys("paths"));
        assert_eq!(names(9, 1), keys("definitions"));
        let schema = schema(
            &json!({"type": "object", "properties": {"a": {"type": "integer", "minimum": 0}}, "x-kubernetes-group-version-kind": []}),
        );
        let property = held(held(&schema.0, 25)[0], 1)[0];
        assert_eq!((held(property, 1)[0], held(held(held(property, 2)[0], 22)[0], 1)[0]), (&b"a"[..], &b"integer"[..]));
        assert_eq!(held(held(&schema.0, 31)[0], 1)[0], b"x-kubernetes-group-version-kind");
    }
}
