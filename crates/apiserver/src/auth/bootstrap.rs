//! The roles, bindings and priority classes that a cluster starts with.

use super::rbac::GROUP;
use serde_json::{Value, json};

const READ: &str = "get,list,watch";
const WRITE: &str = "create,update,patch,delete,deletecollection";
const ALL: &str = "get,list,watch,create,update,patch,delete,deletecollection";

fn split(text: &str) -> Vec<&str> {
    text.split(',').collect()
}

/// Verbs, groups (`""` is the core's), resources, each parted by commas.
fn rule(verbs: &str, groups: &str, resources: &str) -> Value {
    json!({"verbs": split(verbs), "apiGroups": split(groups), "resources": split(resources)})
}

fn named(verbs: &str, group: &str, resource: &str, name: &str) -> Value {
    json!({"verbs": split(verbs), "apiGroups": [group], "resources": [resource], "resourceNames": [name]})
}

fn paths(verbs: &str, paths: &str) -> Value {
    json!({"verbs": split(verbs), "nonResourceURLs": split(paths)})
}

fn object(kind: &str, namespace: &str, name: &str, body: Value) -> Value {
    let mut object = json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": kind,
        "metadata": {"name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
            "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"}},
    });
    if !namespace.is_empty() {
        object["metadata"]["namespace"] = json!(namespace);
    }
    if let (Some(object), Value::Object(body)) = (object.as_object_mut(), body) {
        object.extend(body);
    }
    object
}

fn cluster_role(name: &str, rules: Vec<Value>) -> Value {
    object("ClusterRole", "", name, json!({"rules": rules}))
}

/// A role that the aggregated `to` takes up.
fn part(name: &str, to: &str, rules: Vec<Value>) -> Value {
    let mut role = cluster_role(name, rules);
    role["metadata"]["labels"][format!("rbac.authorization.k8s.io/aggregate-to-{to}")] = json!("true");
    role
}

/// The parts of `name` are those that say so.
fn aggregate(name: &str, to: Option<&str>) -> Value {
    let label = format!("rbac.authorization.k8s.io/aggregate-to-{name}");
    let body = json!({"rules": [], "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {label: "true"}}]}});
    let mut role = object("ClusterRole", "", name, body);
    if let Some(to) = to {
        role["metadata"]["labels"][format!("rbac.authorization.k8s.io/aggregate-to-{to}")] = json!("true");
    }
    role
}

fn subject(text: &str) -> Value {
    match text.split_once('/') {
        Some((namespace, name)) => json!({"kind": "ServiceAccount", "namespace": namespace, "name": name}),
        None => match text.strip_prefix('@') {
            Some(group) => json!({"kind": "Group", "apiGroup": GROUP, "name": group}),
            None => json!({"kind": "User", "apiGroup": GROUP, "name": text}),
        },
    }
}

/// Subjects: `@group`, `namespace/account` or a user, parted by commas.
fn bind(name: &str, role: &str, subjects: &str) -> Value {
    let subjects: Vec<Value> = subjects.split(',').filter(|s| !s.is_empty()).map(subject).collect();
    object(
        "ClusterRoleBinding",
        "",
        name,
        json!({"roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role}, "subjects": subjects}),
    )
}

fn events() -> Value {
    rule("create,update,patch", ",events.k8s.io", "events")
}

/// In the order in which they are to be created.
pub fn objects() -> Vec<Value> {
    let mut all = user_facing();
    all.extend(components());
    all.extend(controllers());
    all.extend(namespaced());
    all.extend(priorities());
    all
}

fn user_facing() -> Vec<Value> {
    let workloads = "controllerrevisions,daemonsets,daemonsets/status,deployments,deployments/scale,deployments/status,replicasets,replicasets/scale,replicasets/status,statefulsets,statefulsets/scale,statefulsets/status";
    let workloads_write =
        "daemonsets,deployments,deployments/rollback,deployments/scale,replicasets,replicasets/scale,statefulsets,statefulsets/scale";
    vec![
        cluster_role("cluster-admin", vec![rule("*", "*", "*"), paths("*", "*")]),
        aggregate("admin", None),
        aggregate("edit", Some("admin")),
        aggregate("view", Some("edit")),
        part(
            "system:aggregate-to-admin",
            "admin",
            vec![rule("create", "authorization.k8s.io", "localsubjectaccessreviews"), rule(ALL, GROUP, "roles,rolebindings")],
        ),
        part(
            "system:aggregate-to-edit",
            "edit",
            vec![
                rule(READ, "", "pods/attach,pods/exec,pods/portforward,pods/proxy,secrets,services/proxy"),
                rule("impersonate", "", "serviceaccounts"),
                rule(WRITE, "", "pods,pods/attach,pods/exec,pods/portforward,pods/proxy"),
                rule("create", "", "pods/eviction,serviceaccounts/token"),
                rule(
                    WRITE,
                    "",
                    "configmaps,events,persistentvolumeclaims,replicationcontrollers,replicationcontrollers/scale,secrets,serviceaccounts,services,services/proxy",
                ),
                rule(WRITE, "apps", workloads_write),
                rule(WRITE, "autoscaling", "horizontalpodautoscalers"),
                rule(WRITE, "batch", "cronjobs,jobs"),
                rule(WRITE, "networking.k8s.io", "ingresses,networkpolicies"),
                rule(WRITE, "policy", "poddisruptionbudgets"),
                rule(ALL, "coordination.k8s.io", "leases"),
                rule(WRITE, "resource.k8s.io", "resourceclaims,resourceclaimtemplates"),
            ],
        ),
        part(
            "system:aggregate-to-view",
            "view",
            vec![
                rule(
                    READ,
                    "",
                    "configmaps,endpoints,persistentvolumeclaims,persistentvolumeclaims/status,pods,replicationcontrollers,replicationcontrollers/scale,serviceaccounts,services,services/status",
                ),
                rule(
                    READ,
                    "",
                    "bindings,events,limitranges,namespaces/status,pods/log,pods/status,replicationcontrollers/status,resourcequotas,resourcequotas/status,namespaces",
                ),
                rule(READ, "discovery.k8s.io", "endpointslices"),
                rule(READ, "apps", workloads),
                rule(READ, "autoscaling", "horizontalpodautoscalers,horizontalpodautoscalers/status"),
                rule(READ, "batch", "cronjobs,cronjobs/status,jobs,jobs/status"),
                rule(READ, "networking.k8s.io", "ingresses,ingresses/status,networkpolicies"),
                rule(READ, "policy", "poddisruptionbudgets,poddisruptionbudgets/status"),
                rule(READ, "resource.k8s.io", "resourceclaims,resourceclaims/status,resourceclaimtemplates"),
            ],
        ),
        cluster_role(
            "system:basic-user",
            vec![
                rule("create", "authorization.k8s.io", "selfsubjectaccessreviews,selfsubjectrulesreviews"),
                rule("create", "authentication.k8s.io", "selfsubjectreviews"),
            ],
        ),
        cluster_role(
            "system:discovery",
            vec![paths("get", "/api,/api/*,/apis,/apis/*,/healthz,/livez,/openapi,/openapi/*,/readyz,/version,/version/")],
        ),
        cluster_role("system:public-info-viewer", vec![paths("get", "/healthz,/livez,/readyz,/version,/version/")]),
        cluster_role(
            "system:monitoring",
            vec![paths("get", "/healthz,/healthz/*,/livez,/livez/*,/metrics,/metrics/slis,/readyz,/readyz/*")],
        ),
        cluster_role(
            "system:service-account-issuer-discovery",
            vec![paths("get", "/.well-known/openid-configuration,/.well-known/openid-configuration/,/openid/v1/jwks,/openid/v1/jwks/")],
        ),
        bind("cluster-admin", "cluster-admin", "@system:masters"),
        bind("system:basic-user", "system:basic-user", "@system:authenticated"),
        bind("system:discovery", "system:discovery", "@system:authenticated"),
        bind("system:public-info-viewer", "system:public-info-viewer", "@system:authenticated,@system:unauthenticated"),
        bind("system:monitoring", "system:monitoring", "@system:monitoring"),
        bind("system:service-account-issuer-discovery", "system:service-account-issuer-discovery", "@system:serviceaccounts"),
    ]
}

fn components() -> Vec<Value> {
    vec![
        // The node authorizer decides about nodes; the role is for what is no node but helps one.
        cluster_role(
            "system:node",
            vec![
                rule("create", "authentication.k8s.io", "tokenreviews"),
                rule("create", "authorization.k8s.io", "localsubjectaccessreviews,subjectaccessreviews"),
                rule(READ, "", "services"),
                rule("create,get,list,watch,update,patch", "", "nodes"),
                events(),
                rule(READ, "node.k8s.io", "runtimeclasses"),
                rule(READ, "storage.k8s.io", "csidrivers"),
            ],
        ),
        bind("system:node", "system:node", ""),
        cluster_role("system:node-problem-detector", vec![rule("get", "", "nodes"), rule("patch", "", "nodes/status"), events()]),
        cluster_role("system:node-bootstrapper", vec![rule("create,get,list,watch", "certificates.k8s.io", "certificatesigningrequests")]),
        cluster_role(
            "system:node-proxier",
            vec![
                rule("list,watch", "", "services,endpoints"),
                rule(READ, "", "nodes"),
                rule("list,watch", "discovery.k8s.io", "endpointslices"),
                rule("list,watch", "networking.k8s.io", "servicecidrs"),
                events(),
            ],
        ),
        cluster_role(
            "system:kubelet-api-admin",
            vec![
                rule("get,list,watch,proxy", "", "nodes"),
                rule("*", "", "nodes/configz,nodes/healthz,nodes/log,nodes/metrics,nodes/pods,nodes/proxy,nodes/stats"),
            ],
        ),
        cluster_role(
            "system:auth-delegator",
            vec![rule("create", "authentication.k8s.io", "tokenreviews"), rule("create", "authorization.k8s.io", "subjectaccessreviews")],
        ),
        cluster_role("system:heapster", vec![rule(READ, "", "events,namespaces,nodes,pods")]),
        cluster_role("system:kube-dns", vec![rule("list,watch", "", "endpoints,services")]),
        cluster_role(
            "system:persistent-volume-provisioner",
            vec![
                rule("create,delete,get,list,watch", "", "persistentvolumes"),
                rule("get,list,update,watch", "", "persistentvolumeclaims"),
                rule(READ, "storage.k8s.io", "storageclasses"),
                rule("create,patch,update,watch", "", "events"),
            ],
        ),
        cluster_role(
            "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
            vec![rule("create", "certificates.k8s.io", "certificatesigningrequests/nodeclient")],
        ),
        cluster_role(
            "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
            vec![rule("create", "certificates.k8s.io", "certificatesigningrequests/selfnodeclient")],
        ),
        cluster_role(
            "system:volume-scheduler",
            vec![
                rule("get,list,patch,update,watch", "", "persistentvolumes,persistentvolumeclaims"),
                rule(READ, "storage.k8s.io", "storageclasses"),
            ],
        ),
        cluster_role(
            "system:kube-scheduler",
            vec![
                events(),
                rule("create,get,list,watch,update", "coordination.k8s.io", "leases"),
                rule(READ, "", "nodes,namespaces,replicationcontrollers,services,persistentvolumes,persistentvolumeclaims"),
                rule("delete,get,list,watch", "", "pods"),
                rule("create", "", "bindings,pods/binding"),
                rule("patch,update", "", "pods/status"),
                rule(READ, "apps", "replicasets,statefulsets"),
                rule(READ, "policy", "poddisruptionbudgets"),
                rule(READ, "storage.k8s.io", "csinodes,csidrivers,csistoragecapacities,storageclasses,volumeattachments"),
                rule("get,list,watch,update,patch", "resource.k8s.io", "resourceclaims,resourceclaims/status,resourceslices,deviceclasses"),
                rule("create", "authentication.k8s.io", "tokenreviews"),
                rule("create", "authorization.k8s.io", "subjectaccessreviews"),
            ],
        ),
        bind("system:kube-scheduler", "system:kube-scheduler", "system:kube-scheduler"),
        bind("system:volume-scheduler", "system:volume-scheduler", "system:kube-scheduler"),
        cluster_role(
            "system:kube-controller-manager",
            vec![
                events(),
                rule("create,get,update", "coordination.k8s.io", "leases"),
                rule("create,delete,get,update", "", "secrets,serviceaccounts"),
                rule("get", "", "namespaces,configmaps"),
                rule("create", "authentication.k8s.io", "tokenreviews"),
                rule("create", "authorization.k8s.io", "subjectaccessreviews"),
                rule("create", "", "serviceaccounts/token"),
                rule("list,watch", "*", "*"),
            ],
        ),
        bind("system:kube-controller-manager", "system:kube-controller-manager", "system:kube-controller-manager"),
        bind("system:node-proxier", "system:node-proxier", "system:kube-proxy"),
        bind("system:kube-dns", "system:kube-dns", "kube-system/kube-dns"),
    ]
}

fn controllers() -> Vec<Value> {
    let pods = || rule("create,delete,get,list,patch,update,watch", "", "pods");
    let own = |group: &str, resource: &str| {
        rule("get,list,watch,update,patch", group, &format!("{resource},{resource}/status,{resource}/finalizers"))
    };
    let roles: Vec<(&str, Vec<Value>)> = vec![
        (
            "attachdetach-controller",
            vec![
                rule(READ, ",storage.k8s.io", "persistentvolumes,persistentvolumeclaims,pods,nodes,csidrivers,csinodes"),
                rule("patch,update", "", "nodes/status"),
                rule("create,delete,get,list,watch,patch", "storage.k8s.io", "volumeattachments"),
            ],
        ),
        (
            "certificate-controller",
            vec![
                own("certificates.k8s.io", "certificatesigningrequests"),
                rule("delete,update", "certificates.k8s.io", "certificatesigningrequests,certificatesigningrequests/approval"),
                rule("approve,sign", "certificates.k8s.io", "signers"),
                rule("create", "authorization.k8s.io", "subjectaccessreviews"),
            ],
        ),
        ("clusterrole-aggregation-controller", vec![rule("escalate,get,list,patch,update,watch", GROUP, "clusterroles")]),
        ("cronjob-controller", vec![own("batch", "cronjobs"), rule(ALL, "batch", "jobs"), rule("delete,list", "", "pods")]),
        (
            "daemon-set-controller",
            vec![
                own("apps", "daemonsets"),
                rule("list,watch", "", "nodes"),
                pods(),
                rule("create", "", "pods/binding"),
                rule(ALL, "apps", "controllerrevisions"),
            ],
        ),
        (
            "deployment-controller",
            vec![own("apps", "deployments"), rule(ALL, "apps", "replicasets"), rule("get,list,update,watch", "", "pods")],
        ),
        (
            "disruption-controller",
            vec![
                own("policy", "poddisruptionbudgets"),
                rule(READ, ",apps", "deployments,replicasets,replicationcontrollers,statefulsets,pods"),
                rule("patch,update", "", "pods/status"),
                rule("get", "*", "*/scale"),
            ],
        ),
        (
            "endpoint-controller",
            vec![
                rule(READ, "", "pods,services"),
                rule("create,delete,get,list,update,watch", "", "endpoints"),
                rule("create", "", "endpoints/restricted"),
            ],
        ),
        (
            "endpointslice-controller",
            vec![
                rule(READ, "", "nodes,pods,services"),
                rule("update", "", "services/finalizers"),
                rule(ALL, "discovery.k8s.io", "endpointslices"),
                rule("create", "discovery.k8s.io", "endpointslices/restricted"),
            ],
        ),
        (
            "endpointslicemirroring-controller",
            vec![
                rule(READ, "", "endpoints,services"),
                rule("update", "", "endpoints/finalizers,services/finalizers"),
                rule(ALL, "discovery.k8s.io", "endpointslices"),
                rule("create", "discovery.k8s.io", "endpointslices/restricted"),
            ],
        ),
        (
            "ephemeral-volume-controller",
            vec![
                rule(READ, "", "pods"),
                rule("update", "", "pods/finalizers"),
                rule("create,get,list,watch", "", "persistentvolumeclaims"),
            ],
        ),
        (
            "expand-controller",
            vec![own("", "persistentvolumeclaims"), own("", "persistentvolumes"), rule(READ, "storage.k8s.io", "storageclasses")],
        ),
        ("generic-garbage-collector", vec![rule("delete,get,list,patch,update,watch", "*", "*")]),
        (
            "horizontal-pod-autoscaler",
            vec![
                own("autoscaling", "horizontalpodautoscalers"),
                rule("get,update", "*", "*/scale"),
                rule("list", "", "pods"),
                rule(READ, "metrics.k8s.io", "pods"),
            ],
        ),
        ("job-controller", vec![own("batch", "jobs"), pods()]),
        ("legacy-service-account-token-cleaner", vec![rule("get", "", "configmaps"), rule("delete,patch", "", "secrets")]),
        (
            "namespace-controller",
            vec![
                rule("delete,get,list,watch", "", "namespaces"),
                rule("update", "", "namespaces/finalize,namespaces/status"),
                rule("delete,deletecollection,get,list", "*", "*"),
            ],
        ),
        (
            "node-controller",
            vec![
                rule("get,list,update,delete,patch,watch", "", "nodes"),
                rule("patch,update", "", "nodes/status"),
                rule("patch,update", "", "pods/status"),
                rule("delete,get,list,watch", "", "pods"),
            ],
        ),
        (
            "persistent-volume-binder",
            vec![
                rule(ALL, "", "persistentvolumes,persistentvolumeclaims"),
                rule("patch,update", "", "persistentvolumes/status,persistentvolumeclaims/status"),
                rule(READ, "storage.k8s.io", "storageclasses"),
                pods(),
                rule(READ, "", "nodes"),
            ],
        ),
        (
            "pod-garbage-collector",
            vec![rule("delete,list,watch", "", "pods"), rule("get,list", "", "nodes"), rule("patch", "", "pods/status")],
        ),
        ("pv-protection-controller", vec![rule("get,list,update,watch", "", "persistentvolumes")]),
        ("pvc-protection-controller", vec![rule("get,list,update,watch", "", "persistentvolumeclaims"), rule(READ, "", "pods")]),
        ("replicaset-controller", vec![own("apps", "replicasets"), pods()]),
        ("replication-controller", vec![own("", "replicationcontrollers"), pods()]),
        (
            "resource-claim-controller",
            vec![
                rule(READ, "", "pods"),
                rule("patch,update", "", "pods/status"),
                rule(ALL, "resource.k8s.io", "resourceclaims"),
                rule("patch,update", "resource.k8s.io", "resourceclaims/status"),
            ],
        ),
        ("resourcequota-controller", vec![rule("list,watch", "*", "*"), rule("update", "", "resourcequotas/status")]),
        ("root-ca-cert-publisher", vec![rule("create,update", "", "configmaps")]),
        ("service-account-controller", vec![rule("create", "", "serviceaccounts")]),
        ("service-cidrs-controller", vec![own("networking.k8s.io", "servicecidrs"), rule(READ, "networking.k8s.io", "ipaddresses")]),
        (
            "service-controller",
            vec![rule(READ, "", "services"), rule("patch,update", "", "services/status"), rule("list,watch", "", "nodes")],
        ),
        (
            "statefulset-controller",
            vec![
                own("apps", "statefulsets"),
                pods(),
                rule(ALL, "apps", "controllerrevisions"),
                rule("create,get,update,delete,list,watch", "", "persistentvolumeclaims"),
            ],
        ),
        (
            "taint-eviction-controller",
            vec![rule("delete,get,list", "", "pods"), rule("get", "", "nodes"), rule("patch,update", "", "pods/status")],
        ),
        ("ttl-after-finished-controller", vec![rule("delete,get,list,watch", "batch", "jobs")]),
        ("ttl-controller", vec![rule("list,patch,update,watch", "", "nodes")]),
        ("validatingadmissionpolicy-status-controller", vec![own("admissionregistration.k8s.io", "validatingadmissionpolicies")]),
    ];
    let mut all = Vec::new();
    for (name, mut rules) in roles {
        let full = format!("system:controller:{name}");
        rules.push(events());
        all.push(cluster_role(&full, rules));
        all.push(bind(&full, &full, &format!("kube-system/{name}")));
    }
    all
}

fn namespaced() -> Vec<Value> {
    let role = |namespace: &str, name: &str, rules: Value| object("Role", namespace, name, json!({"rules": rules}));
    let bind = |namespace: &str, name: &str, role: &str, who: &str| {
        let subjects: Vec<Value> = who.split(',').map(subject).collect();
        object("RoleBinding", namespace, name, json!({"roleRef": {"apiGroup": GROUP, "kind": "Role", "name": role}, "subjects": subjects}))
    };
    let authentication = "extension-apiserver-authentication-reader";
    vec![
        role("kube-system", authentication, json!([named(READ, "", "configmaps", "extension-apiserver-authentication")])),
        bind("kube-system", &format!("system::{authentication}"), authentication, "system:kube-controller-manager,system:kube-scheduler"),
        role(
            "kube-system",
            "system::leader-locking-kube-controller-manager",
            json!([rule("watch", "", "configmaps"), named("get,update", "", "configmaps", "kube-controller-manager")]),
        ),
        bind(
            "kube-system",
            "system::leader-locking-kube-controller-manager",
            "system::leader-locking-kube-controller-manager",
            "system:kube-controller-manager",
        ),
        role(
            "kube-system",
            "system::leader-locking-kube-scheduler",
            json!([rule("watch", "", "configmaps"), named("get,update", "", "configmaps", "kube-scheduler")]),
        ),
        bind("kube-system", "system::leader-locking-kube-scheduler", "system::leader-locking-kube-scheduler", "system:kube-scheduler"),
    ]
}

fn priorities() -> Vec<Value> {
    let class = |name: &str, value: i64, text: &str| {
        json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value,
            "preemptionPolicy": "PreemptLowerPriority", "description": text})
    };
    vec![
        class("system-cluster-critical", 2_000_000_000, "For pods that the cluster cannot do without, and that may move."),
        class("system-node-critical", 2_000_001_000, "For pods that their node cannot do without."),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_binding_has_its_role_and_nothing_comes_twice() {
        let all = objects();
        let key = |kind: &Value, ns: &Value, name: &Value| format!("{kind} {ns} {name}");
        let keys: HashSet<String> = all.iter().map(|o| key(&o["kind"], &o["metadata"]["namespace"], &o["metadata"]["name"])).collect();
        assert_eq!(keys.len(), all.len());
        for binding in all.iter().filter(|o| o.get("roleRef").is_some()) {
            let namespace = if binding["roleRef"]["kind"] == "Role" { &binding["metadata"]["namespace"] } else { &Value::Null };
            assert!(keys.contains(&key(&binding["roleRef"]["kind"], namespace, &binding["roleRef"]["name"])), "{binding}");
        }
    }
}
