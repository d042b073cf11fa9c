//! Who issues service account tokens, told so that anybody can verify them without asking this server.

use crate::support::*;
use apiserver::User;
use apiserver::auth::tokens::Tokens;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::{Value, json};

const CONFIGURATION: &str = "/.well-known/openid-configuration";
const KEYS: &str = "/openid/v1/jwks";

/// As a program does that knows the token, the two documents and nothing else.
fn verify(token: &str, keys: &Value) -> Option<Value> {
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    let header: Value = serde_json::from_slice(&decode(header)).unwrap();
    let key = keys["keys"].as_array()?.iter().find(|k| k["kid"] == header["kid"])?;
    assert_eq!((&key["kty"], &key["crv"], &key["use"], &key["alg"]), (&json!("EC"), &json!("P-256"), &json!("sig"), &header["alg"]));
    let coordinate = |name: &str| decode(key[name].as_str().unwrap());
    let point = [vec![4], coordinate("x"), coordinate("y")].concat();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed.as_bytes(), &decode(signature)).ok()?;
    Some(serde_json::from_slice(&decode(claims)).unwrap())
}

/// Behaviour: [sig-auth] ServiceAccounts ServiceAccountIssuerDiscovery should support OIDC discovery of service account issuer
#[tokio::test(flavor = "multi_thread")]
async fn an_account_verifies_its_token_with_what_the_issuer_publishes() {
    let (s, _dir) = secured().await;
    s.default_account().await;
    let request = json!({"spec": {"audiences": ["https://issuer", "discovery-test"], "expirationSeconds": 600}});
    let account = "/api/v1/namespaces/default/serviceaccounts/default";
    let made = s.post(&format!("{account}/token"), request).await.expect(201);
    let token = made["status"]["token"].as_str().unwrap();
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];

    // The roles of the start let every account read them, and nobody else.
    let configuration = s.permitted("GET", CONFIGURATION, &headers).await;
    let jane = User::new("jane", &["system:authenticated"]);
    for uri in [CONFIGURATION, KEYS] {
        assert_eq!(read(s.call_as(jane.clone(), "GET", uri, &[], Value::Null).await).await.code, 403);
        s.bare("GET", uri, &[], Value::Null).await.expect_code(401);
    }
    let issuer = configuration["issuer"].as_str().unwrap();
    assert_eq!(configuration["jwks_uri"], format!("{issuer}{KEYS}"));
    assert_eq!(configuration["response_types_supported"], json!(["id_token"]));
    assert_eq!(configuration["subject_types_supported"], json!(["public"]));
    assert_eq!(configuration["id_token_signing_alg_values_supported"], json!(["ES256"]));

    let keys = s.permitted("GET", KEYS, &headers).await;
    let claims = verify(token, &keys).expect("a signature of one of the keys");
    assert_eq!(claims["iss"], issuer);
    assert_eq!(claims["aud"], json!(["https://issuer", "discovery-test"]));
    assert_eq!(claims["sub"], "system:serviceaccount:default:default");
    let uid = &s.get(account).await.expect(200)["metadata"]["uid"];
    assert_eq!(claims["kubernetes.io"], json!({"namespace": "default", "serviceaccount": {"name": "default", "uid": uid}}));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 600);
    let forged = token.replacen(token.split('.').nth(1).unwrap(), &URL_SAFE_NO_PAD.encode(r#"{"iss":"https://issuer"}"#), 1);
    assert_eq!(verify(&forged, &keys), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_exchanged_while_the_server_runs_are_published() {
    let (s, _dir) = server().await;
    s.default_account().await;
    let token = async || {
        let made = s.post("/api/v1/namespaces/default/serviceaccounts/default/token", json!({"spec": {}})).await.expect(201);
        made["status"]["token"].as_str().unwrap().to_string()
    };
    let (before, first) = (token().await, s.get(KEYS).await.expect(200));
    s.tokens.replace(&[Tokens::generate().unwrap()]).unwrap();
    let (after, second) = (token().await, s.get(KEYS).await.expect(200));
    assert!(verify(&before, &first).is_some() && verify(&after, &first).is_none());
    assert!(verify(&before, &second).is_none() && verify(&after, &second).is_some());
    let answer = s.send("GET", KEYS, &[], "").await;
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_string();
    assert_eq!((header("content-type"), header("cache-control")), ("application/jwk-set+json".into(), "public, max-age=3600".into()));
}
