//! Names and keys: what characters, how long.

const DNS_LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const DNS_SUBDOMAIN: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const DNS_LABEL_RULE: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character";
const DNS_SUBDOMAIN_RULE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";
const KEY_RULE: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
const KEY: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";

pub const SUBDOMAIN_MAX: usize = 253;
pub const LABEL_MAX: usize = 63;

/// Upstream words the same limit in two ways: characters in `util/validation`, bytes in `api/validate/content`.
fn too_long(max: usize, unit: &str) -> String {
    format!("must be no more than {max} {unit}")
}

fn regex_error(rule: &str, regex: &str, examples: &[&str]) -> String {
    let examples: Vec<String> = examples.iter().map(|e| format!("'{e}', ")).collect();
    format!("{rule} (e.g. {}regex used for validation is '{regex}')", examples.join(" or "))
}

fn lower_alnum(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

/// First and last byte satisfy `edge`, those between `inner`.
fn framed(text: &str, edge: impl Fn(u8) -> bool, inner: impl Fn(u8) -> bool) -> bool {
    match text.as_bytes() {
        [] => false,
        [one] => edge(*one),
        [first, middle @ .., last] => edge(*first) && edge(*last) && middle.iter().all(|b| inner(*b)),
    }
}

fn is_dns_label(text: &str) -> bool {
    framed(text, lower_alnum, |b| lower_alnum(b) || b == b'-')
}

fn is_dns_subdomain(text: &str) -> bool {
    text.split('.').all(is_dns_label)
}

fn is_key(text: &str) -> bool {
    framed(text, |b| b.is_ascii_alphanumeric(), |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// A prefix may end in a dash, since something will follow; the check sees a valid character there instead.
fn masked(name: &str, is_prefix: bool) -> std::borrow::Cow<'_, str> {
    match name.strip_suffix('-') {
        Some(rest) if is_prefix && !rest.is_empty() => {
            let cut = rest.char_indices().next_back().map_or(0, |(i, _)| i);
            format!("{}a", &rest[..cut]).into()
        }
        _ => name.into(),
    }
}

pub fn dns_subdomain(name: &str, is_prefix: bool) -> Vec<String> {
    dns_subdomain_of(&masked(name, is_prefix), "characters")
}

fn dns_subdomain_of(name: &str, unit: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if name.len() > SUBDOMAIN_MAX {
        errors.push(too_long(SUBDOMAIN_MAX, unit));
    }
    if !is_dns_subdomain(name) {
        errors.push(regex_error(DNS_SUBDOMAIN_RULE, DNS_SUBDOMAIN, &["example.com"]));
    }
    errors
}

/// Search paths of resolvers may have underscores too.
pub fn dns_subdomain_with_underscore(name: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if name.len() > SUBDOMAIN_MAX {
        errors.push(too_long(SUBDOMAIN_MAX, "characters"));
    }
    let label = |label: &str| framed(label.strip_prefix('_').unwrap_or(label), lower_alnum, |b| lower_alnum(b) || matches!(b, b'-' | b'_'));
    if !name.split('.').all(label) {
        let rule = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
        let regex = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*";
        errors.push(regex_error(rule, regex, &["example.com"]));
    }
    errors
}

pub fn dns_label(name: &str, is_prefix: bool) -> Vec<String> {
    let name = masked(name, is_prefix);
    let mut errors = Vec::new();
    if name.len() > LABEL_MAX {
        errors.push(too_long(LABEL_MAX, "characters"));
    }
    if !is_dns_label(&name) {
        errors.push(if is_dns_subdomain(&name) {
            "must not contain dots".into()
        } else {
            regex_error(DNS_LABEL_RULE, DNS_LABEL, &["my-name", "123-abc"])
        });
    }
    errors
}

pub fn dns1035_label(name: &str, is_prefix: bool) -> Vec<String> {
    let name = masked(name, is_prefix);
    let mut errors = Vec::new();
    if name.len() > LABEL_MAX {
        errors.push(too_long(LABEL_MAX, "characters"));
    }
    if !is_dns_label(&name) || !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        let rule = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character";
        errors.push(regex_error(rule, "[a-z]([-a-z0-9]*[a-z0-9])?", &["my-name", "abc-123"]));
    }
    errors
}

/// A name that only has to fit into a URL path (roles and their bindings).
pub fn path_segment(name: &str, is_prefix: bool) -> Vec<String> {
    if !is_prefix && (name == "." || name == "..") {
        return vec![format!("may not be '{name}'")];
    }
    ["/", "%"].iter().filter(|part| name.contains(**part)).map(|part| format!("may not contain '{part}'")).collect()
}

pub fn wildcard_dns_subdomain(name: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if name.len() > SUBDOMAIN_MAX {
        errors.push(too_long(SUBDOMAIN_MAX, "characters"));
    }
    if !name.strip_prefix("*.").is_some_and(is_dns_subdomain) {
        let rule = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character";
        errors.push(regex_error(rule, &format!("\\*\\.{DNS_SUBDOMAIN}"), &["*.example.com"]));
    }
    errors
}

/// A label key: a name, with an optional DNS subdomain and `/` before it.
pub fn qualified_name(name: &str) -> Vec<String> {
    let examples = ["MyName", "my.name", "123-abc"];
    let mut errors = Vec::new();
    let part = match name.split('/').collect::<Vec<_>>()[..] {
        [part] => part,
        [prefix, part] => {
            if prefix.is_empty() {
                errors.push("prefix part must be non-empty".into());
            } else {
                errors.extend(dns_subdomain_of(prefix, "bytes").into_iter().map(|e| format!("prefix part {e}")));
            }
            part
        }
        _ => {
            let rule = regex_error(KEY_RULE, KEY, &examples);
            return vec![format!("a valid label key {rule} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')")];
        }
    };
    if part.is_empty() {
        errors.push("name part must be non-empty".into());
    } else if part.len() > LABEL_MAX {
        errors.push(format!("name part {}", too_long(LABEL_MAX, "bytes")));
    }
    if !is_key(part) {
        errors.push(format!("name part {}", regex_error(KEY_RULE, KEY, &examples)));
    }
    errors
}

/// A domain name of at least three segments (signer names, driver names).
pub fn fully_qualified_name(name: &str) -> Vec<String> {
    let errors = dns_subdomain(name, false);
    if errors.is_empty() && name.split('.').count() < 3 {
        return vec!["should be a domain with at least three segments separated by dots".into()];
    }
    errors
}

pub fn label_value(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > LABEL_MAX {
        errors.push(too_long(LABEL_MAX, "bytes"));
    }
    if !value.is_empty() && !is_key(value) {
        let rule = format!("a valid label must be an empty string or {}", &KEY_RULE["must ".len()..]);
        errors.push(regex_error(&rule, &format!("({KEY})?"), &["MyValue", "my_value", "12345"]));
    }
    errors
}

/// Names that would climb out of the directory they are written to.
fn climbing(name: &str) -> Option<String> {
    match name {
        "." | ".." => Some(format!("must not be '{name}'")),
        _ if name.starts_with("..") => Some("must not start with '..'".into()),
        _ => None,
    }
}

pub fn env_var_name(name: &str) -> Vec<String> {
    let mut errors = Vec::new();
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.bytes().all(allowed) {
        let rule = "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', and must not start with a digit";
        errors.push(regex_error(rule, "[-._a-zA-Z][-._a-zA-Z0-9]*", &["my.env-name", "MY_ENV.NAME", "MyEnvName1"]));
    }
    errors.extend(climbing(name));
    errors
}

/// What pods may use since `RelaxedEnvironmentVariableValidation`: anything printable but `=`.
pub fn relaxed_env_var_name(name: &str) -> Vec<String> {
    if name.is_empty() {
        return vec!["environment variable name must be non-empty".into()];
    }
    if name.bytes().all(|b| (b == b' ' || b.is_ascii_graphic()) && b != b'=') {
        return Vec::new();
    }
    vec!["a valid environment variable name must consist only of printable ASCII characters other than '='".into()]
}

pub fn config_map_key(key: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if key.len() > SUBDOMAIN_MAX {
        errors.push(too_long(SUBDOMAIN_MAX, "characters"));
    }
    if key.is_empty() || !key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_')) {
        let rule = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
        errors.push(regex_error(rule, "[-._a-zA-Z0-9]+", &["key.name", "KEY_NAME", "key-name"]));
    }
    errors.extend(climbing(key));
    errors
}

pub fn c_identifier(name: &str) -> Vec<String> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.bytes().all(word) {
        return Vec::new();
    }
    let rule = "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_'";
    vec![regex_error(rule, "[A-Za-z_][A-Za-z0-9_]*", &["my_name", "MY_NAME", "MyName"])]
}

pub fn http_header_name(name: &str) -> Vec<String> {
    if !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Vec::new();
    }
    vec![regex_error("a valid HTTP header must consist of alphanumeric characters or '-'", "[-A-Za-z0-9]+", &["X-Header-Name"])]
}

pub fn percent(text: &str) -> Vec<String> {
    if text.strip_suffix('%').is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())) {
        return Vec::new();
    }
    vec![regex_error("a valid percent string must be a numeric string followed by an ending '%'", "[0-9]+%", &["1%", "93%"])]
}
