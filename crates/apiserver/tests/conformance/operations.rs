//! Kinds of which the suite asks that every operation works.

use crate::support::*;
use serde_json::{Value, json};

const LABEL: &str = "labelSelector=suite%3Dops";

struct Kind<'a> {
    /// `/apis/<group>/<version>`
    group: &'a str,
    /// With its namespace, where it has one.
    place: &'a str,
    body: Value,
    /// A merge patch of `/status`, and where it is to be seen.
    status: Option<(Value, &'a str)>,
}

impl Kind<'_> {
    fn object(&self, name: &str) -> Value {
        let mut object = self.body.clone();
        object["metadata"] = json!({"name": name, "labels": {"suite": "ops"}});
        object
    }

    async fn is_discovered(&self, s: &Server) {
        let plural = self.place.rsplit('/').next().unwrap();
        let found = s.get(self.group).await.expect(200);
        let resource = |name: &str| found["resources"].as_array().unwrap().iter().find(|r| r["name"] == name).cloned();
        let verbs = resource(plural).unwrap_or_else(|| panic!("{plural} is not in {found}"))["verbs"].clone();
        for verb in ["create", "get", "list", "watch", "update", "patch", "delete", "deletecollection"] {
            assert!(verbs.as_array().unwrap().contains(&json!(verb)), "{plural}: {verb} is not in {verbs}");
        }
        assert_eq!(resource(&format!("{plural}/status")).is_some(), self.status.is_some(), "{plural}/status");
        if let Some(group) = self.group.strip_prefix("/apis/").and_then(|g| g.split_once('/')) {
            let groups = s.get("/apis").await.expect(200);
            assert!(groups["groups"].as_array().unwrap().iter().any(|g| g["name"] == group.0), "{} is not in {groups}", group.0);
            let versions = s.get(&format!("/apis/{}", group.0)).await.expect(200);
            assert!(versions["versions"].as_array().unwrap().iter().any(|v| v["version"] == group.1), "{versions}");
        }
    }

    async fn work(self) {
        let (s, _dir) = server().await;
        self.is_discovered(&s).await;
        let uri = format!("{}/{}", self.group, self.place);
        let start = version(&s.get(&uri).await.expect(200));
        for name in ["a", "b", "c"] {
            s.post(&uri, self.object(name)).await.expect(201);
        }
        let a = format!("{uri}/a");
        let made = s.get(&a).await.expect(200);
        assert_eq!(names(&s.get(&format!("{uri}?{LABEL}")).await.expect(200)), ["a", "b", "c"]);
        let patched = s.patch(&a, MERGE, json!({"metadata": {"annotations": {"patched": "true"}}})).await.expect(200);
        assert_eq!(
            (&patched["metadata"]["annotations"]["patched"], &patched["metadata"]["uid"]),
            (&json!("true"), &made["metadata"]["uid"])
        );
        let mut update = patched.clone();
        update["metadata"]["annotations"]["updated"] = json!("true");
        let updated = s.put(&a, update).await.expect(200);
        assert_eq!(updated["metadata"]["annotations"], json!({"patched": "true", "updated": "true"}));
        let mut writes = 5;
        if let Some((change, place)) = &self.status {
            let status = format!("{a}/status");
            let patched = s.patch(&status, MERGE, json!({"status": change})).await.expect(200);
            assert_eq!(patched.pointer(place), json!({"status": change}).pointer(place), "{patched}");
            assert_eq!(s.get(&status).await.expect(200), patched);
            let mut update = patched.clone();
            update["metadata"]["annotations"]["statused"] = json!("true");
            let after = s.put(&status, update).await.expect(200);
            assert_eq!(after["status"], patched["status"]);
            writes += 1 + usize::from(version(&after) > version(&patched));
        }
        s.delete(&a, Value::Null).await.expect(200);
        assert_eq!(s.get(&a).await.expect(404)["reason"], "NotFound");
        s.delete(&format!("{uri}?{LABEL}"), Value::Null).await.expect(200);
        assert!(names(&s.get(&format!("{uri}?{LABEL}")).await.expect(200)).is_empty());
        let gone = |events: &[Value]| types(events).iter().filter(|t| **t == "DELETED").count() == 3;
        let events = s.events_until(&format!("{uri}?watch=1&{LABEL}&resourceVersion={start}"), gone).await;
        // Others may write too: somebody checks the expressions of policies and says so in their status.
        let told = |name: &str| -> Vec<String> {
            let of = events.iter().filter(|e| e["object"]["metadata"]["name"] == name);
            of.map(|e| e["type"].as_str().unwrap().to_string()).collect()
        };
        for (name, changes) in [("a", writes - 3), ("b", 0), ("c", 0)] {
            let told = told(name);
            assert_eq!((told[0].as_str(), told[told.len() - 1].as_str()), ("ADDED", "DELETED"), "{name}: {told:?}");
            let between = &told[1..told.len() - 1];
            assert!(between.iter().all(|t| t == "MODIFIED") && between.len() >= changes, "{name}: {told:?}");
        }
    }
}

/// Behaviour: [sig-api-machinery] API priority and fairness should support FlowSchema API operations
#[tokio::test(flavor = "multi_thread")]
async fn flow_schemas_have_every_operation() {
    let rules = json!([{"subjects": [{"kind": "User", "user": {"name": "nobody"}}],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["/unknown"]}]}]);
    let body = json!({"spec": {"matchingPrecedence": 9000, "priorityLevelConfiguration": {"name": "global-default"},
        "distinguisherMethod": {"type": "ByUser"}, "rules": rules}});
    let change =
        json!({"conditions": [{"type": "Dangling", "status": "True", "reason": "Tested", "message": "m", "lastTransitionTime": null}]});
    let status = Some((change, "/status/conditions/0/reason"));
    Kind { group: "/apis/flowcontrol.apiserver.k8s.io/v1", place: "flowschemas", body, status }.work().await;
}

/// Behaviour: [sig-api-machinery] API priority and fairness should support PriorityLevelConfiguration API operations
#[tokio::test(flavor = "multi_thread")]
async fn priority_levels_have_every_operation() {
    let limited = json!({"nominalConcurrencyShares": 2, "limitResponse": {"type": "Reject"}});
    let body = json!({"spec": {"type": "Limited", "limited": limited}});
    let status = Some((json!({"conditions": [{"type": "Tested", "status": "True", "reason": "Tested"}]}), "/status/conditions/0/reason"));
    Kind { group: "/apis/flowcontrol.apiserver.k8s.io/v1", place: "prioritylevelconfigurations", body, status }.work().await;
}

fn matches_pods() -> Value {
    json!({"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
        "objectSelector": {"matchLabels": {"nobody": "has-this"}}})
}

/// Behaviour: [sig-api-machinery] ValidatingAdmissionPolicy [Privileged:ClusterAdmin] should support ValidatingAdmissionPolicy API operations
#[tokio::test(flavor = "multi_thread")]
async fn validating_policies_have_every_operation() {
    let body = json!({"spec": {"matchConstraints": matches_pods(), "validations": [{"expression": "object.metadata.name != 'x'"}]}});
    let change = json!({"conditions": [{"type": "Tested", "status": "True", "reason": "Tested", "message": "m",
        "lastTransitionTime": "2024-01-01T00:00:00Z"}]});
    let status = Some((change, "/status/conditions/0/reason"));
    Kind { group: "/apis/admissionregistration.k8s.io/v1", place: "validatingadmissionpolicies", body, status }.work().await;
}

/// Behaviour: [sig-api-machinery] ValidatingAdmissionPolicy [Privileged:ClusterAdmin] should support ValidatingAdmissionPolicyBinding API operations
#[tokio::test(flavor = "multi_thread")]
async fn bindings_of_validating_policies_have_every_operation() {
    let body = json!({"spec": {"policyName": "none", "validationActions": ["Deny"]}});
    Kind { group: "/apis/admissionregistration.k8s.io/v1", place: "validatingadmissionpolicybindings", body, status: None }.work().await;
}

/// Behaviour: [sig-api-machinery] MutatingAdmissionPolicy [Privileged:ClusterAdmin] should support MutatingAdmissionPolicy API operations
#[tokio::test(flavor = "multi_thread")]
async fn mutating_policies_have_every_operation() {
    let mutation = json!({"patchType": "ApplyConfiguration",
        "applyConfiguration": {"expression": "Object{metadata: Object.metadata{labels: {'a': 'b'}}}"}});
    let body = json!({"spec": {"matchConstraints": matches_pods(), "reinvocationPolicy": "Never", "mutations": [mutation]}});
    Kind { group: "/apis/admissionregistration.k8s.io/v1", place: "mutatingadmissionpolicies", body, status: None }.work().await;
}

/// Behaviour: [sig-api-machinery] MutatingAdmissionPolicy [Privileged:ClusterAdmin] should support MutatingAdmissionPolicyBinding API operations
#[tokio::test(flavor = "multi_thread")]
async fn bindings_of_mutating_policies_have_every_operation() {
    let body = json!({"spec": {"policyName": "none"}});
    Kind { group: "/apis/admissionregistration.k8s.io/v1", place: "mutatingadmissionpolicybindings", body, status: None }.work().await;
}

/// Behaviour: [sig-auth] Certificates API [Privileged:ClusterAdmin] should support CSR API operations
#[tokio::test(flavor = "multi_thread")]
async fn requests_for_certificates_have_every_operation() {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "suite");
    let pem = params.serialize_request(&key).unwrap().pem().unwrap();
    let request = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, pem);
    let body = json!({"spec": {"request": request, "signerName": "suite.example.com/none", "usages": ["client auth"]}});
    let failed = json!({"conditions": [{"type": "Failed", "status": "True", "reason": "Suite", "message": "told"}]});
    let status = Some((failed, "/status/conditions/0/reason"));
    Kind { group: "/apis/certificates.k8s.io/v1", place: "certificatesigningrequests", body: body.clone(), status }.work().await;
    let (s, _dir) = server().await;
    let uri = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let mut made = s.post(uri, Kind { group: "", place: "", body, status: None }.object("a")).await.expect(201);
    made["status"] = json!({"conditions": [{"type": "Approved", "status": "True", "reason": "Suite", "message": "told"}]});
    let approved = s.put(&format!("{uri}/a/approval"), made).await.expect(200);
    assert_eq!(approved["status"]["conditions"][0]["type"], "Approved");
    let approval = format!("{uri}/a/approval");
    assert_eq!(s.get(&approval).await.expect(200)["status"]["conditions"][0]["reason"], "Suite");
    let patched = s.patch(&approval, MERGE, json!({"metadata": {"annotations": {"patched": "yes"}}})).await.expect(200);
    assert_eq!(patched["metadata"]["annotations"]["patched"], "yes");
}
