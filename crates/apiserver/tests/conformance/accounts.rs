//! Service accounts, their tokens, and who may do what.

use crate::support::*;
use serde_json::{Value, json};

const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";

/// Behaviour: [sig-auth] ServiceAccounts should run through the lifecycle of a ServiceAccount
#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_made_watched_patched_found_and_deleted() {
    let (s, _dir) = server().await;
    let start = version(&s.get(ACCOUNTS).await.expect(200));
    let account = json!({"metadata": {"name": "a", "labels": {"suite": "account"}}});
    s.post(ACCOUNTS, account).await.expect(201);
    let patch = json!({"automountServiceAccountToken": false});
    assert_eq!(s.patch(&format!("{ACCOUNTS}/a"), STRATEGIC, patch).await.expect(200)["automountServiceAccountToken"], false);
    assert_eq!(names(&s.get("/api/v1/serviceaccounts?labelSelector=suite%3Daccount").await.expect(200)), ["a"]);
    s.delete(&format!("{ACCOUNTS}?labelSelector=suite%3Daccount"), Value::Null).await.expect(200);
    let events = s.events(&format!("{ACCOUNTS}?watch=1&resourceVersion={start}&labelSelector=suite%3Daccount"), 3).await;
    assert_eq!(types(&events), ["ADDED", "MODIFIED", "DELETED"]);
}

/// Behaviour: [sig-auth] ServiceAccounts should update a ServiceAccount
#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_updated() {
    let (s, _dir) = server().await;
    let mut account = s.post(ACCOUNTS, json!({"metadata": {"name": "a"}, "automountServiceAccountToken": false})).await.expect(201);
    account["automountServiceAccountToken"] = json!(true);
    s.put(&format!("{ACCOUNTS}/a"), account).await.expect(200);
    assert_eq!(s.get(&format!("{ACCOUNTS}/a")).await.expect(200)["automountServiceAccountToken"], true);
}

/// Behaviour: [sig-auth] ServiceAccounts should create a serviceAccountToken and ensure a successful TokenReview
#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_reviewed_until_its_account_goes() {
    let (s, _dir) = server().await;
    s.post(ACCOUNTS, json!({"metadata": {"name": "a"}})).await.expect(201);
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}});
    let made = s.post(&format!("{ACCOUNTS}/a/token"), request).await.expect(201);
    let review = json!({"spec": {"token": made["status"]["token"]}});
    let reviews = "/apis/authentication.k8s.io/v1/tokenreviews";
    let told = s.post(reviews, review.clone()).await.expect(201);
    assert_eq!((&told["status"]["authenticated"], &told["status"]["error"]), (&json!(true), &Value::Null));
    assert_eq!(told["status"]["user"]["username"], "system:serviceaccount:default:a");
    s.delete(&format!("{ACCOUNTS}/a"), Value::Null).await.expect(200);
    assert_ne!(s.post(reviews, review).await.expect(201)["status"]["authenticated"], true);
}
