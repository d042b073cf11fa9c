//! Field selectors: `metadata.name=x,status.phase!=Running`, with `\,`, `\=` and `\\` in values
//! (apimachinery `pkg/fields/selector.go`).

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operator {
    Equals,
    NotEquals,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Requirement {
    pub path: String,
    pub operator: Operator,
    pub value: String,
}

/// All requirements must hold. The default selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Selector {
    pub requirements: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub String);

impl Selector {
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut terms = terms(text);
        terms.sort_unstable();
        let parse = |term: &str| {
            let (path, operator, value) =
                split(term).ok_or_else(|| SelectorError(format!("invalid selector: '{text}'; can't understand '{term}'")))?;
            Ok(Requirement { path: path.into(), operator, value: unescape(value)? })
        };
        Ok(Self { requirements: terms.into_iter().filter(|t| !t.is_empty()).map(parse).collect::<Result<_, _>>()? })
    }

    /// Selects everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// `get` gives the value of a path, empty where there is none.
    pub fn matches(&self, get: impl Fn(&str) -> String) -> bool {
        self.requirements.iter().all(|r| (get(&r.path) == r.value) == (r.operator == Operator::Equals))
    }

    /// The value this selector demands of a path, if it demands one.
    pub fn required(&self, path: &str) -> Option<&str> {
        self.requirements.iter().find(|r| r.path == path && r.operator == Operator::Equals).map(|r| r.value.as_str())
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, r) in self.requirements.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            let operator = if r.operator == Operator::Equals { "=" } else { "!=" };
            let value = r.value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=");
            write!(f, "{comma}{}{operator}{value}", r.path)?;
        }
        Ok(())
    }
}

/// Splits at commas that no backslash precedes.
fn terms(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (i, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                parts.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn split(term: &str) -> Option<(&str, Operator, &str)> {
    term.char_indices().find_map(|(i, _)| {
        let rest = &term[i..];
        let (operator, value) = if let Some(value) = rest.strip_prefix("!=") {
            (Operator::NotEquals, value)
        } else {
            (Operator::Equals, rest.strip_prefix("==").or_else(|| rest.strip_prefix('='))?)
        };
        Some((&term[..i], operator, value))
    })
}

fn unescape(value: &str) -> Result<String, SelectorError> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => out.push(c),
                Some(c) => return Err(SelectorError(format!("invalid field selector: invalid escape sequence: \\{c}"))),
                None => return Err(SelectorError("invalid field selector: invalid escape sequence: \\".into())),
            },
            ',' | '=' => return Err(SelectorError(format!("invalid field selector: unescaped character in value: {}", u32::from(c)))),
            c => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn terms_are_read_with_escapes_and_both_operators() {
        let selector = Selector::parse("metadata.name==a\\,b,status.phase!=Running,").unwrap();
        assert_eq!(selector.required("metadata.name"), Some("a,b"));
        assert_eq!(selector.required("status.phase"), None);
        assert!(selector.matches(|p| if p == "metadata.name" { "a,b".into() } else { "Pending".into() }));
        assert!(!selector.matches(|p| if p == "metadata.name" { "a,b".into() } else { "Running".into() }));
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(Selector::parse("a=b,c").unwrap_err().0, "invalid selector: 'a=b,c'; can't understand 'c'");
        assert!(Selector::parse("a=b=c").is_err());
        assert!(Selector::parse("a=\\x").is_err());
    }

    proptest! {
        #[test]
        fn printing_and_parsing_is_the_identity(path in "[a-z.]{1,8}", value in "[a-z,=\\\\]{0,8}", equal: bool) {
            let operator = if equal { Operator::Equals } else { Operator::NotEquals };
            let selector = Selector { requirements: vec![Requirement { path, operator, value }] };
            prop_assert_eq!(Selector::parse(&selector.to_string()).unwrap(), selector);
        }
    }
}
