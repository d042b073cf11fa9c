//! `$(NAME)` in commands, arguments and environment values: replaced where the name is known, left as
//! it stands where not; `$$` is a dollar sign.

pub fn expand(text: &str, known: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        match rest.chars().next() {
            Some('$') => {
                out.push('$');
                rest = &rest[1..];
            }
            Some('(') => match rest.find(')') {
                Some(end) => {
                    let name = &rest[1..end];
                    match known(name) {
                        Some(value) => out.push_str(&value),
                        None => {
                            out.push('$');
                            out.push_str(&rest[..=end]);
                        }
                    }
                    rest = &rest[end + 1..];
                }
                None => out.push('$'),
            },
            _ => out.push('$'),
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn known_names_are_replaced_and_others_left() {
        let known = |name: &str| (name == "A").then(|| "x".to_string());
        for (text, expanded) in [("$(A)-$(B)", "x-$(B)"), ("$$(A)", "$(A)"), ("$$$(A)", "$x"), ("a$", "a$"), ("$(A", "$(A"), ("$A", "$A")] {
            assert_eq!(super::expand(text, &known), expanded, "{text}");
        }
    }
}
