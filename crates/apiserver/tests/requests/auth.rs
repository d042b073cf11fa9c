//! Who asks, and whether he may, after the behaviours that conformance lists for sig-auth.

use crate::support::*;
use apiserver::User;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
const BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
const CSRS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
const ACCESS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";

fn user(name: &str) -> User {
    User::new(name, &["system:authenticated"])
}

impl Server {
    async fn as_user(&self, user: User, method: &str, uri: &str, body: Value) -> Answer {
        read(self.call_as(user, method, uri, &[], body).await).await
    }

    async fn grant(&self, name: &str, user: &str, rules: Value) {
        self.post(ROLES, json!({"metadata": {"name": name}, "rules": rules})).await.expect(201);
        let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name});
        let binding = json!({"metadata": {"name": name}, "roleRef": role, "subjects": [{"kind": "User", "name": user}]});
        self.post(BINDINGS, binding).await.expect(201);
    }

    /// The answer of something that was only just allowed: authorization learns of it in a moment.
    async fn soon(&self, user: User, method: &str, uri: &str, headers: &[(&str, &str)], body: Value) -> Answer {
        for _ in 0..200 {
            let answer = read(self.call_as(user.clone(), method, uri, headers, body.clone()).await).await;
            if answer.code != 403 {
                return answer;
            }
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        }
        panic!("{} may never {method} {uri}", user.name)
    }

    async fn review(&self, token: &str, audiences: &[&str]) -> Value {
        let spec = json!({"token": token, "audiences": audiences});
        self.post(REVIEWS, json!({"spec": spec})).await.expect(201)["status"].clone()
    }
}

#[tokio::test]
async fn strangers_see_health_and_version_only() {
    let (server, _dir) = secured().await;
    for path in ["/version", "/healthz", "/livez", "/readyz"] {
        server.bare("GET", path, &[], Value::Null).await.expect_code(200);
        server.bare("GET", path, &[("authorization", "Bearer wrong")], Value::Null).await.expect_code(401);
    }
    for path in ["/api", "/apis", "/metrics", "/api/v1/namespaces"] {
        assert_eq!(server.bare("GET", path, &[], Value::Null).await.expect(401)["message"], "Unauthorized");
    }
    let refused = server.as_user(user("jane"), "GET", "/api/v1/secrets", Value::Null).await.expect(403);
    let said = r#"secrets is forbidden: User "jane" cannot list resource "secrets" in API group "" at the cluster scope"#;
    assert_eq!(refused["message"], said);
}

#[tokio::test]
async fn service_accounts_have_tokens_that_reviews_know() {
    let (server, _dir) = secured().await;
    server.post(ACCOUNTS, json!({"metadata": {"name": "robot"}})).await.expect(201);
    let bound = json!({"metadata": {"name": "bound"}, "type": "Opaque"});
    let secret = server.post("/api/v1/namespaces/default/secrets", bound).await.expect(201);
    let reference = json!({"apiVersion": "v1", "kind": "Secret", "name": "bound", "uid": secret["metadata"]["uid"]});
    let spec = json!({"expirationSeconds": 3600, "boundObjectRef": reference});
    let made = server.post(&format!("{ACCOUNTS}/robot/token"), json!({"spec": spec})).await.expect(201);
    let token = made["status"]["token"].as_str().unwrap().to_string();
    let name = "system:serviceaccount:default:robot";
    let status = server.review(&token, &[]).await;
    assert_eq!((&status["authenticated"], &status["user"]["username"]), (&json!(true), &json!(name)));
    assert_eq!(status["audiences"], json!(["https://issuer"]));
    assert!(status["user"]["extra"]["authentication.kubernetes.io/credential-id"][0].as_str().unwrap().starts_with("JTI="));
    let other = server.review(&token, &["somebody"]).await;
    assert!(other["error"].as_str().unwrap().contains("invalid for the target audiences"), "{other}");
    assert_eq!(server.review("nonsense", &[]).await["error"], "invalid bearer token");

    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];
    let own = server.bare("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", &headers, json!({})).await.expect(201);
    assert_eq!(own["status"]["userInfo"]["username"], name);

    // The token goes with what it is bound to.
    server.delete("/api/v1/namespaces/default/secrets/bound", Value::Null).await.expect(200);
    server.bare("GET", "/api", &headers, Value::Null).await.expect_code(401);
    let long = server.post(&format!("{ACCOUNTS}/robot/token"), json!({"spec": {"expirationSeconds": 864_000}})).await;
    assert!(long.warnings[0].contains("requested expiration of 864000 seconds shortened"), "{:?}", long.warnings);
}

#[tokio::test]
async fn bootstrap_tokens_introduce_nodes() {
    let (server, _dir) = secured().await;
    let data = json!({"token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true"});
    let secret = json!({"metadata": {"name": "bootstrap-token-abcdef"}, "type": "bootstrap.kubernetes.io/token", "stringData": data});
    server.post("/api/v1/namespaces/kube-system/secrets", secret).await.expect(201);
    let headers = [("authorization", "Bearer abcdef.0123456789abcdef")];
    let own = server.bare("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", &headers, json!({})).await.expect(201);
    assert_eq!(own["status"]["userInfo"]["username"], "system:bootstrap:abcdef");
    assert_eq!(own["status"]["userInfo"]["groups"], json!(["system:bootstrappers", "system:authenticated"]));
    assert_eq!(server.review("abcdef.0123456789abcdef", &[]).await["authenticated"], true);
    let wrong = [("authorization", "Bearer abcdef.0123456789abcdee")];
    server.bare("GET", "/api", &wrong, Value::Null).await.expect_code(401);
}

/// Behaviour: [sig-auth] SubjectReview should support SubjectReview API operations
#[tokio::test]
async fn subject_reviews_answer_for_others() {
    let (server, _dir) = secured().await;
    let rules = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]);
    server.grant("looks", "jane", rules).await;
    server.soon(user("jane"), "GET", &format!("{PODS}/none"), &[], Value::Null).await.expect_code(404);
    let ask = async |verb: &str, more: Value| {
        let mut attributes = json!({"namespace": "default", "verb": verb, "resource": "pods"});
        attributes.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        let spec = json!({"user": "jane", "resourceAttributes": attributes});
        server.post(ACCESS, json!({"spec": spec})).await.expect(201)["status"].clone()
    };
    assert_eq!(ask("get", Value::Null).await["allowed"], true);
    assert_eq!(ask("delete", Value::Null).await["allowed"], false);
    let odd = json!({"fieldSelector": {"requirements": [{"key": "a", "operator": "Exists"}]}});
    let said = "spec.resourceAttributes.fieldSelector ignored due to parse error";
    assert_eq!(ask("get", odd).await["evaluationError"], said);
    let local = "/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews";
    let spec = json!({"user": "jane", "resourceAttributes": {"namespace": "default", "verb": "get", "resource": "pods"}});
    assert_eq!(server.post(local, json!({"spec": spec})).await.expect(201)["status"]["allowed"], true);
    let elsewhere = json!({"user": "jane", "resourceAttributes": {"namespace": "other", "verb": "get", "resource": "pods"}});
    server.post(local, json!({"spec": elsewhere})).await.expect(422);
    let nothing = server.post(ACCESS, json!({"spec": {"user": "jane"}})).await.expect(422);
    assert!(nothing["message"].as_str().unwrap().contains("exactly one of nonResourceAttributes or resourceAttributes"), "{nothing}");

    // A node's list is its own only if it says so.
    let list = json!({"verb": "list", "resource": "pods", "fieldSelector": {"rawSelector": "spec.nodeName=n1"}});
    let spec = json!({"user": "system:node:n1", "groups": ["system:nodes"], "resourceAttributes": list});
    assert_eq!(server.post(ACCESS, json!({"spec": spec})).await.expect(201)["status"]["allowed"], true);
    let rules = json!({"spec": {"namespace": "default"}});
    let own = server.as_user(user("jane"), "POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", rules).await.expect(201);
    assert!(own["status"]["resourceRules"].as_array().unwrap().iter().any(|r| r["resources"] == json!(["pods"])));
}

fn request(name: &str, organization: &str) -> String {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.distinguished_name.push(rcgen::DnType::OrganizationName, organization);
    let key = rcgen::KeyPair::generate().unwrap();
    STANDARD.encode(params.serialize_request(&key).unwrap().pem().unwrap())
}

#[tokio::test]
async fn certificate_requests_are_answered_by_those_who_may() {
    let (server, _dir) = secured().await;
    let ask = |name: &str, signer: &str, organization: &str| {
        json!({"metadata": {"name": name}, "spec": {"request": request("jane", organization), "signerName": signer,
            "usages": ["client auth"], "expirationSeconds": 3600}})
    };
    let group = "certificates.k8s.io";
    let verbs = ["create", "get", "update"];
    let all = json!(["certificatesigningrequests", "certificatesigningrequests/approval", "certificatesigningrequests/status"]);
    server.grant("requests", "jane", json!([{"verbs": verbs, "apiGroups": [group], "resources": all}])).await;
    let signer = "kubernetes.io/kube-apiserver-client";
    let made = server.soon(user("jane"), "POST", CSRS, &[], ask("one", signer, "dev")).await.expect(201);
    assert_eq!((&made["spec"]["username"], &made["spec"]["groups"]), (&json!("jane"), &json!(["system:authenticated"])));
    let masters = server.as_user(user("jane"), "POST", CSRS, ask("two", signer, "system:masters")).await.expect(403);
    assert!(masters["message"].as_str().unwrap().ends_with("with system:masters group is not allowed"), "{masters}");

    let mut approved = made.clone();
    approved["status"] = json!({"conditions": [{"type": "Approved", "status": "True", "reason": "Test", "message": "yes"}]});
    let approval = format!("{CSRS}/one/approval");
    let refused = server.as_user(user("jane"), "PUT", &approval, approved.clone()).await.expect(403);
    assert!(refused["message"].as_str().unwrap().ends_with(&format!("approve requests with signerName {signer:?}")), "{refused}");
    let rules = json!([{"verbs": ["approve"], "apiGroups": [group], "resources": ["signers"], "resourceNames": ["kubernetes.io/*"]}]);
    server.grant("approves", "jane", rules).await;
    let now = server.soon(user("jane"), "PUT", &approval, &[], approved).await.expect(200);
    assert_eq!(now["status"]["conditions"][0]["type"], "Approved");
    let mut signed = now.clone();
    signed["status"]["certificate"] = json!(STANDARD.encode(rcgen::generate_simple_self_signed(Vec::new()).unwrap().cert.pem()));
    let refused = server.as_user(user("jane"), "PUT", &format!("{CSRS}/one/status"), signed).await.expect(403);
    assert!(refused["message"].as_str().unwrap().contains("not permitted to sign"), "{refused}");
}

#[tokio::test]
async fn nobody_acts_for_others_beyond_what_he_may() {
    let (server, _dir) = secured().await;
    let own = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let act = |headers: &'static [(&'static str, &'static str)]| {
        let server = server.clone();
        async move { read(server.call_as(user("jane"), "POST", own, headers, json!({})).await).await }
    };
    let refused = act(&[("impersonate-user", "joe")]).await.expect(403);
    assert!(refused["message"].as_str().unwrap().contains("cannot impersonate-on:user-info:create resource"), "{refused}");
    act(&[("impersonate-group", "dev")]).await.expect_code(400);
    // Constrained: for this request, and this user.
    let rules = json!([
        {"verbs": ["impersonate-on:user-info:create"], "apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"]},
        {"verbs": ["impersonate:user-info"], "apiGroups": ["authentication.k8s.io"], "resources": ["users"], "resourceNames": ["joe"]},
        {"verbs": ["impersonate:serviceaccount"], "apiGroups": ["authentication.k8s.io"], "resources": ["serviceaccounts"]},
        {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["serviceaccounts"]}]);
    server.grant("acts", "jane", rules).await;
    let joe = server.soon(user("jane"), "POST", own, &[("impersonate-user", "joe")], json!({})).await.expect(201);
    assert_eq!(joe["status"]["userInfo"], json!({"username": "joe", "groups": ["system:authenticated"]}));
    act(&[("impersonate-user", "jim")]).await.expect_code(403);
    act(&[("impersonate-user", "joe"), ("impersonate-group", "dev")]).await.expect_code(403);
    act(&[("impersonate-user", "joe"), ("impersonate-extra-scopes", "a")]).await.expect_code(403);
    // As it always was: whatever the request.
    let robot = act(&[("impersonate-user", "system:serviceaccount:default:robot")]).await.expect(201);
    let groups = json!(["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"]);
    assert_eq!(robot["status"]["userInfo"]["groups"], groups);
}

#[tokio::test]
async fn nobody_grants_what_he_does_not_hold() {
    let (server, _dir) = secured().await;
    let group = "rbac.authorization.k8s.io";
    let rules = json!([{"verbs": ["create", "update"], "apiGroups": [group], "resources": ["clusterroles", "clusterrolebindings"]},
        {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]);
    server.grant("grants", "jane", rules).await;
    let role = |name: &str, verb: &str| json!({"metadata": {"name": name}, "rules": [{"verbs": [verb], "apiGroups": [""], "resources": ["pods"]}]});
    server.soon(user("jane"), "POST", ROLES, &[], role("holds", "get")).await.expect(201);
    let refused = server.as_user(user("jane"), "POST", ROLES, role("lacks", "delete")).await.expect(403);
    assert!(refused["message"].as_str().unwrap().contains("attempting to grant RBAC permissions not currently held"), "{refused}");
    let role = json!({"apiGroup": group, "kind": "ClusterRole", "name": "cluster-admin"});
    let binding = json!({"metadata": {"name": "mine"}, "roleRef": role, "subjects": [{"kind": "User", "name": "jane"}]});
    server.as_user(user("jane"), "POST", BINDINGS, binding).await.expect_code(403);
}

#[tokio::test]
async fn a_node_writes_about_itself_only() {
    let (server, _dir) = secured().await;
    server.default_account().await;
    let node = || User::new("system:node:n1", &["system:nodes", "system:authenticated"]);
    let nodes = "/api/v1/nodes";
    let labels = json!({"kubernetes.io/hostname": "n1", "example.com/a": "b"});
    let made = server.as_user(node(), "POST", nodes, json!({"metadata": {"name": "n1", "labels": labels}})).await.expect(201);
    server.as_user(node(), "POST", nodes, json!({"metadata": {"name": "n2"}})).await.expect_code(403);
    let mut promoted = made.clone();
    promoted["metadata"]["labels"]["node-role.kubernetes.io/control-plane"] = json!("");
    let refused = server.as_user(node(), "PUT", "/api/v1/nodes/n1", promoted).await.expect(403);
    assert!(refused["message"].as_str().unwrap().ends_with("modify labels: node-role.kubernetes.io/control-plane"), "{refused}");
    let lease = json!({"metadata": {"name": "n2"}, "spec": {}});
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    server.as_user(node(), "POST", leases, lease).await.expect_code(403);
    let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]}});
    let refused = server.as_user(node(), "POST", PODS, pod).await.expect(403);
    assert!(refused["message"].as_str().unwrap().contains("can only create mirror pods"), "{refused}");
    let ask = json!({"metadata": {"name": "c"}, "spec": {"request": request("system:node:n2", "system:nodes"),
        "signerName": "kubernetes.io/kube-apiserver-client-kubelet", "usages": ["digital signature", "client auth"]}});
    let refused = server.as_user(node(), "POST", CSRS, ask).await.expect(403);
    assert!(refused["message"].as_str().unwrap().ends_with("can only create a node CSR with CN=system:node:n1"), "{refused}");
}
