//! Label selectors: their text form, their object form, and what they select
//! (apimachinery `pkg/labels/selector.go`).

use crate::field::{FieldErrors, FieldPath};
use crate::{validate, value};
use serde_json::Value;
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operator {
    In,
    NotIn,
    Exists,
    NotExists,
    Equals,
    NotEquals,
    GreaterThan,
    LessThan,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Requirement {
    pub key: String,
    pub operator: Operator,
    /// Sorted, without duplicates.
    pub values: Vec<String>,
}

/// All requirements must hold. The default selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Selector {
    requirements: Vec<Requirement>,
    nothing: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub String);

impl Requirement {
    pub fn new(key: &str, operator: Operator, mut values: Vec<String>) -> Result<Self, SelectorError> {
        let mut errors = FieldErrors::new();
        key_errors(key, &FieldPath::new("key"), &mut errors);
        let path = FieldPath::new("values");
        let complaint = match operator {
            Operator::In | Operator::NotIn if values.is_empty() => "for 'in', 'notin' operators, values set can't be empty",
            Operator::Equals | Operator::NotEquals if values.len() != 1 => "exact-match compatibility requires one single value",
            Operator::Exists | Operator::NotExists if !values.is_empty() => "values set must be empty for exists and does not exist",
            Operator::GreaterThan | Operator::LessThan if values.len() != 1 => "for 'Gt', 'Lt' operators, exactly one value is required",
            _ => "",
        };
        if !complaint.is_empty() {
            errors.invalid(&path, values.clone(), complaint);
        }
        for (i, text) in values.iter().enumerate() {
            if matches!(operator, Operator::GreaterThan | Operator::LessThan) && text.parse::<i64>().is_err() {
                errors.invalid(&path.index(i), text.as_str(), "for 'Gt', 'Lt' operators, the value must be an integer");
            }
            let messages = validate::label_value(text);
            if !messages.is_empty() {
                errors.invalid(&path.index(i).key(key), text.as_str(), &messages.join("; "));
            }
        }
        if !errors.is_empty() {
            return Err(SelectorError(errors.to_string()));
        }
        values.sort();
        values.dedup();
        Ok(Self { key: key.into(), operator, values })
    }

    fn holds(&self, found: Option<&str>) -> bool {
        let listed = |text: &str| self.values.iter().any(|v| v == text);
        match (self.operator, found) {
            (Operator::In | Operator::Equals, found) => found.is_some_and(listed),
            (Operator::NotIn | Operator::NotEquals, found) => !found.is_some_and(listed),
            (Operator::Exists, found) => found.is_some(),
            (Operator::NotExists, found) => found.is_none(),
            (Operator::GreaterThan | Operator::LessThan, None) => false,
            (operator, Some(found)) => match (found.parse::<i64>(), self.values.first().map(|v| v.parse::<i64>())) {
                (Ok(label), Some(Ok(bound))) => {
                    if operator == Operator::GreaterThan {
                        label > bound
                    } else {
                        label < bound
                    }
                }
                _ => false,
            },
        }
    }
}

fn key_errors(key: &str, path: &FieldPath, errors: &mut FieldErrors) {
    let messages = validate::qualified_name(key);
    if !messages.is_empty() {
        errors.invalid(path, key, &messages.join("; "));
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        let values = self.values.join(",");
        match self.operator {
            Operator::In => write!(f, "{key} in ({values})"),
            Operator::NotIn => write!(f, "{key} notin ({values})"),
            Operator::Exists => f.write_str(key),
            Operator::NotExists => write!(f, "!{key}"),
            Operator::Equals => write!(f, "{key}={values}"),
            Operator::NotEquals => write!(f, "{key}!={values}"),
            Operator::GreaterThan => write!(f, "{key}>{values}"),
            Operator::LessThan => write!(f, "{key}<{values}"),
        }
    }
}

impl Selector {
    pub fn everything() -> Self {
        Self::default()
    }

    pub fn nothing() -> Self {
        Self { requirements: Vec::new(), nothing: true }
    }

    pub fn new(mut requirements: Vec<Requirement>) -> Self {
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Self { requirements, nothing: false }
    }

    /// The text form: `a=b,c!=d,e in (x,y),f notin (z),g,!h,i>5`.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        Parser { tokens: tokens(text)?, at: 0 }.selector().map(Self::new).map_err(SelectorError)
    }

    /// A `LabelSelector`: null selects nothing, `{}` everything.
    pub fn from_value(selector: &Value) -> Result<Self, SelectorError> {
        if selector.is_null() {
            return Ok(Self::nothing());
        }
        let mut requirements = Vec::new();
        for (key, text) in selector.get("matchLabels").and_then(Value::as_object).into_iter().flatten() {
            requirements.push(Requirement::new(key, Operator::Equals, vec![text.as_str().unwrap_or_default().into()])?);
        }
        for expression in value::items(selector, &["matchExpressions"]) {
            let operator = match value::text(expression, &["operator"]) {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::NotExists,
                other => return Err(SelectorError(format!("\"{other}\" is not a valid label selector operator"))),
            };
            let values = value::items(expression, &["values"]).iter().map(|v| v.as_str().unwrap_or_default().to_string()).collect();
            requirements.push(Requirement::new(value::text(expression, &["key"]), operator, values)?);
        }
        Ok(Self::new(requirements))
    }

    /// A plain map of labels that must all be equal (`spec.selector` of a Service); an empty map or null
    /// selects everything.
    pub fn from_map(labels: &Value) -> Self {
        let equal = |(key, text): (&String, &Value)| Requirement {
            key: key.clone(),
            operator: Operator::Equals,
            values: vec![text.as_str().unwrap_or_default().into()],
        };
        Self::new(labels.as_object().into_iter().flatten().map(equal).collect())
    }

    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Selects everything.
    pub fn is_empty(&self) -> bool {
        !self.nothing && self.requirements.is_empty()
    }

    pub fn matches<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> bool {
        !self.nothing && self.requirements.iter().all(|r| r.holds(get(&r.key)))
    }

    /// Against the value of `metadata.labels`, or null.
    pub fn matches_labels(&self, labels: &Value) -> bool {
        self.matches(|key| labels.get(key).and_then(Value::as_str))
    }
}

/// The canonical text, sorted by key.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, requirement) in self.requirements.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            requirement.fmt(f)?;
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Token<'a> {
    Word(&'a str),
    Symbol(&'static str),
    End,
}

impl Token<'_> {
    fn text(&self) -> &str {
        match self {
            Self::Word(text) => text,
            Self::Symbol(text) => text,
            Self::End => "",
        }
    }
}

fn tokens(text: &str) -> Result<Vec<Token<'_>>, SelectorError> {
    const SYMBOLS: [&str; 9] = ["==", "!=", "=", "!", "(", ")", ",", ">", "<"];
    let special = |c: char| matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<');
    let space = |c: char| matches!(c, ' ' | '\t' | '\r' | '\n');
    let mut tokens = Vec::new();
    let mut rest = text.trim_start_matches(space);
    while !rest.is_empty() {
        if let Some(symbol) = SYMBOLS.iter().find(|s| rest.starts_with(**s)) {
            tokens.push(Token::Symbol(symbol));
            rest = &rest[symbol.len()..];
        } else {
            let end = rest.find(|c| special(c) || space(c)).unwrap_or(rest.len());
            tokens.push(Token::Word(&rest[..end]));
            rest = &rest[end..];
        }
        rest = rest.trim_start_matches(space);
    }
    tokens.push(Token::End);
    Ok(tokens)
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Token<'a> {
        self.tokens.get(self.at).copied().unwrap_or(Token::End)
    }

    fn next(&mut self) -> Token<'a> {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn selector(&mut self) -> Result<Vec<Requirement>, String> {
        let mut requirements = Vec::new();
        loop {
            match self.peek() {
                Token::Word(_) | Token::Symbol("!") => {
                    requirements.push(self.requirement().map_err(|e| format!("unable to parse requirement: {e}"))?);
                }
                Token::End => return Ok(requirements),
                other => return Err(format!("found '{}', expected: !, identifier, or 'end of string'", other.text())),
            }
            match self.next() {
                Token::End => return Ok(requirements),
                Token::Symbol(",") => match self.peek() {
                    Token::Word(_) | Token::Symbol("!") => {}
                    other => return Err(format!("found '{}', expected: identifier after ','", other.text())),
                },
                other => return Err(format!("found '{}', expected: ',' or 'end of string'", other.text())),
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let absent = self.peek() == Token::Symbol("!");
        if absent {
            self.next();
        }
        let key = match self.next() {
            Token::Word(key) => key,
            other => return Err(format!("found '{}', expected: identifier", other.text())),
        };
        let mut errors = FieldErrors::new();
        key_errors(key, &FieldPath::root(), &mut errors);
        if !errors.is_empty() {
            return Err(errors.to_string());
        }
        let new = |operator, values| Requirement::new(key, operator, values).map_err(|e| e.0);
        if absent {
            return new(Operator::NotExists, Vec::new());
        }
        if matches!(self.peek(), Token::End | Token::Symbol(",")) {
            return new(Operator::Exists, Vec::new());
        }
        let operator = match self.next() {
            Token::Word("in") => Operator::In,
            Token::Word("notin") => Operator::NotIn,
            Token::Symbol("=" | "==") => Operator::Equals,
            Token::Symbol("!=") => Operator::NotEquals,
            Token::Symbol(">") => Operator::GreaterThan,
            Token::Symbol("<") => Operator::LessThan,
            other => return Err(format!("found '{}', expected: in, notin, =, ==, !=, gt, lt", other.text())),
        };
        let values = if matches!(operator, Operator::In | Operator::NotIn) { self.set()? } else { vec![self.exact()?] };
        new(operator, values)
    }

    fn exact(&mut self) -> Result<String, String> {
        match self.peek() {
            Token::End | Token::Symbol(",") => Ok(String::new()),
            Token::Word(text) => {
                self.next();
                Ok(text.into())
            }
            other => Err(format!("found '{}', expected: identifier", other.text())),
        }
    }

    /// `(x,y)`; what is missing between commas is the empty value.
    fn set(&mut self) -> Result<Vec<String>, String> {
        match self.next() {
            Token::Symbol("(") => {}
            other => return Err(format!("found '{}' expected: '('", other.text())),
        }
        let mut values = Vec::new();
        let mut want_value = true;
        loop {
            match self.next() {
                Token::Word(text) if want_value => {
                    values.push(text.to_string());
                    want_value = false;
                }
                token @ Token::Symbol("," | ")") => {
                    if want_value {
                        values.push(String::new());
                    }
                    if token == Token::Symbol(")") {
                        return Ok(values);
                    }
                    want_value = true;
                }
                other if want_value => return Err(format!("found '{}', expected: ',', or identifier", other.text())),
                other => return Err(format!("found '{}', expected: ',' or ')'", other.text())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn selects(selector: &str, labels: Value) -> bool {
        Selector::parse(selector).unwrap().matches_labels(&labels)
    }

    #[test]
    fn each_operator_selects_as_upstream_does() {
        let labels = json!({"app": "web", "tier": "", "n": "7"});
        for yes in [
            "",
            "app=web",
            "app==web",
            "app in (web,db)",
            "app",
            "!gone",
            "gone!=x",
            "gone notin (x)",
            "tier=",
            "tier in (,a)",
            "n>6",
            "n<8",
            "app=web,!x",
        ] {
            assert!(selects(yes, labels.clone()), "{yes}");
        }
        for no in ["app=db", "app notin (web)", "!app", "gone", "gone=x", "n>7", "app>1", "app=web,n=8"] {
            assert!(!selects(no, labels.clone()), "{no}");
        }
    }

    #[test]
    fn bad_selectors_are_refused_with_what_was_found() {
        for (text, message) in [
            ("a in b", "unable to parse requirement: found 'b' expected: '('"),
            ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
            ("=a", "found '=', expected: !, identifier, or 'end of string'"),
            ("a,", "found '', expected: identifier after ','"),
            ("a=b c", "found 'c', expected: ',' or 'end of string'"),
        ] {
            assert_eq!(Selector::parse(text).unwrap_err().0, message);
        }
        assert!(Selector::parse("a>b").is_err());
        assert!(Selector::parse("-a=b").is_err());
    }

    #[test]
    fn the_object_form_means_the_same() {
        let object = json!({"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "x", "operator": "NotIn", "values": ["b", "a"]}, {"key": "y", "operator": "Exists"}]});
        assert_eq!(Selector::from_value(&object).unwrap().to_string(), "app=web,x notin (a,b),y");
        assert!(!Selector::from_value(&Value::Null).unwrap().matches(|_| None));
        assert!(Selector::from_value(&json!({})).unwrap().matches(|_| None));
        assert!(Selector::from_value(&json!({"matchExpressions": [{"key": "x", "operator": "Gt"}]})).is_err());
    }

    proptest! {
        #[test]
        fn printing_and_parsing_is_the_identity(parts in proptest::collection::vec(("[a-z]{1,4}(/[a-z]{1,3})?", 0usize..6, proptest::collection::vec("[a-z0-9]{0,3}", 1..3)), 0..4)) {
            let operators = [Operator::In, Operator::NotIn, Operator::Exists, Operator::NotExists, Operator::Equals, Operator::NotEquals];
            let requirements = parts.into_iter().map(|(key, operator, mut values)| {
                match operators[operator] {
                    Operator::Exists | Operator::NotExists => values.clear(),
                    Operator::Equals | Operator::NotEquals => values.truncate(1),
                    _ => {}
                }
                Requirement::new(&key, operators[operator], values).unwrap()
            });
            let selector = Selector::new(requirements.collect());
            prop_assert_eq!(Selector::parse(&selector.to_string()).unwrap(), selector);
        }

        #[test]
        fn what_one_operator_takes_its_opposite_leaves(key in "[a-c]", values in proptest::collection::vec("[x-z]", 1..3), labels in proptest::collection::btree_map("[a-c]", "[x-z]", 0..3)) {
            let get = |key: &str| labels.get(key).map(String::as_str);
            let takes = |operator, values: &[String]| {
                Selector::new(vec![Requirement::new(&key, operator, values.to_vec()).unwrap()]).matches(get)
            };
            for (one, other, values) in [
                (Operator::In, Operator::NotIn, &values[..]),
                (Operator::Equals, Operator::NotEquals, &values[..1]),
                (Operator::Exists, Operator::NotExists, &[][..]),
            ] {
                prop_assert!(takes(one, values) != takes(other, values), "{:?} and {:?} of {} in {:?} on {:?}", one, other, key, values, labels);
            }
            // As an object it says the same as in words.
            let expression = serde_json::json!({"matchExpressions": [{"key": key, "operator": "In", "values": values}]});
            prop_assert_eq!(Selector::from_value(&expression).unwrap().matches(get), takes(Operator::In, &values));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,40}") {
            let _ = Selector::parse(&text);
        }
    }
}
