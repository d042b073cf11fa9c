//! From a method and a path to attributes, by the rules of upstream's request info.

use crate::attributes::Attributes;
use crate::query::{Query, decode};
use http::{Method, Uri};
use meta::fields;

/// What is written below a namespace's own path rather than to objects in it.
const OF_NAMESPACES: [&str; 2] = ["status", "finalize"];

/// Without the user.
pub fn attributes(method: &Method, uri: &Uri, query: &Query) -> Attributes {
    let path = uri.path();
    let mut out = Attributes { path: path.to_string(), verb: method.as_str().to_lowercase(), ..Attributes::default() };
    let parts: Vec<String> = path.split('/').filter(|p| !p.is_empty()).map(|p| decode(p, false)).collect();
    let mut parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    // What is proxied may look as it likes; before that, an empty part is a path that nobody serves.
    if path.split("/proxy/").next().is_some_and(|own| own.contains("//")) {
        return out;
    }
    let below = match parts.first() {
        Some(&"api") if parts.len() >= 3 => 2,
        Some(&"apis") if parts.len() >= 4 => 3,
        _ => return out,
    };
    let grouped = below == 3;
    out.is_resource = true;
    if grouped {
        out.group = parts[1].to_string();
    }
    out.version = parts[below - 1].to_string();
    parts.drain(..below);
    let deprecated_watch = parts.first() == Some(&"watch") && parts.len() > 1;
    if deprecated_watch {
        parts.remove(0);
    }
    out.verb = match *method {
        Method::POST => "create",
        Method::GET | Method::HEAD => "get",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "",
    }
    .to_string();
    if parts[0] == "namespaces" && parts.len() > 1 {
        out.namespace = parts[1].to_string();
        if parts.len() > 2 && !OF_NAMESPACES.contains(&parts[2]) {
            parts.drain(..2);
        }
    }
    out.resource = parts[0].to_string();
    if let Some(name) = parts.get(1) {
        out.name = (*name).to_string();
        out.named = true;
    }
    if let Some(subresource) = parts.get(2) {
        out.subresource = (*subresource).to_string();
    }
    out.rest = rest(path, &parts);
    if !out.named && matches!(out.verb.as_str(), "get" | "delete") {
        out.label_selector = query.text("labelSelector").to_string();
        out.field_selector = query.text("fieldSelector").to_string();
        if let Some(name) = fields::Selector::parse(&out.field_selector).ok().and_then(|s| s.required("metadata.name").map(str::to_string))
        {
            out.name = name;
        }
        out.verb = match (out.verb.as_str(), query.flag("watch") || deprecated_watch) {
            ("delete", _) => "deletecollection",
            (_, true) => "watch",
            (_, false) => "list",
        }
        .to_string();
    } else if deprecated_watch && out.verb == "get" {
        out.field_selector = format!("metadata.name={}", out.name);
        out.verb = "watch".to_string();
        out.named = false;
    }
    out
}

/// What follows the subresource, as the path spells it, a closing slash included.
fn rest(path: &str, parts: &[&str]) -> String {
    if parts.len() <= 3 {
        return String::new();
    }
    let wanted = parts.len() - 3;
    let mut end = path.trim_end_matches('/').len();
    for _ in 0..wanted {
        end = path[..end].trim_end_matches('/').rfind('/').unwrap_or(0);
    }
    path[end..].trim_start_matches('/').to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(method: Method, uri: &str) -> Attributes {
        let uri: Uri = uri.parse().unwrap();
        let query = Query::of(&uri);
        attributes(&method, &uri, &query)
    }

    #[test]
    fn paths_say_what_is_wanted() {
        let words =
            |a: &Attributes| format!("{} {} {} {} {} {} {}", a.verb, a.group, a.version, a.namespace, a.resource, a.name, a.subresource);
        for (method, uri, expected) in [
            (Method::GET, "/api/v1/pods", "list  v1  pods  "),
            (Method::GET, "/api/v1/namespaces/a/pods?watch=1", "watch  v1 a pods  "),
            (Method::GET, "/api/v1/namespaces/a/pods/b/log", "get  v1 a pods b log"),
            (Method::GET, "/api/v1/namespaces/a", "get  v1 a namespaces a "),
            (Method::PUT, "/api/v1/namespaces/a/finalize", "update  v1 a namespaces a finalize"),
            (Method::GET, "/api/v1/namespaces", "list  v1  namespaces  "),
            (Method::DELETE, "/apis/apps/v1/namespaces/a/deployments", "deletecollection apps v1 a deployments  "),
            (Method::GET, "/api/v1/watch/namespaces/a/pods", "watch  v1 a pods  "),
            (Method::GET, "/api/v1/pods?fieldSelector=metadata.name%3Dx", "list  v1  pods x "),
        ] {
            assert_eq!(words(&parse(method, uri)), expected, "{uri}");
        }
        assert!(!parse(Method::GET, "/apis/apps/v1").is_resource);
        assert_eq!(parse(Method::GET, "/version").verb, "get");
    }

    #[test]
    fn the_rest_of_a_proxied_path_is_kept_as_it_is() {
        assert_eq!(parse(Method::GET, "/api/v1/nodes/n/proxy/a%20b/c/").rest, "a%20b/c/");
        assert_eq!(parse(Method::GET, "/api/v1/nodes/n/proxy/").rest, "");
        assert_eq!(parse(Method::GET, "/api/v1/namespaces/a/services/s/proxy/x").rest, "x");
    }
}
