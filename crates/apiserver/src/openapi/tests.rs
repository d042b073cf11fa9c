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

/// Operations have the names that generated clients know them by.
#[test]
fn operations_are_named_as_a_stock_api_server_names_them() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/kubernetes-1.36/openapi/v3/apis__apps__v1_openapi.json");
    let Ok(text) = std::fs::read(path) else {
        eprintln!("skipped: {path} is absent");
        return;
    };
    let theirs: Value = serde_json::from_slice(&text).expect("the published document parses");
    let ours = v3::document(&kinds::registry::builtin(), &GroupVersion::new("apps", "v1"));
    let mut wrong = Vec::new();
    for (path, operations) in theirs["paths"].as_object().into_iter().flatten() {
        if path.contains("/watch/") || path.ends_with('/') {
            continue;
        }
        for (method, operation) in operations.as_object().into_iter().flatten().filter(|(m, _)| *m != "parameters") {
            let ours = &ours["paths"][path][method];
            for key in ["operationId", "x-kubernetes-action", "x-kubernetes-group-version-kind", "tags"] {
                if ours[key] != operation[key] {
                    wrong.push(format!("{method} {path}: {key} {} instead of {}", ours[key], operation[key]));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn packing_keeps_a_document_and_protobuf_is_not_acceptable() {
    let document = json!({"a": [1, 2, 3]});
    let packed = pack(&document).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&unpack(&packed).unwrap()).unwrap(), document);
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, "application/com.github.proto-openapi.spec.v2@v1.0+protobuf".parse().unwrap());
    assert_eq!(accept(&headers).unwrap_err().code, 406);
    headers.insert(ACCEPT, "application/json, */*".parse().unwrap());
    assert!(accept(&headers).is_ok());
}
