//! Roles in the namespaces of the system.

use super::{GROUP, READ, events, named, object, rule, subject};
use serde_json::{Value, json};

fn role(namespace: &str, name: &str, rules: Vec<Value>) -> Value {
    object("Role", namespace, name, json!({"rules": rules}))
}

fn grant(namespace: &str, name: &str, role: &str, subjects: &str) -> Value {
    let subjects: Vec<Value> = subjects.split(',').map(subject).collect();
    object("RoleBinding", namespace, name, json!({"roleRef": {"apiGroup": GROUP, "kind": "Role", "name": role}, "subjects": subjects}))
}

pub fn all() -> Vec<Value> {
    vec![
        role(
            "kube-public",
            "system:controller:bootstrap-signer",
            vec![rule(READ, "", "configmaps"), named("update", "", "configmaps", "cluster-info"), events()],
        ),
        role(
            "kube-system",
            "extension-apiserver-authentication-reader",
            vec![named(READ, "", "configmaps", "extension-apiserver-authentication")],
        ),
        role(
            "kube-system",
            "system::leader-locking-kube-controller-manager",
            vec![
                rule("create,get,list,update,watch", "coordination.k8s.io", "leases"),
                rule("create,get,list,update,watch", "coordination.k8s.io", "leasecandidates"),
            ],
        ),
        role(
            "kube-system",
            "system::leader-locking-kube-scheduler",
            vec![
                rule("create,get,list,update,watch", "coordination.k8s.io", "leases"),
                rule("create,get,list,update,watch", "coordination.k8s.io", "leasecandidates"),
            ],
        ),
        role("kube-system", "system:controller:bootstrap-signer", vec![rule(READ, "", "secrets")]),
        role("kube-system", "system:controller:cloud-provider", vec![rule("create,get,list,watch", "", "configmaps")]),
        role("kube-system", "system:controller:token-cleaner", vec![rule("delete,get,list,watch", "", "secrets"), events()]),
        grant("kube-public", "system:controller:bootstrap-signer", "system:controller:bootstrap-signer", "kube-system/bootstrap-signer"),
        grant(
            "kube-system",
            "system::extension-apiserver-authentication-reader",
            "extension-apiserver-authentication-reader",
            "system:kube-controller-manager,system:kube-scheduler",
        ),
        grant(
            "kube-system",
            "system::leader-locking-kube-controller-manager",
            "system::leader-locking-kube-controller-manager",
            "system:kube-controller-manager,kube-system/kube-controller-manager,kube-system/leader-election-controller",
        ),
        grant(
            "kube-system",
            "system::leader-locking-kube-scheduler",
            "system::leader-locking-kube-scheduler",
            "system:kube-scheduler,kube-system/kube-scheduler",
        ),
        grant("kube-system", "system:controller:bootstrap-signer", "system:controller:bootstrap-signer", "kube-system/bootstrap-signer"),
        grant("kube-system", "system:controller:cloud-provider", "system:controller:cloud-provider", "kube-system/cloud-provider"),
        grant("kube-system", "system:controller:token-cleaner", "system:controller:token-cleaner", "kube-system/token-cleaner"),
    ]
}
