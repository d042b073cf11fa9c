//! What comes with a namespace for its service accounts, and what an account may leave out.

use crate::plane::plane;
use crate::space::{Space, pod};
use serde_json::{Value, json};

const ROOT_CA: &str = "kube-root-ca.crt";

/// Behaviour: [sig-auth] ServiceAccounts should guarantee kube-root-ca.crt exist in any namespace
#[test]
fn the_authority_is_published_and_put_right_again() {
    let space = Space::new("accounts-ca");
    let ca = std::fs::read_to_string(plane().dir.join("data/pki/ca.crt")).expect("the cluster's CA");
    let right = |map: Option<&Value>| map.is_some_and(|m| m["data"]["ca.crt"] == ca);
    let first = space.wait("configmaps", ROOT_CA, right).expect("published");
    space.delete("configmaps", &first, &json!({"gracePeriodSeconds": 0}));
    space.wait("configmaps", ROOT_CA, |map| right(map) && map.is_some_and(|m| m["metadata"]["uid"] != first["metadata"]["uid"]));
    let emptied = space.try_replace("configmaps", &json!({"metadata": {"name": ROOT_CA}, "data": {"ca.crt": ""}})).expect("replaced");
    assert_eq!(emptied["data"]["ca.crt"], "");
    space.wait("configmaps", ROOT_CA, right);
}

/// Behaviour: [sig-auth] ServiceAccounts should allow opting out of API token automount
#[test]
fn a_token_is_mounted_unless_pod_or_account_say_no() {
    let space = Space::new("accounts-mount");
    for (name, mount) in [("mount", true), ("nomount", false)] {
        space.create("serviceaccounts", &json!({"metadata": {"name": name}, "automountServiceAccountToken": mount}));
    }
    for (account, says) in [("default", None), ("mount", Some(true)), ("nomount", Some(false))] {
        for asked in [None, Some(true), Some(false)] {
            // The pod has the last word, then the account, then it is so.
            let expected = asked.or(says).unwrap_or(true);
            let mut body = pod(&format!("{account}-{}", asked.map_or("unsaid".to_string(), |a| a.to_string())));
            body["spec"]["serviceAccountName"] = json!(account);
            if let Some(asked) = asked {
                body["spec"]["automountServiceAccountToken"] = json!(asked);
            }
            let made = space.create("pods", &body);
            let mounts = made["spec"]["containers"][0]["volumeMounts"].as_array().cloned().unwrap_or_default();
            let mounted = mounts.iter().any(|m| m["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount");
            assert_eq!(mounted, expected, "account {account}, the pod says {asked:?}: {made}");
        }
    }
}
