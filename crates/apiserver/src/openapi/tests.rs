use super::*;
use http::header::ACCEPT;
use std::collections::BTreeSet;

fn references(value: &Value, out: &mut BTreeSet<String>) {
    for part in value.to_string().split("\"$ref\":\"").skip(1) {
        out.extend(part.split('"').next().and_then(|r| r.rsplit('/').next()).map(str::to_string));
    }
}

/// kubectl looks for these before it dares to validate on the server, and explain goes by the paths.
#[test]
fn every_document_is_whole_and_says_what_kubectl_looks_for() {
    let kinds = kinds::registry::builtin();
    let versions: BTreeSet<String> = kinds.iter().map(|k| k.names().group_version().to_string()).collect();
    for gv in versions {
        let gv = version(&if gv.contains('/') { format!("apis/{gv}") } else { format!("api/{gv}") }).unwrap();
        let document = v3::document(&kinds, &gv);
        let mut needed = BTreeSet::new();
        references(&document, &mut needed);
        for name in needed {
            assert!(document["components"]["schemas"].get(&name).is_some(), "{gv}: {name} is referred to and not there");
        }
        for kind in kinds.iter().filter(|k| k.names().group_version() == gv && k.verbs().contains(&"patch")) {
            let names = kind.names();
            let space = if names.namespaced() { "namespaces/{namespace}/" } else { "" };
            let path = format!("{}/{space}{}/{{name}}", operations::base(&gv.group, &gv.version), names.plural);
            let patch = &document["paths"][&path]["patch"];
            assert_eq!(patch["x-kubernetes-group-version-kind"]["kind"], *names.kind, "{path}");
            assert!(patch["parameters"].as_array().is_some_and(|p| p.iter().any(|p| p["name"] == "fieldValidation")), "{path}");
        }
    }
    let document = v2::document(&kinds);
    let mut needed = BTreeSet::new();
    references(&document, &mut needed);
    for name in needed {
        assert!(document["definitions"].get(&name).is_some(), "{name} is referred to and not there");
    }
}

fn published(file: &str) -> Option<Value> {
    let path = format!("{}/../../../shared/kubernetes-1.36/openapi/{file}", env!("CARGO_MANIFEST_DIR"));
    let Ok(text) = std::fs::read(&path) else {
        eprintln!("skipped: {path} is absent");
        return None;
    };
    Some(serde_json::from_slice(&text).expect("the published document parses"))
}

/// Of what a stock server describes, and this one does not: watches by a path of their own, which are deprecated and
/// not published here, and what discovery answers at the roots of groups.
fn is_other(path: &str) -> bool {
    path.contains("/watch/") || path.ends_with('/')
}

/// Parameters of features that are alpha and off in a stock server too.
const NOT_TAKEN: [&str; 2] = ["ignoreStoreReadErrorWithClusterBreakingPotential", "shardSelector"];

/// Operations have the names that generated clients know them by, and take the same parameters.
#[test]
fn operations_are_those_of_a_stock_api_server() {
    let kinds = kinds::registry::builtin();
    let versions: BTreeSet<String> = kinds.iter().map(|k| k.names().group_version().to_string()).collect();
    let mut wrong = Vec::new();
    for gv in versions {
        let base = if gv.contains('/') { format!("apis/{gv}") } else { format!("api/{gv}") };
        let Some(theirs) = published(&format!("v3/{}_openapi.json", base.replace('/', "__"))) else { return };
        let ours = v3::document(&kinds, &version(&base).expect("a version"));
        for (path, operations) in theirs["paths"].as_object().into_iter().flatten().filter(|(path, _)| !is_other(path)) {
            for (method, operation) in operations.as_object().into_iter().flatten().filter(|(m, _)| *m != "parameters") {
                let ours = &ours["paths"][path][method];
                for key in ["operationId", "x-kubernetes-action", "x-kubernetes-group-version-kind", "tags"] {
                    if ours[key] != operation[key] {
                        wrong.push(format!("{method} {path}: {key} {} instead of {}", ours[key], operation[key]));
                    }
                }
                let named = |of: &Value| -> BTreeSet<String> {
                    of["parameters"].as_array().into_iter().flatten().filter_map(|p| Some(p["name"].as_str()?.to_string())).collect()
                };
                let missing: Vec<String> =
                    named(operation).difference(&named(ours)).filter(|p| !NOT_TAKEN.contains(&p.as_str())).cloned().collect();
                if !missing.is_empty() {
                    wrong.push(format!("{method} {path}: no parameters {missing:?}"));
                }
            }
        }
        for path in ours["paths"].as_object().into_iter().flatten().map(|(path, _)| path) {
            if theirs["paths"].get(path).is_none() {
                wrong.push(format!("{path} is not upstream's"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differences\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_older_document_has_every_stable_path() {
    let Some(theirs) = published("v2.json") else { return };
    let ours = v2::document(&kinds::registry::builtin());
    let unstable = |path: &str| ["alpha", "beta"].iter().any(|word| path.contains(word));
    let resources = |path: &str| path.starts_with("/api/v1/") || path.matches('/').count() > 3;
    let theirs = theirs["paths"].as_object().into_iter().flatten();
    let missing: Vec<String> = theirs
        .filter(|(path, _)| path.starts_with("/api") && resources(path) && !is_other(path) && !unstable(path))
        .flat_map(|(path, operations)| operations.as_object().into_iter().flatten().map(move |(method, _)| (path, method)))
        .filter(|(path, method)| ours["paths"][path.as_str()].get(method.as_str()).is_none())
        .map(|(path, method)| format!("{method} {path}"))
        .collect();
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn packing_keeps_a_document_and_the_form_is_the_clients_to_choose() {
    let document = br#"{"a": [1, 2, 3]}"#;
    assert_eq!(&unpack(&pack(document).unwrap()).unwrap()[..], document);
    let mut headers = HeaderMap::new();
    let mut asked = |accept: &'static str| {
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        (wanted(&headers).ok(), accept_newer(&headers))
    };
    assert_eq!(asked("application/com.github.proto-openapi.spec.v2@v1.0+protobuf"), (Some(true), false));
    assert_eq!(asked("application/com.github.proto-openapi.spec.v3.v1.0+protobuf"), (None, false));
    assert_eq!(asked("application/json, */*"), (Some(false), true));
}

fn accept_newer(headers: &HeaderMap) -> bool {
    accept(headers).is_ok()
}
