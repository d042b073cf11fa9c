//! Links in pages that come through a proxy: whatever leads to the page's own host leads through the proxy afterwards.
//! Bytes go through as they come; only a tag is ever held back, and of a tag only the values of links change.

use std::io;

/// The attributes of each element that hold an address.
const LINKS: &[(&str, &[&str])] = &[
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["src", "usemap", "formaction"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("video", &["poster", "src"]),
];

/// Elements whose content is no markup until their end tag.
const RAW: &[&str] = &["script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes"];

/// A tag longer than this goes through as it is.
const LONGEST_TAG: usize = 64 << 10;

/// Where a link leads for someone outside; none where it may stay.
pub type Through = Box<dyn Fn(&str) -> Option<String> + Send>;

/// What is next in the page.
enum At {
    Text,
    Comment,
    /// Inside an element of `RAW`.
    Raw(&'static str),
    /// In a tag that was too long to look at.
    Skipped,
}

/// What is written to it can be read from `out`, the links changed.
pub struct Rewriter {
    through: Through,
    at: At,
    held: Vec<u8>,
    pub out: Vec<u8>,
}

impl Rewriter {
    pub fn new(through: Through) -> Self {
        Self { through, at: At::Text, held: Vec::new(), out: Vec::new() }
    }

    /// The page has ended: what was held back is no tag.
    pub fn finish(&mut self) {
        self.out.append(&mut self.held);
    }

    /// Passes on what is understood; false where more has to come first.
    fn step(&mut self, input: &mut &[u8]) -> bool {
        match self.at {
            At::Text => {
                let text = input.iter().position(|b| *b == b'<').unwrap_or(input.len());
                self.pass(input, text);
                self.markup(input)
            }
            At::Comment => self.until(input, b"-->"),
            At::Raw(name) => match raw_end(input, name) {
                Ok(end) => {
                    self.pass(input, end);
                    self.at = At::Text;
                    true
                }
                Err(known) => {
                    self.pass(input, known);
                    false
                }
            },
            At::Skipped => self.until(input, b">"),
        }
    }

    /// `input` begins with `<`, or is empty.
    fn markup(&mut self, input: &mut &[u8]) -> bool {
        match input {
            [] | [b'<'] => false,
            [b'<', b'!', b'-', b'-', ..] => {
                self.pass(input, 4);
                self.at = At::Comment;
                true
            }
            [b'<', b'!'] | [b'<', b'!', b'-'] => false,
            [b'<', letter, ..] if letter.is_ascii_alphabetic() => match tag_end(input) {
                Some(end) => {
                    let (tag, rest) = input.split_at(end);
                    *input = rest;
                    let name = self.tag(tag);
                    if let Some(raw) = RAW.iter().find(|r| r.as_bytes() == name) {
                        self.at = At::Raw(raw);
                    }
                    true
                }
                None if input.len() > LONGEST_TAG => {
                    self.at = At::Skipped;
                    true
                }
                None => false,
            },
            // An end tag, a declaration, or a lone bracket: none of them has links.
            _ => {
                self.pass(input, 1);
                true
            }
        }
    }

    fn pass(&mut self, input: &mut &[u8], length: usize) {
        let (passed, rest) = input.split_at(length);
        self.out.extend_from_slice(passed);
        *input = rest;
    }

    fn until(&mut self, input: &mut &[u8], mark: &[u8]) -> bool {
        match input.windows(mark.len()).position(|w| w == mark) {
            Some(at) => {
                self.pass(input, at + mark.len());
                self.at = At::Text;
                true
            }
            None => {
                let known = input.len().saturating_sub(mark.len() - 1);
                self.pass(input, known);
                false
            }
        }
    }

    /// One whole start tag; answers with its name.
    fn tag(&mut self, tag: &[u8]) -> Vec<u8> {
        let end = tag.iter().position(|b| b.is_ascii_whitespace() || matches!(b, b'/' | b'>')).unwrap_or(tag.len());
        let name = tag[1..end].to_ascii_lowercase();
        let Some((_, links)) = LINKS.iter().find(|(element, _)| element.as_bytes() == name) else {
            self.out.extend_from_slice(tag);
            return name;
        };
        let mut written = 0;
        let mut at = end;
        while let Some(attribute) = next_attribute(tag, &mut at) {
            let (key, value) = attribute;
            let is_link = links.iter().any(|l| tag[key.clone()].eq_ignore_ascii_case(l.as_bytes()));
            let moved = is_link.then(|| std::str::from_utf8(&tag[value.clone()]).ok().and_then(|v| (self.through)(v.trim()))).flatten();
            if let Some(moved) = moved {
                self.out.extend_from_slice(&tag[written..value.start]);
                self.out.extend_from_slice(moved.as_bytes());
                written = value.end;
            }
        }
        self.out.extend_from_slice(&tag[written..]);
        name
    }
}

impl io::Write for Rewriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(bytes);
        let mut input = held.as_slice();
        while self.step(&mut input) {}
        self.held = input.to_vec();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Past the `>` that ends the tag at the beginning; one in quotes does not.
fn tag_end(input: &[u8]) -> Option<usize> {
    let mut quote = None;
    let mut before = b' ';
    for (at, byte) in input.iter().enumerate() {
        match (quote, byte) {
            (Some(open), byte) if open == *byte => quote = None,
            (None, b'>') => return Some(at + 1),
            // Elsewhere than at the beginning of a value a quote is a letter like others.
            (None, b'"' | b'\'') if before == b'=' => quote = Some(*byte),
            _ => {}
        }
        if !byte.is_ascii_whitespace() {
            before = *byte;
        }
    }
    None
}

/// Where the end tag of a raw element begins, or how much is certainly not part of one.
fn raw_end(input: &[u8], name: &str) -> Result<usize, usize> {
    let length = name.len() + 2;
    let ends = |w: &[u8]| w.starts_with(b"</") && w[2..].eq_ignore_ascii_case(name.as_bytes());
    input.windows(length).position(ends).ok_or(input.len().saturating_sub(length - 1))
}

type Range = std::ops::Range<usize>;

/// The next `key=value` in a tag, from `at` on, as ranges of it; keys without values are left out.
fn next_attribute(tag: &[u8], at: &mut usize) -> Option<(Range, Range)> {
    let skip = |from: usize, what: fn(u8) -> bool| from + tag[from..].iter().take_while(|b| what(**b)).count();
    loop {
        let start = skip(*at, |b| b.is_ascii_whitespace() || b == b'/');
        if tag.get(start).is_none_or(|b| *b == b'>') {
            return None;
        }
        // A key may begin with an equals sign; it ends at the next.
        let end = skip(start + 1, |b| !b.is_ascii_whitespace() && !matches!(b, b'=' | b'/' | b'>'));
        let equals = skip(end, |b| b.is_ascii_whitespace());
        if tag.get(equals) != Some(&b'=') {
            *at = end;
            continue;
        }
        let value = skip(equals + 1, |b| b.is_ascii_whitespace());
        let range = match tag.get(value) {
            Some(quote @ (b'"' | b'\'')) => {
                let close = value + 1 + tag[value + 1..].iter().position(|b| b == quote)?;
                *at = close + 1;
                value + 1..close
            }
            _ => {
                *at = skip(value, |b| !b.is_ascii_whitespace() && b != b'>');
                value..*at
            }
        };
        return Some((start..end, range));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn page(pieces: &[&[u8]]) -> String {
        let mut rewriter = Rewriter::new(Box::new(|link| link.starts_with('/').then(|| format!("/p/proxy{link}"))));
        for piece in pieces {
            rewriter.write_all(piece).unwrap();
        }
        rewriter.finish();
        String::from_utf8(rewriter.out).unwrap()
    }

    #[test]
    fn links_of_a_page_lead_through_the_proxy_wherever_it_is_cut() {
        let before = "<!DOCTYPE html><!-- <a href=\"/no\"> --><html>\n<pre><A class=x HREF='/rewrite?me'>a > b</a> <a href=/bare>é</a>\
            <a href=\"there\" title=\"/x\"><img alt='>' src = \"/i.png\"/><script src=/s.js>if (a<b) \"<a href='/no'>\"</script><a x href=\"/y\"></pre";
        let after = "<!DOCTYPE html><!-- <a href=\"/no\"> --><html>\n<pre><A class=x HREF='/p/proxy/rewrite?me'>a > b</a> \
            <a href=/p/proxy/bare>é</a><a href=\"there\" title=\"/x\"><img alt='>' src = \"/p/proxy/i.png\"/>\
            <script src=/p/proxy/s.js>if (a<b) \"<a href='/no'>\"</script><a x href=\"/p/proxy/y\"></pre";
        assert_eq!(page(&[before.as_bytes()]), after);
        for at in 0..before.len() {
            let (one, other) = before.as_bytes().split_at(at);
            assert_eq!(page(&[one, other]), after, "cut at {at}");
        }
    }

    #[test]
    fn a_tag_that_does_not_end_is_not_held_back() {
        let mut rewriter = Rewriter::new(Box::new(|_| None));
        rewriter.write_all(b"<a ").unwrap();
        for _ in 0..100 {
            rewriter.write_all(&[b'x'; 1024]).unwrap();
        }
        assert!(rewriter.held.len() <= LONGEST_TAG + 1024);
        rewriter.finish();
        assert_eq!(rewriter.out.len(), 3 + 100 * 1024);
    }
}
