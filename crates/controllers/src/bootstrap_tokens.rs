//! Bootstrap tokens: expired ones are deleted, and the cluster's introduction (`cluster-info` in `kube-public`) is signed
//! with those that are for it, so that a new node knows it for true.

use crate::Context;
use crate::context::{code, if_there};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use client::{Change, Informer, Key, Queue};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, PostParams, Preconditions};
use ring::hmac;
use std::collections::BTreeMap;
use std::time::Duration;

const TYPE: &str = "bootstrap.kubernetes.io/token";
const PREFIX: &str = "bootstrap-token-";
const INFO: &str = "cluster-info";
const SIGNED: &str = "kubeconfig";
const SIGNATURE: &str = "jws-kubeconfig-";

/// Deletes what has expired.
pub async fn run_cleaning(context: Context) {
    let secrets = context.informers.of::<Secret>();
    secrets.synced().await;
    let queue: Queue<Key> = Queue::new();
    context.feed(&secrets, &queue, of_tokens);
    let stop = context.stop.clone();
    client::run("token-cleaner", queue, 1, stop, move |_: Key| {
        let (context, secrets) = (context.clone(), secrets.clone());
        async move { clean(&context, &secrets).await }
    })
    .await;
}

/// Signs the cluster's introduction.
pub async fn run_signing(context: Context) {
    let secrets = context.informers.of::<Secret>();
    let maps = context.informers.of::<ConfigMap>();
    tokio::join!(secrets.synced(), maps.synced());
    let queue: Queue<Key> = Queue::new();
    context.feed(&secrets, &queue, of_tokens);
    context.feed(&maps, &queue, |change: &Change<ConfigMap>| {
        let info = |m: &ConfigMap| m.metadata.name.as_deref() == Some(INFO) && m.metadata.namespace.as_deref() == Some("kube-public");
        if change.new.as_ref().is_some_and(|m| info(m)) { vec![Key::new("kube-public", INFO)] } else { Vec::new() }
    });
    let stop = context.stop.clone();
    client::run("bootstrap-signer", queue, 1, stop, move |_: Key| {
        let (context, secrets, maps) = (context.clone(), secrets.clone(), maps.clone());
        async move { sign(&context, &secrets, &maps).await.map(|()| next(&secrets)) }
    })
    .await;
}

fn of_tokens(change: &Change<Secret>) -> Vec<Key> {
    let any = [&change.old, &change.new].into_iter().flatten().any(|s| is_token(s));
    if any { vec![Key::new("kube-public", INFO)] } else { Vec::new() }
}

/// When the next token expires.
fn next(secrets: &Informer<Secret>) -> Option<Duration> {
    let all = secrets.list().into_iter().filter(|s| is_token(s)).filter_map(|s| left(&s, Timestamp::now()));
    all.filter(|left| !left.is_zero()).min()
}

fn text<'a>(secret: &'a Secret, key: &str) -> &'a str {
    secret.data.as_ref().and_then(|d| d.get(key)).and_then(|v| std::str::from_utf8(&v.0).ok()).unwrap_or_default()
}

fn is_token(secret: &Secret) -> bool {
    secret.type_.as_deref() == Some(TYPE) && secret.metadata.namespace.as_deref() == Some("kube-system")
}

/// None: never. A date that cannot be read has passed.
fn left(secret: &Secret, now: Timestamp) -> Option<Duration> {
    let until = Some(text(secret, "expiration")).filter(|t| !t.is_empty())?;
    let until: Option<Timestamp> = until.parse().ok();
    Some(until.and_then(|t| Duration::try_from(t.duration_since(now)).ok()).unwrap_or_default())
}

/// Says when to look again.
async fn clean(context: &Context, secrets: &Informer<Secret>) -> Result<Option<Duration>, kube::Error> {
    let over = |s: &Secret| left(s, Timestamp::now()).is_some_and(|left| left.is_zero());
    for secret in secrets.list().into_iter().filter(|s| is_token(s) && over(s)) {
        let name = secret.metadata.name.clone().unwrap_or_default();
        let same = Preconditions { uid: secret.metadata.uid.clone(), ..Preconditions::default() };
        let params = DeleteParams { preconditions: Some(same), ..DeleteParams::default() };
        match if_there(context.api::<Secret>("kube-system").delete(&name, &params).await) {
            // Another of the name: it is queued by itself.
            Err(error) if code(&error) == 409 => {}
            other => drop(other?),
        }
    }
    Ok(next(secrets))
}

async fn sign(context: &Context, secrets: &Informer<Secret>, maps: &Informer<ConfigMap>) -> Result<(), kube::Error> {
    let Some(map) = maps.get("kube-public", INFO) else { return Ok(()) };
    let mut data = map.data.clone().unwrap_or_default();
    let Some(content) = data.get(SIGNED).cloned() else { return Ok(()) };
    data.retain(|key, _| !key.starts_with(SIGNATURE));
    data.extend(signatures(&content, secrets.list().iter().map(|s| &**s)));
    if Some(&data) == map.data.as_ref() {
        return Ok(());
    }
    let mut signed = (*map).clone();
    signed.data = Some(data);
    match context.api::<ConfigMap>("kube-public").replace(INFO, &PostParams::default(), &signed).await {
        Err(error) if !matches!(code(&error), 404 | 409) => Err(error),
        _ => Ok(()),
    }
}

fn signatures<'a>(content: &str, secrets: impl Iterator<Item = &'a Secret>) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    for secret in secrets.filter(|s| is_token(s) && s.metadata.deletion_timestamp.is_none()) {
        let (id, key) = (text(secret, "token-id"), text(secret, "token-secret"));
        let named = secret.metadata.name.as_deref() == Some(&format!("{PREFIX}{id}"));
        let live = left(secret, Timestamp::now()).is_none_or(|left| !left.is_zero());
        if named && live && !id.is_empty() && !key.is_empty() && text(secret, "usage-bootstrap-signing") == "true" {
            out.insert(format!("{SIGNATURE}{id}"), signature(content, id, key));
        }
    }
    out
}

/// A signature that leaves out what it signs.
fn signature(content: &str, id: &str, key: &str) -> String {
    let header = BASE64.encode(format!("{{\"alg\":\"HS256\",\"kid\":\"{id}\"}}"));
    let signed = format!("{header}.{}", BASE64.encode(content));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), signed.as_bytes());
    format!("{header}..{}", BASE64.encode(tag))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;
    use serde_json::json;

    fn token(expiration: &str, signing: bool) -> Secret {
        let mut secret: Secret =
            serde_json::from_value(json!({"metadata": {"namespace": "kube-system", "name": "bootstrap-token-abcdef"}, "type": TYPE}))
                .unwrap();
        let data = [
            ("token-id", "abcdef"),
            ("token-secret", "0123456789abcdef"),
            ("expiration", expiration),
            ("usage-bootstrap-signing", if signing { "true" } else { "false" }),
        ];
        secret.data = Some(data.map(|(k, v)| (k.to_string(), ByteString(v.as_bytes().to_vec()))).into());
        secret
    }

    #[test]
    fn live_tokens_that_are_for_it_sign() {
        let signed = |secret: Secret| signatures("payload", [secret].iter());
        let one = signed(token("", true));
        let signature = &one["jws-kubeconfig-abcdef"];
        let (header, tag) = signature.split_once("..").unwrap();
        assert_eq!(BASE64.decode(header).unwrap(), br#"{"alg":"HS256","kid":"abcdef"}"#);
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"0123456789abcdef");
        let text = format!("{header}.{}", BASE64.encode("payload"));
        hmac::verify(&key, text.as_bytes(), &BASE64.decode(tag).unwrap()).unwrap();
        assert!(signed(token("", false)).is_empty() && signed(token("2020-01-01T00:00:00Z", true)).is_empty());
        assert!(left(&token("soon", true), Timestamp::now()).is_some_and(|d| d.is_zero()));
    }
}
