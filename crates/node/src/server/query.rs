//! The parameters and the path segments of a request.

/// Names and values, decoded, in order.
pub struct Query(Vec<(String, String)>);

impl Query {
    pub fn of(uri: &http::Uri) -> Self {
        let pairs = uri.query().unwrap_or_default().split('&').filter(|p| !p.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name, true), decode(value, true))
        });
        Self(pairs.collect())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str()).filter(|v| !v.is_empty())
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub fn flag(&self, name: &str) -> bool {
        self.0.iter().any(|(n, v)| n == name && !matches!(v.as_str(), "false" | "0" | "False" | "FALSE" | "f" | "F"))
    }

    pub fn number(&self, name: &str) -> Result<Option<i64>, String> {
        let parse = |text: &str| text.parse::<i64>().map_err(|_| format!("invalid value {text:?} of {name}"));
        self.get(name).map(parse).transpose()
    }
}

pub fn segments(path: &str) -> Vec<String> {
    path.split('/').filter(|p| !p.is_empty()).map(|p| decode(p, false)).collect()
}

/// Undoes percent encoding; what is not valid UTF-8 afterwards is replaced.
fn decode(text: &str, plus_is_space: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let hex = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
        let escaped = (bytes[i] == b'%').then(|| Some(hex(*bytes.get(i + 1)?)? << 4 | hex(*bytes.get(i + 2)?)?)).flatten();
        match (escaped, bytes[i]) {
            (Some(byte), _) => {
                out.push(byte);
                i += 2;
            }
            (None, b'+') if plus_is_space => out.push(b' '),
            (None, byte) => out.push(byte),
        }
        i += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let query = Query::of(&"/exec?command=sh&command=-c&command=a+%26%26b&tty=1&stdin=false&tailLines=".parse().unwrap());
        assert_eq!(query.all("command").collect::<Vec<_>>(), ["sh", "-c", "a &&b"]);
        assert!(query.flag("tty") && !query.flag("stdin") && !query.flag("stdout"));
        assert_eq!(query.number("tailLines"), Ok(None));
    }
}
