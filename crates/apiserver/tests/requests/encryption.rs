//! Encryption at rest: what is in the store, and what becomes of it when keys come and go.

use crate::support::*;
use apiserver::encryption::Encryption;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use store::{Range, Store};

const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const PREFIX: &str = "/registry/secrets/default/";

fn key(name: &str) -> String {
    use base64::Engine;
    let secret = base64::engine::general_purpose::STANDARD.encode(format!("{name:x<32}"));
    format!("{{name: {name}, secret: {secret}}}")
}

fn configure(path: &Path, providers: &str) {
    let text = format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources: [{{resources: [secrets], providers: [{providers}]}}]\n"
    );
    std::fs::write(path, text).unwrap();
}

fn secret(name: &str) -> Value {
    json!({"metadata": {"name": name}, "stringData": {"password": "open sesame"}})
}

async fn stored(store: &dyn Store, name: &str) -> Vec<u8> {
    store.range(Range { start: format!("{PREFIX}{name}"), ..Range::default() }).await.unwrap().kvs[0].value.to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_unreadable_in_the_store_and_keys_rotate() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("encryption.yaml");
    let store: Arc<dyn Store> = Arc::new(store::Embedded::open(dir.path()).unwrap());
    configure(&file, "{identity: {}}");
    let server = serve(store.clone(), Encryption::open(&file).unwrap(), 1).await;
    let plain = server.post(SECRETS, secret("a")).await.expect(201);
    assert!(stored(&*store, "a").await.starts_with(b"{"));

    // On: what is written from now on is encrypted, and what was there is once it is written again, by an update
    // that changes nothing.
    configure(&file, &format!("{{aesgcm: {{keys: [{}]}}}}, {{identity: {{}}}}", key("one")));
    assert!(server.api.reload_encryption().unwrap() && !server.api.reload_encryption().unwrap());
    server.post(SECRETS, secret("b")).await.expect(201);
    let again = server.put(&format!("{SECRETS}/a"), plain.clone()).await.expect(200);
    assert!(version(&again) > version(&plain) && again["data"] == plain["data"]);
    for name in ["a", "b"] {
        let bytes = stored(&*store, name).await;
        assert!(bytes.starts_with(b"k8s:enc:aesgcm:v1:one:"));
        assert!(!String::from_utf8_lossy(&bytes).contains("password") && !String::from_utf8_lossy(&bytes).contains("b3BlbiBzZXNhbWU"));
    }
    assert_eq!(server.put(&format!("{SECRETS}/a"), again.clone()).await.expect(200), again, "written again for nothing");

    // A new key in front; then the old one goes, with one object still in it.
    configure(&file, &format!("{{secretbox: {{keys: [{}]}}}}, {{aesgcm: {{keys: [{}]}}}}", key("two"), key("one")));
    assert!(server.api.reload_encryption().unwrap());
    server.put(&format!("{SECRETS}/a"), again).await.expect(200);
    assert!(stored(&*store, "a").await.starts_with(b"k8s:enc:secretbox:v1:two:"));
    configure(&file, &format!("{{secretbox: {{keys: [{}]}}}}", key("two")));
    server.stop.cancel();
    let server = serve(store.clone(), Encryption::open(&file).unwrap(), 2).await;
    server.get(&format!("{SECRETS}/a")).await.expect(200);
    let refused = server.get(&format!("{SECRETS}/b")).await.expect(500);
    assert_eq!(refused["reason"], "InternalError");
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("unable to transform key \"/registry/secrets/default/b\"") && message.contains("aesgcm"), "{message}");
    // A list without it would say that it is gone. Everybody else is served.
    server.get(SECRETS).await.expect(500);
    server.delete(&format!("{SECRETS}/b"), Value::Null).await.expect(500);
    server.post(SECRETS, secret("b")).await.expect(409);
    server.get("/api/v1/namespaces/kube-system/secrets").await.expect(200);
    server.get(MAPS).await.expect(200);

    // The key is back: everything is.
    configure(&file, &format!("{{secretbox: {{keys: [{}]}}}}, {{aesgcm: {{keys: [{}]}}}}", key("two"), key("one")));
    assert!(server.api.reload_encryption().unwrap());
    assert_eq!(names(&server.get(SECRETS).await.expect(200)), ["a", "b"]);
    std::fs::write(&file, "nonsense").unwrap();
    assert!(server.api.reload_encryption().is_err());
    server.get(&format!("{SECRETS}/b")).await.expect(200);
}
