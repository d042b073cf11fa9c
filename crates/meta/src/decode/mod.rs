//! From bytes to a tree that a kind's schema vouches for.
//!
//! Upstream gets this from decoding into Go structs: what a struct does not have is dropped (and
//! named, where the client wants to know), a wrong type ends the request, null is the same as
//! absent, times and quantities come out in their canonical form.

mod check;
mod parse;

pub use check::{TypeError, check};
pub use parse::{JsonError, parse_json, tree};

/// `strict decoding error: unknown field "spec.foo", duplicate field "spec.x"`.
/// `unknown` are paths from [`check`], `duplicates` messages from [`parse_json`], or such that begin with a `line` of YAML.
pub fn strict_error(unknown: &[String], duplicates: &[String]) -> String {
    let (lines, others): (Vec<&String>, Vec<&String>) = duplicates.iter().partition(|d| d.starts_with("line "));
    let mut parts = Vec::new();
    if !lines.is_empty() {
        parts.push(lines.iter().fold("yaml: unmarshal errors:".to_string(), |text, line| format!("{text}\n  {line}")));
    }
    parts.extend(unknown.iter().map(|path| unknown_field(path)));
    parts.extend(others.into_iter().cloned());
    format!("strict decoding error: {}", parts.join(", "))
}

fn unknown_field(path: &str) -> String {
    format!("unknown field \"{path}\"")
}

/// The same one by one, as `Warning` headers carry them.
pub fn strict_messages(unknown: &[String], duplicates: &[String]) -> Vec<String> {
    let (mut messages, others): (Vec<String>, Vec<String>) = duplicates.iter().cloned().partition(|d| d.starts_with("line "));
    messages.extend(unknown.iter().map(|path| unknown_field(path)));
    messages.extend(others);
    messages
}

/// Where the decoder is, linked through its stack frames so that nothing is allocated until something is wrong.
#[derive(Clone, Copy)]
struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    /// A field of a struct.
    Key(&'a str),
    /// A key of a map, which Go's type errors leave out of the path.
    Entry(&'a str),
    Index(usize),
}

impl<'a> Path<'a> {
    const ROOT: Path<'static> = Path { parent: None, step: Step::Root };

    fn key(&'a self, key: &'a str) -> Path<'a> {
        Path { parent: Some(self), step: Step::Key(key) }
    }

    fn entry(&'a self, key: &'a str) -> Path<'a> {
        Path { parent: Some(self), step: Step::Entry(key) }
    }

    fn index(&'a self, index: usize) -> Path<'a> {
        Path { parent: Some(self), step: Step::Index(index) }
    }

    fn write(&self, out: &mut String) {
        if let Some(parent) = self.parent {
            parent.write(out);
        }
        match self.step {
            Step::Root => {}
            Step::Key(key) | Step::Entry(key) => {
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(key);
            }
            Step::Index(index) => out.push_str(&format!("[{index}]")),
        }
    }

    fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }
}
