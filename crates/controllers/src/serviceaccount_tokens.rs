//! Tokens that somebody asked for by a Secret of that type: the Secret is filled, and goes with its account.

use crate::Context;
use crate::context::{code, if_there, itself};
use client::{Change, Informer, Key, Queue};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::ResourceExt;
use kube::api::{DeleteParams, PostParams, Preconditions};
use std::collections::BTreeMap;

const TYPE: &str = "kubernetes.io/service-account-token";
const NAME: &str = "kubernetes.io/service-account.name";
const UID: &str = "kubernetes.io/service-account.uid";

pub async fn run(context: Context) {
    let secrets = context.informers.of::<Secret>();
    let accounts = context.informers.of::<ServiceAccount>();
    tokio::join!(secrets.synced(), accounts.synced());
    let queue: Queue<Key> = Queue::new();
    context.feed(
        &secrets,
        &queue,
        |change: &Change<Secret>| if change.object().is_some_and(|s| asks(s)) { itself(change) } else { vec![] },
    );
    let known = secrets.clone();
    context.feed(&accounts, &queue, move |change: &Change<ServiceAccount>| {
        let Some(account) = change.object() else { return Vec::new() };
        let of = |s: &&std::sync::Arc<Secret>| asks(s) && annotation(s, NAME) == account.name_any();
        known.list_in(&account.namespace().unwrap_or_default()).iter().filter(of).map(|s| Key::of(&**s)).collect()
    });
    let stop = context.stop.clone();
    client::run("serviceaccount_tokens_service", queue, 5, stop, move |key: Key| {
        let (context, secrets, accounts) = (context.clone(), secrets.clone(), accounts.clone());
        async move {
            match secrets.get(&key.namespace, &key.name) {
                Some(secret) if asks(&secret) => reconcile(&context, &accounts, &key, &secret).await?,
                Some(_) => {}
                None => forget(&context, &accounts, &key).await?,
            }
            Ok::<_, kube::Error>(None)
        }
    })
    .await;
}

fn asks(secret: &Secret) -> bool {
    secret.type_.as_deref() == Some(TYPE)
}

fn annotation<'a>(secret: &'a Secret, name: &str) -> &'a str {
    secret.metadata.annotations.as_ref().and_then(|a| a.get(name)).map_or("", String::as_str)
}

async fn reconcile(context: &Context, accounts: &Informer<ServiceAccount>, key: &Key, secret: &Secret) -> Result<(), kube::Error> {
    let (name, uid) = (annotation(secret, NAME), annotation(secret, UID));
    let same = |account: &ServiceAccount| uid.is_empty() || account.metadata.uid.as_deref() == Some(uid);
    let account = match accounts.get(&key.namespace, name).filter(|a| same(a)) {
        Some(account) => Some((*account).clone()),
        // What is not seen yet may be there all the same.
        None if name.is_empty() => None,
        None => context.api::<ServiceAccount>(&key.namespace).get_opt(name).await?.filter(same),
    };
    let Some(account) = account else {
        let same = Preconditions { uid: secret.metadata.uid.clone(), ..Preconditions::default() };
        let params = DeleteParams { preconditions: Some(same), ..DeleteParams::default() };
        return match if_there(context.api::<Secret>(&key.namespace).delete(&key.name, &params).await) {
            Err(error) if code(&error) != 409 => Err(error),
            _ => Ok(()),
        };
    };
    let Some(sign) = context.sign_token.as_ref() else { return Ok(()) };
    let Some(filled) = filled(secret, &context.cluster_ca, || sign(secret, &account)) else { return Ok(()) };
    let mut new = secret.clone();
    new.data = Some(filled);
    let annotations = new.metadata.annotations.get_or_insert_default();
    annotations.insert(UID.into(), account.metadata.uid.unwrap_or_default());
    match context.api::<Secret>(&key.namespace).replace(&key.name, &PostParams::default(), &new).await {
        // Its change, or its end, queues it again.
        Err(error) if !matches!(code(&error), 404 | 409) => Err(error),
        _ => Ok(()),
    }
}

/// The data with what was missing; none where all is there, or the token cannot be made.
fn filled(secret: &Secret, authority: &str, token: impl FnOnce() -> Option<String>) -> Option<BTreeMap<String, ByteString>> {
    let old = secret.data.clone().unwrap_or_default();
    let mut data = old.clone();
    let empty = |key: &str| old.get(key).is_none_or(|v| v.0.is_empty());
    data.insert("ca.crt".into(), ByteString(authority.as_bytes().to_vec()));
    if empty("namespace") {
        data.insert("namespace".into(), ByteString(secret.namespace().unwrap_or_default().into_bytes()));
    }
    if empty("token") {
        data.insert("token".into(), ByteString(token()?.into_bytes()));
    }
    (data != old).then_some(data)
}

/// No account refers to a Secret that is gone.
async fn forget(context: &Context, accounts: &Informer<ServiceAccount>, key: &Key) -> Result<(), kube::Error> {
    for account in accounts.list_in(&key.namespace) {
        let names = |s: &k8s_openapi::api::core::v1::ObjectReference| s.name.as_deref() == Some(&key.name);
        if !account.secrets.iter().flatten().any(names) {
            continue;
        }
        let mut new = (*account).clone();
        new.secrets.get_or_insert_default().retain(|s| !names(s));
        let api = context.api::<ServiceAccount>(&key.namespace);
        if_there(api.replace(&account.name_any(), &PostParams::default(), &new).await)?;
    }
    Ok(())
}
