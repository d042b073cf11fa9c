//! The controllers of certificates, roles and tokens at a whole API server, as clients of it.

use super::*;
use apiserver::auth::{self, node::NodeAuthorizer, rbac::Rbac};
use apiserver::{Authenticator, Authorizer, Core, Handlers, Objects};
use client::{Informers, Recorder};
use k8s_openapi::api::authentication::v1::TokenReview;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use std::fmt::Debug;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

async fn server(store: Arc<dyn store::Store>, stop: CancellationToken) -> (ApiServer, Arc<auth::tokens::Tokens>) {
    let core = Core::open(store).await.unwrap();
    let objects: Arc<dyn Objects> = core.clone();
    let rbac = Rbac::start(&*objects);
    let key = auth::tokens::Tokens::generate().unwrap();
    let tokens = Arc::new(auth::tokens::Tokens::new(&[key], "https://issuer", Vec::new(), objects.clone()).unwrap());
    let bootstrap = auth::bootstrap_tokens::BootstrapTokens(objects.clone());
    let mut handlers = Handlers::default();
    apiserver::reviews::register(&mut handlers, tokens.clone(), bootstrap, rbac.clone());
    let authorizer = auth::Union::<dyn Authorizer>(vec![Arc::new(NodeAuthorizer::start(objects)), Arc::new(rbac)]);
    let config = apiserver::Config {
        core,
        authenticator: Arc::new(auth::Union::<dyn Authenticator>(Vec::new())),
        authorizer: Arc::new(authorizer),
        handlers,
        aggregator: Arc::default(),
        trust: apiserver::Trust::default(),
        bootstrap: auth::bootstrap::objects(),
        service_cidr: "10.43.0.0/16".into(),
        node_port_range: 30000..=32767,
        advertise_address: [192, 0, 2, 1].into(),
        advertise_port: 6443,
        operations: apiserver::Operations::default(),
        identity: "test".into(),
        stop,
    };
    (ApiServer::start(config).await.unwrap(), tokens)
}

fn request(name: &str, organization: &str) -> String {
    use base64::Engine;
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::OrganizationName, organization);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    let pem = params.serialize_request(&rcgen::KeyPair::generate().unwrap()).unwrap().pem().unwrap();
    base64::engine::general_purpose::STANDARD.encode(pem)
}

async fn create<K>(api: &Api<K>, object: Value)
where
    K: Clone + Debug + serde::Serialize + serde::de::DeserializeOwned,
{
    api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
}

/// Asks until the object is as wanted.
async fn until<K>(api: &Api<K>, name: &str, wanted: impl Fn(Option<&K>) -> bool)
where
    K: Clone + Debug + serde::de::DeserializeOwned,
{
    for _ in 0..400 {
        if wanted(api.get_opt(name).await.unwrap().as_ref()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{name} stays {:?}", api.get_opt(name).await)
}

#[tokio::test]
async fn controllers_sign_gather_and_clean() {
    let dir = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let (server, tokens) = server(Arc::new(store::Embedded::open(dir.path()).unwrap()), stop.clone()).await;
    let admin = InProcess::client(&server, User::system("admin"));
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "ca");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let ca = params.self_signed(&key).unwrap().pem();
    let signer = controllers::certificates::Signer::new(&ca, &key.serialize_pem()).unwrap();
    let context = controllers::Context {
        informers: Informers::new(admin.clone()),
        recorder: Recorder::new(admin.clone(), "kube-controller-manager", "test"),
        cluster_ca: ca.clone(),
        signer: Some(Arc::new(signer)),
        sign_token: Some(sign_tokens(tokens)),
        stop: stop.clone(),
    };
    tokio::spawn(controllers::run(context, controllers::Selection::everything()));

    // A new node introduces itself, asks for a certificate and has it.
    let role = |name: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name});
    let bindings = Api::<ClusterRoleBinding>::all(admin.clone());
    for name in ["system:node-bootstrapper", "system:certificates.k8s.io:certificatesigningrequests:nodeclient"] {
        let subject = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:bootstrappers"});
        create(&bindings, json!({"metadata": {"name": format!("test:{name}")}, "roleRef": role(name), "subjects": [subject]})).await;
    }
    let requests = Api::<CertificateSigningRequest>::all(admin.clone());
    let groups = ["system:bootstrappers", "system:authenticated"];
    let newcomer = Api::<CertificateSigningRequest>::all(InProcess::client(&server, User::new("system:bootstrap:abcdef", &groups)));
    let ask = |name: &str, organization: &str, signer: &str, usage: &str| {
        json!({"metadata": {"name": name}, "spec": {"request": request("system:node:n1", organization), "signerName": signer,
            "usages": ["digital signature", usage]}})
    };
    let client = "kubernetes.io/kube-apiserver-client-kubelet";
    let object: CertificateSigningRequest = serde_json::from_value(ask("node", "system:nodes", client, "client auth")).unwrap();
    let mut made = newcomer.create(&PostParams::default(), &object).await;
    // Authorization learns of the bindings in a moment.
    for _ in 0..100 {
        if made.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
        made = newcomer.create(&PostParams::default(), &object).await;
    }
    made.unwrap();
    let issued = |csr: Option<&CertificateSigningRequest>| {
        csr.and_then(|c| c.status.as_ref()?.certificate.as_ref()).is_some_and(|c| c.0.starts_with(b"-----BEGIN CERTIFICATE-----\n"))
    };
    until(&requests, "node", issued).await;
    let csr = requests.get("node").await.unwrap();
    let condition = &csr.status.unwrap().conditions.unwrap()[0];
    assert_eq!((condition.type_.as_str(), condition.reason.as_deref()), ("Approved", Some("AutoApproved")));

    // What a signer does not do it says, and what nobody approved stays.
    create(&requests, ask("serving", "system:nodes", "kubernetes.io/kubelet-serving", "server auth")).await;
    let mut serving = requests.get("serving").await.unwrap();
    serving.status = serde_json::from_value(json!({"conditions": [{"type": "Approved", "status": "True", "reason": "Test"}]})).unwrap();
    requests.replace_subresource("approval", "serving", &PostParams::default(), &serving).await.unwrap();
    until(&requests, "serving", |csr| {
        let conditions = csr.and_then(|c| c.status.as_ref()?.conditions.clone()).unwrap_or_default();
        conditions.iter().any(|c| c.type_ == "Failed" && c.message.as_deref() == Some("DNS or IP subjectAltName is required"))
    })
    .await;

    // Roles that aggregate hold what they select.
    let roles = Api::<ClusterRole>::all(admin.clone());
    let rule = json!({"verbs": ["get"], "apiGroups": ["stable.example.com"], "resources": ["crontabs"]});
    let labels = json!({"rbac.authorization.k8s.io/aggregate-to-view": "true"});
    create(&roles, json!({"metadata": {"name": "crontabs", "labels": labels}, "rules": [rule]})).await;
    until(&roles, "admin", |role| {
        let rules = role.and_then(|r| r.rules.clone()).unwrap_or_default();
        rules.iter().any(|r| r.resources.as_deref() == Some(&["crontabs".to_string()]))
    })
    .await;

    // Tokens sign the cluster's introduction, and go when they have expired.
    let (secrets, maps) = (Api::<Secret>::namespaced(admin.clone(), "kube-system"), Api::<ConfigMap>::namespaced(admin, "kube-public"));
    create(&maps, json!({"metadata": {"name": "cluster-info"}, "data": {"kubeconfig": "a"}})).await;
    let token = |id: &str, more: Value| {
        let mut data = json!({"token-id": id, "token-secret": "0123456789abcdef", "usage-bootstrap-signing": "true"});
        data.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        json!({"metadata": {"name": format!("bootstrap-token-{id}")}, "type": "bootstrap.kubernetes.io/token", "stringData": data})
    };
    create(&secrets, token("abcdef", Value::Null)).await;
    create(&secrets, token("fedcba", json!({"expiration": "2020-01-01T00:00:00Z"}))).await;
    until(&maps, "cluster-info", |m| m.is_some_and(|m| m.data.as_ref().is_some_and(|d| d.contains_key("jws-kubeconfig-abcdef")))).await;
    until(&secrets, "bootstrap-token-fedcba", |s| s.is_none()).await;
    until(&maps, "kube-root-ca.crt", |m| m.is_some_and(|m| m.data.as_ref().is_some_and(|d| d["ca.crt"] == ca))).await;
    stop.cancel();
}

#[tokio::test]
async fn secrets_hold_tokens_that_live_as_long_as_their_account() {
    let dir = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let (server, tokens) = server(Arc::new(store::Embedded::open(dir.path()).unwrap()), stop.clone()).await;
    tokio::spawn(tokens.clone().mark_used(server.clone(), stop.clone()));
    let admin = InProcess::client(&server, User::system("admin"));
    let sign = tokens.clone();
    let context = controllers::Context {
        informers: Informers::new(admin.clone()),
        recorder: Recorder::new(admin.clone(), "kube-controller-manager", "test"),
        cluster_ca: "authority".into(),
        signer: None,
        sign_token: Some(sign_tokens(sign)),
        stop: stop.clone(),
    };
    let chosen = controllers::Selection::parse("serviceaccount-token-controller").unwrap();
    tokio::spawn(controllers::run(context, chosen));

    let accounts = Api::<ServiceAccount>::namespaced(admin.clone(), "default");
    let secrets = Api::<Secret>::namespaced(admin.clone(), "default");
    let reviews = Api::<TokenReview>::all(admin);
    create(&accounts, json!({"metadata": {"name": "robot"}})).await;
    let asks = |name: &str, account: &str| {
        let annotations = json!({"kubernetes.io/service-account.name": account});
        json!({"metadata": {"name": name, "annotations": annotations}, "type": "kubernetes.io/service-account-token"})
    };
    create(&secrets, asks("robot", "robot")).await;
    create(&secrets, asks("nobody", "nobody")).await;
    until(&secrets, "nobody", |s| s.is_none()).await;
    until(&secrets, "robot", |s| s.is_some_and(|s| s.data.as_ref().is_some_and(|d| d.contains_key("token")))).await;
    let secret = secrets.get("robot").await.unwrap();
    let data = secret.data.unwrap();
    assert_eq!((data["namespace"].0.as_slice(), data["ca.crt"].0.as_slice()), (b"default".as_slice(), b"authority".as_slice()));
    let account = accounts.get("robot").await.unwrap();
    assert_eq!(secret.metadata.annotations.unwrap()["kubernetes.io/service-account.uid"], account.metadata.uid.unwrap());

    let token = String::from_utf8(data["token"].0.clone()).unwrap();
    let review = async |token: &str| {
        let review: TokenReview = serde_json::from_value(json!({"metadata": {}, "spec": {"token": token}})).unwrap();
        reviews.create(&PostParams::default(), &review).await.unwrap().status.unwrap()
    };
    let status = review(&token).await;
    assert_eq!(status.user.unwrap().username.as_deref(), Some("system:serviceaccount:default:robot"));
    let label = "kubernetes.io/legacy-token-last-used";
    until(&secrets, "robot", |s| s.is_some_and(|s| s.metadata.labels.as_ref().is_some_and(|l| l.contains_key(label)))).await;
    let invalid = json!({"metadata": {"labels": {"kubernetes.io/legacy-token-invalid-since": "2026-01-01"}}});
    secrets.patch("robot", &PatchParams::default(), &Patch::Merge(invalid)).await.unwrap();
    assert!(review(&token).await.error.unwrap().contains("has been marked invalid"));
    accounts.delete("robot", &Default::default()).await.unwrap();
    until(&secrets, "robot", |s| s.is_none()).await;
    assert!(review(&token).await.error.unwrap().contains("Token has been invalidated"));
    stop.cancel();
}
