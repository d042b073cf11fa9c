//! YAML from strangers. The scanner beneath takes time that grows with the square of how deep brackets are
//! nested, and aliases make much of little, so both are bounded before it begins.

/// More brackets than this open at once: far more than any object has. Those in strings count too.
const DEEPEST: usize = 1000;
/// The largest document that may use aliases.
const WITH_ALIASES: usize = 64 << 10;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("exceeded max depth: more than {DEEPEST} brackets are open at once")]
    Deep,
    #[error("document contains excessive aliasing: with aliases it may have {WITH_ALIASES} bytes at most")]
    Aliases,
}

/// Before the document is parsed.
pub fn bounded(bytes: &[u8]) -> Result<(), Error> {
    let (mut depth, mut before, mut aliases) = (0_usize, b'\n', false);
    for byte in bytes {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'*' => aliases |= matches!(before, b' ' | b'\t' | b'\r' | b'\n' | b'[' | b'{' | b',' | b':' | b'-'),
            _ => {}
        }
        if depth > DEEPEST {
            return Err(Error::Deep);
        }
        before = *byte;
    }
    if aliases && bytes.len() > WITH_ALIASES { Err(Error::Aliases) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_take_for_ever_is_refused_at_once() {
        for open in ["[", "{a: ", "- [", "? {"] {
            assert!(matches!(bounded(open.repeat(500_000).as_bytes()), Err(Error::Deep)), "{open}");
        }
        let padding = format!("x: {}\n", "y".repeat(WITH_ALIASES));
        assert!(matches!(bounded(format!("a: &a 1\nb: *a\n{padding}").as_bytes()), Err(Error::Aliases)));
        assert!(bounded(b"a: &a [1, 2]\nb: *a\n").is_ok());
        assert!(bounded(format!("a: \"{}\"\n{padding}", "[".repeat(900)).as_bytes()).is_ok());
    }
}
