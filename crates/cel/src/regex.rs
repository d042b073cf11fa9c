//! Regular expressions in RE2's syntax, on an engine whose time is linear in the text.

use regex::{Regex, RegexBuilder};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// How large a compiled pattern may be, and how many are kept.
const SIZE: usize = 1 << 20;
const KEPT: usize = 128;

/// The pattern, compiled once; or what is wrong with it.
pub fn compile(pattern: &str) -> Result<Arc<Regex>, String> {
    static CACHE: LazyLock<Mutex<HashMap<String, Arc<Regex>>>> = LazyLock::new(Mutex::default);
    let cache = || CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(regex) = cache().get(pattern) {
        return Ok(regex.clone());
    }
    let built = RegexBuilder::new(&translate(pattern)).size_limit(SIZE).dfa_size_limit(SIZE).nest_limit(100).build();
    let regex = built.map(Arc::new).map_err(|error| format!("error parsing regexp: {}", reason(&error)))?;
    let mut cache = cache();
    if cache.len() >= KEPT {
        cache.clear();
    }
    cache.insert(pattern.into(), regex.clone());
    Ok(regex)
}

fn reason(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => "expression too large".into(),
        other => other.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").into(),
    }
}

/// Where RE2 and this engine differ: classes of one letter are ASCII's, and a bracket in a class stands for itself.
fn translate(pattern: &str) -> String {
    let chars: Vec<char> = pattern.chars().collect();
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut class = false;
    let mut at = 0;
    while at < chars.len() {
        let c = chars[at];
        let next = chars.get(at + 1).copied();
        at += 1;
        match (c, next) {
            ('\\', Some('Q')) => {
                at += 1;
                while at < chars.len() && !(chars[at] == '\\' && chars.get(at + 1) == Some(&'E')) {
                    out.push_str(&regex::escape(&chars[at].to_string()));
                    at += 1;
                }
                at = (at + 2).min(chars.len());
            }
            ('\\', Some(letter)) => {
                at += 1;
                match letter {
                    'd' => out.push_str("[0-9]"),
                    'D' => out.push_str("[^0-9]"),
                    'w' => out.push_str("[0-9A-Za-z_]"),
                    'W' => out.push_str("[^0-9A-Za-z_]"),
                    's' => out.push_str("[\\t\\n\\x0C\\r ]"),
                    'S' => out.push_str("[^\\t\\n\\x0C\\r ]"),
                    'b' if !class => out.push_str("(?-u:\\b)"),
                    other => out.extend(['\\', other]),
                }
            }
            ('[', Some(':')) if class => {
                let end = (at..chars.len()).find(|i| chars[*i] == ']').unwrap_or(chars.len() - 1);
                out.push('[');
                out.extend(&chars[at..=end]);
                at = end + 1;
            }
            ('[', _) if class => out.push_str("\\["),
            ('[', _) => {
                class = true;
                out.push('[');
                if chars.get(at) == Some(&'^') {
                    out.push('^');
                    at += 1;
                }
                if chars.get(at) == Some(&']') {
                    out.push_str("\\]");
                    at += 1;
                }
            }
            (']', _) if class => {
                class = false;
                out.push(']');
            }
            ('&' | '~', Some(same)) if class && c == same => out.extend(['\\', c]),
            ('-', Some('-')) if class => out.push_str("\\-"),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::compile;

    #[test]
    fn patterns_mean_what_they_mean_in_re2() {
        for (pattern, text, matches) in [
            (r"^\d+$", "12", true),
            (r"^\d+$", "١٢", false),
            (r"^[[]$", "[", true),
            (r"^[\w.-]+$", "a.b-c", true),
            (r"^[^\d]$", "1", false),
            (r"^[]a]$", "]", true),
            (r"^[[:alpha:]]+$", "ab", true),
            (r"(?i)^abc$", "ABC", true),
            (r"^\Qa.b\E$", "a.b", true),
            (r"\bfoo\b", "a foo b", true),
            (r"^\p{L}+$", "äß", true),
        ] {
            assert_eq!(compile(pattern).unwrap().is_match(text), matches, "{pattern} on {text}");
        }
        assert!(compile("(").is_err() && compile("a{1000}{1000}{1000}").is_err());
    }
}
