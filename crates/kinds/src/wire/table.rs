//! Which number each field has on the wire. `messages.txt` has one message a line: its name, then `number:name:kind` of
//! each field. A kind is an optional `[]` (list) or `{}` (map), a letter or the name of a message (`.Name` in the same
//! package), then `=` (inlined), `!` (never left out of JSON) and `*` (absence is told apart from zero).

use std::collections::HashMap;
use std::sync::LazyLock;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Single,
    List,
    Map,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    String,
    Int,
    Bool,
    Bytes,
    Double,
    Time,
    MicroTime,
    Quantity,
    IntOrString,
    /// An object of any kind.
    Raw,
    /// JSON text in field 1.
    Json,
    /// A list of strings that is a message of its own.
    Wrapped,
    SchemaOrArray,
    SchemaOrBool,
    SchemaOrStrings,
    Message(usize),
}

#[derive(Debug)]
pub struct Field {
    pub number: u32,
    pub name: &'static str,
    pub kind: Kind,
    pub form: Form,
    pub inline: bool,
    pub required: bool,
    pub pointer: bool,
}

#[derive(Debug, Default)]
pub struct Message {
    /// By ascending number.
    pub fields: Vec<Field>,
}

pub struct Table {
    messages: Vec<Message>,
    names: HashMap<&'static str, usize>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| Table::parse(include_str!("messages.txt")));

static EMPTY: Message = Message { fields: Vec::new() };

pub fn message(index: usize) -> &'static Message {
    TABLE.messages.get(index).unwrap_or(&EMPTY)
}

/// The message that holds JSON schemas.
pub fn schema_props() -> &'static Message {
    TABLE.names.get("apiextensions/v1.JSONSchemaProps").map_or(&EMPTY, |i| message(*i))
}

/// The message of a kind. The options and answers of every version are those of `meta/v1`.
pub fn of(api_version: &str, kind: &str) -> Option<&'static Message> {
    let (group, version) = api_version.split_once('/').unwrap_or(("core", api_version));
    let group = group.split('.').next().unwrap_or_default();
    let name = format!("{}/{version}.{kind}", if group.is_empty() { "core" } else { group });
    let known = TABLE.names.get(name.as_str());
    known.or_else(|| TABLE.names.get(format!("meta/v1.{kind}").as_str())).map(|i| message(*i))
}

impl Table {
    fn parse(text: &'static str) -> Self {
        let lines = || text.lines().map(|line| line.split_once(' ').unwrap_or((line, "")));
        let names: HashMap<_, _> = lines().enumerate().map(|(i, (name, _))| (name, i)).collect();
        let message = |(name, fields): (&'static str, &'static str)| {
            let package = name.split_once('.').map_or(name, |(package, _)| package);
            Message { fields: fields.split(' ').filter_map(|text| field(text, package, &names)).collect() }
        };
        Self { messages: lines().map(message).collect(), names }
    }
}

fn field(text: &'static str, package: &str, names: &HashMap<&'static str, usize>) -> Option<Field> {
    let mut parts = text.splitn(3, ':');
    let (number, name, shape) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?);
    let base = shape.trim_end_matches(['=', '!', '*']);
    let flags = &shape[base.len()..];
    let (form, base) = match (base.strip_prefix("[]"), base.strip_prefix("{}")) {
        (Some(item), _) => (Form::List, item),
        (_, Some(value)) => (Form::Map, value),
        _ => (Form::Single, base),
    };
    let has = |flag: char| flags.contains(flag);
    let kind = kind(base, package, names)?;
    Some(Field { number, name, kind, form, inline: has('='), required: has('!'), pointer: has('*') })
}

fn kind(text: &str, package: &str, names: &HashMap<&'static str, usize>) -> Option<Kind> {
    Some(match text {
        "s" => Kind::String,
        "i" => Kind::Int,
        "b" => Kind::Bool,
        "y" => Kind::Bytes,
        "d" => Kind::Double,
        "T" => Kind::Time,
        "U" => Kind::MicroTime,
        "Q" => Kind::Quantity,
        "I" => Kind::IntOrString,
        "R" => Kind::Raw,
        "F" | "J" => Kind::Json,
        "W" => Kind::Wrapped,
        "A" => Kind::SchemaOrArray,
        "B" => Kind::SchemaOrBool,
        "S" => Kind::SchemaOrStrings,
        _ if text.starts_with('.') => Kind::Message(*names.get(format!("{package}{text}").as_str())?),
        _ => Kind::Message(*names.get(text)?),
    })
}
