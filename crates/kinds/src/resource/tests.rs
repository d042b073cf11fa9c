use crate::registry::builtin;
use serde_json::{Value, json};

fn wrong(name: &str, spec: Value) -> Vec<String> {
    let kind = builtin().into_iter().find(|k| k.names().kind == name).expect("a built-in kind");
    let mut object = json!({"metadata": {"name": "x"}, "spec": spec});
    kind.default(&mut object);
    kind.validate(&object).0.iter().map(ToString::to_string).collect()
}

#[test]
fn claims_and_slices_are_looked_at_whole() {
    let claim = json!({"devices": {
        "requests": [{"name": "r", "exactly": {"deviceClassName": "c", "tolerations": [{"operator": "Exists", "value": "v"}]}}],
        "constraints": [{"requests": ["other"], "matchAttribute": "plain"}],
        "config": [{"requests": ["r"], "opaque": {"driver": "d", "parameters": []}}]}});
    let request = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
    assert_eq!(
        wrong("ResourceClaim", claim),
        [
            "spec.devices.requests[0].exactly.tolerations[0].value: Invalid value: \"v\": must be empty for operator `Exists`".to_string(),
            format!("spec.devices.constraints[0].requests[0]: Invalid value: \"other\": {request}"),
            "spec.devices.constraints[0].matchAttribute: Invalid value: \"plain\": a fully qualified name must be a domain and a name separated by a slash".into(),
            "spec.devices.config[0].opaque.parameters: Invalid value: \"<value omitted>\": must be a valid JSON object".into(),
        ]
    );
    let slice = json!({"driver": "d", "pool": {"name": "p", "resourceSliceCount": 1}, "nodeName": "n", "devices": [{"name": "a", "nodeName": "n",
        "attributes": {"version": {"version": "1.02.3"}}, "allowMultipleAllocations": true,
        "capacity": {"memory": {"value": "10", "requestPolicy": {"default": "3", "validRange": {"min": "2", "step": "2"}}}}}]});
    assert_eq!(
        wrong("ResourceSlice", slice),
        [
            "spec.devices[0].attributes[version].version: Invalid value: \"1.02.3\": must be a string compatible with semver.org spec 2.0.0",
            "spec.devices[0].capacity[memory].requestPolicy.validRange.step: Invalid value: \"3\": value is not a multiple of a given step (2) from (2)",
            "spec.devices[0]: Invalid value: null: `nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec",
        ]
    );
}
