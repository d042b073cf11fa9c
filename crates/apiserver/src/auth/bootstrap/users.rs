//! What people are given: everything, or what is in a namespace, to change or to look at.

use super::{ALL, READ, WRITE, aggregate, cluster_role, part, paths, rule};
use serde_json::Value;

pub fn all() -> Vec<Value> {
    vec![
        aggregate("admin", None),
        cluster_role("cluster-admin", vec![rule("*", "*", "*"), paths("*", "*")]),
        aggregate("edit", Some("admin")),
        part(
            "system:aggregate-to-admin",
            "admin",
            vec![
                rule("create", "authorization.k8s.io", "localsubjectaccessreviews"),
                rule(ALL, "rbac.authorization.k8s.io", "rolebindings,roles"),
            ],
        ),
        part(
            "system:aggregate-to-edit",
            "edit",
            vec![
                rule(READ, "", "pods/attach,pods/exec,pods/portforward,pods/proxy,secrets,services/proxy"),
                rule("impersonate", "", "serviceaccounts"),
                rule(WRITE, "", "pods,pods/attach,pods/exec,pods/portforward,pods/proxy"),
                rule("create", "", "pods/eviction"),
                rule(
                    WRITE,
                    "",
                    "configmaps,persistentvolumeclaims,replicationcontrollers,replicationcontrollers/scale,secrets,serviceaccounts,services,services/proxy",
                ),
                rule("create", "", "serviceaccounts/token"),
                rule(WRITE, ",events.k8s.io", "events"),
                rule(
                    WRITE,
                    "apps",
                    "daemonsets,deployments,deployments/rollback,deployments/scale,replicasets,replicasets/scale,statefulsets,statefulsets/scale",
                ),
                rule(WRITE, "autoscaling", "horizontalpodautoscalers"),
                rule(WRITE, "batch", "cronjobs,jobs"),
                rule(
                    WRITE,
                    "extensions",
                    "daemonsets,deployments,deployments/rollback,deployments/scale,ingresses,networkpolicies,replicasets,replicasets/scale,replicationcontrollers/scale",
                ),
                rule(WRITE, "policy", "poddisruptionbudgets"),
                rule(WRITE, "networking.k8s.io", "ingresses,networkpolicies"),
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
                    "bindings,limitranges,namespaces/status,pods/log,pods/status,replicationcontrollers/status,resourcequotas,resourcequotas/status",
                ),
                rule(READ, "", "namespaces"),
                rule(READ, ",events.k8s.io", "events"),
                rule(READ, "discovery.k8s.io", "endpointslices"),
                rule(
                    READ,
                    "apps",
                    "controllerrevisions,daemonsets,daemonsets/status,deployments,deployments/scale,deployments/status,replicasets,replicasets/scale,replicasets/status,statefulsets,statefulsets/scale,statefulsets/status",
                ),
                rule(READ, "autoscaling", "horizontalpodautoscalers,horizontalpodautoscalers/status"),
                rule(READ, "batch", "cronjobs,cronjobs/status,jobs,jobs/status"),
                rule(
                    READ,
                    "extensions",
                    "daemonsets,daemonsets/status,deployments,deployments/scale,deployments/status,ingresses,ingresses/status,networkpolicies,replicasets,replicasets/scale,replicasets/status,replicationcontrollers/scale",
                ),
                rule(READ, "policy", "poddisruptionbudgets,poddisruptionbudgets/status"),
                rule(READ, "networking.k8s.io", "ingresses,ingresses/status,networkpolicies"),
                rule(READ, "resource.k8s.io", "resourceclaims,resourceclaims/status,resourceclaimtemplates"),
            ],
        ),
        aggregate("view", Some("edit")),
    ]
}
