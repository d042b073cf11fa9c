//! The JSONPath that printer columns and scale may use: fields, indices, `[*]`, and `[?(@.a=="b")]`.

use serde_json::Value;

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
    All,
    Where(Vec<String>, String),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Path(Vec<Step>);

impl Path {
    pub fn parse(text: &str) -> Option<Self> {
        let mut steps = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            if let Some(inner) = rest.strip_prefix('[') {
                let end = closing(inner)?;
                steps.push(bracket(inner[..end].trim())?);
                rest = &inner[end + 1..];
                continue;
            }
            let (name, left) = field(rest.strip_prefix('.').unwrap_or(rest));
            rest = left;
            match name.as_str() {
                "" => {}
                "*" => steps.push(Step::All),
                _ => steps.push(Step::Field(name)),
            }
        }
        Some(Self(steps))
    }

    /// The names on the way, where it is fields only.
    pub fn fields(&self) -> Option<Vec<String>> {
        self.0.iter().map(|step| if let Step::Field(name) = step { Some(name.clone()) } else { None }).collect()
    }

    /// The first value that it leads to.
    pub fn first<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        find(&self.0, value)
    }
}

fn find<'a>(steps: &[Step], value: &'a Value) -> Option<&'a Value> {
    let Some((step, rest)) = steps.split_first() else { return Some(value) };
    match step {
        Step::Field(name) => find(rest, value.get(name)?),
        Step::Index(i) => {
            let items = value.as_array()?;
            let at = if *i < 0 { items.len().checked_sub(i.unsigned_abs() as usize)? } else { *i as usize };
            find(rest, items.get(at)?)
        }
        Step::All => match value {
            Value::Array(items) => items.iter().find_map(|item| find(rest, item)),
            Value::Object(map) => map.values().find_map(|item| find(rest, item)),
            _ => None,
        },
        Step::Where(path, wanted) => value.as_array()?.iter().find_map(|item| {
            let found = path.iter().try_fold(item, |v, name| v.get(name))?;
            let same = found.as_str().map_or_else(|| found.to_string(), str::to_string) == *wanted;
            if same { find(rest, item) } else { None }
        }),
    }
}

/// A field's name, in which a backslash takes the meaning from the next character, and what follows.
fn field(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((i, c)) = chars.next() {
        match c {
            '\\' => name.extend(chars.next().map(|(_, c)| c)),
            '.' | '[' => return (name, &text[i..]),
            c => name.push(c),
        }
    }
    (name, "")
}

/// Where the bracket that is open ends.
fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    for (i, c) in text.char_indices() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, ']') => return Some(i),
            _ => {}
        }
    }
    None
}

fn unquoted(text: &str) -> Option<&str> {
    let text = text.trim();
    ['\'', '"'].iter().find_map(|q| text.strip_prefix(*q)?.strip_suffix(*q))
}

fn bracket(text: &str) -> Option<Step> {
    if text == "*" {
        return Some(Step::All);
    }
    if let Some(name) = unquoted(text) {
        return Some(Step::Field(name.into()));
    }
    if let Ok(index) = text.parse() {
        return Some(Step::Index(index));
    }
    let (left, right) = text.strip_prefix("?(")?.strip_suffix(')')?.split_once("==")?;
    let path = Path::parse(left.trim().strip_prefix('@')?)?.fields()?;
    Some(Step::Where(path, unquoted(right).unwrap_or(right.trim()).into()))
}
