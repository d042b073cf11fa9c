//! A role for each controller, held by the service account of its name.

use super::{READ, bind, cluster_role, events, named, rule};
use serde_json::Value;

pub fn all() -> Vec<Value> {
    let pair = |(name, rules): (&str, Vec<Value>)| {
        let full = format!("system:controller:{name}");
        [cluster_role(&full, rules), bind(&full, &full, &format!("kube-system/{name}"))]
    };
    roles().into_iter().flat_map(pair).collect()
}

fn roles() -> Vec<(&'static str, Vec<Value>)> {
    vec![
        (
            "attachdetach-controller",
            vec![
                rule("list,watch", "", "persistentvolumeclaims,persistentvolumes"),
                rule(READ, "", "nodes"),
                rule("patch,update", "", "nodes/status"),
                rule("list,watch", "", "pods"),
                events(),
                rule("create,delete,get,list,watch", "storage.k8s.io", "volumeattachments"),
                rule(READ, "storage.k8s.io", "csidrivers"),
                rule(READ, "storage.k8s.io", "csinodes"),
            ],
        ),
        (
            "certificate-controller",
            vec![
                rule("delete,get,list,watch", "certificates.k8s.io", "certificatesigningrequests"),
                rule("update", "certificates.k8s.io", "certificatesigningrequests/approval,certificatesigningrequests/status"),
                named("approve", "certificates.k8s.io", "signers", "kubernetes.io/kube-apiserver-client-kubelet"),
                named(
                    "sign",
                    "certificates.k8s.io",
                    "signers",
                    "kubernetes.io/kube-apiserver-client,kubernetes.io/kube-apiserver-client-kubelet,kubernetes.io/kubelet-serving,kubernetes.io/legacy-unknown",
                ),
                rule("create", "authorization.k8s.io", "subjectaccessreviews"),
                events(),
            ],
        ),
        (
            "clusterrole-aggregation-controller",
            vec![rule("escalate,get,list,patch,update,watch", "rbac.authorization.k8s.io", "clusterroles")],
        ),
        (
            "cronjob-controller",
            vec![
                rule("get,list,update,watch", "batch", "cronjobs"),
                rule("create,delete,get,list,patch,update,watch", "batch", "jobs"),
                rule("update", "batch", "cronjobs/status"),
                rule("update", "batch", "cronjobs/finalizers"),
                rule("delete,list,watch", "", "pods"),
                events(),
            ],
        ),
        (
            "daemon-set-controller",
            vec![
                rule(READ, "apps,extensions", "daemonsets"),
                rule("update", "apps,extensions", "daemonsets/status"),
                rule("update", "apps,extensions", "daemonsets/finalizers"),
                rule("list,watch", "", "nodes"),
                rule("create,delete,list,patch,watch", "", "pods"),
                rule("create", "", "pods/binding"),
                rule("create,delete,get,list,patch,update,watch", "apps", "controllerrevisions"),
                events(),
            ],
        ),
        (
            "deployment-controller",
            vec![
                rule("get,list,update,watch", "apps,extensions", "deployments"),
                rule("update", "apps,extensions", "deployments/status"),
                rule("update", "apps,extensions", "deployments/finalizers"),
                rule("create,delete,get,list,patch,update,watch", "apps,extensions", "replicasets"),
                rule("get,list,update,watch", "", "pods"),
                events(),
            ],
        ),
        (
            "device-taint-eviction-controller",
            vec![
                rule("delete,get,list,watch", "", "pods"),
                rule("patch,update", "", "pods/status"),
                rule(READ, "resource.k8s.io", "resourceclaims"),
                rule(READ, "resource.k8s.io", "resourceslices"),
                rule(READ, "resource.k8s.io", "deviceclasses"),
                events(),
            ],
        ),
        (
            "disruption-controller",
            vec![
                rule(READ, "apps,extensions", "deployments"),
                rule(READ, "apps,extensions", "replicasets"),
                rule(READ, "", "replicationcontrollers"),
                rule(READ, "policy", "poddisruptionbudgets"),
                rule(READ, "apps", "statefulsets"),
                rule("update", "policy", "poddisruptionbudgets/status"),
                rule("patch,update", "", "pods/status"),
                rule("get", "*", "*/scale"),
                events(),
            ],
        ),
        (
            "endpoint-controller",
            vec![
                rule(READ, "", "pods,services"),
                rule("create,delete,get,list,update,watch", "", "endpoints"),
                rule("create", "", "endpoints/restricted"),
                events(),
            ],
        ),
        (
            "endpointslice-controller",
            vec![
                rule(READ, "", "nodes,pods,services"),
                rule("update", "", "services/finalizers"),
                rule("create,delete,get,list,update,watch", "discovery.k8s.io", "endpointslices"),
                rule("create", "discovery.k8s.io", "endpointslices/restricted"),
                events(),
            ],
        ),
        (
            "endpointslicemirroring-controller",
            vec![
                rule(READ, "", "endpoints,services"),
                rule("update", "", "services/finalizers"),
                rule("update", "", "endpoints/finalizers"),
                rule("create,delete,get,list,update,watch", "discovery.k8s.io", "endpointslices"),
                rule("create", "discovery.k8s.io", "endpointslices/restricted"),
                events(),
            ],
        ),
        (
            "ephemeral-volume-controller",
            vec![
                rule(READ, "", "pods"),
                rule("update", "", "pods/finalizers"),
                rule("create,get,list,watch", "", "persistentvolumeclaims"),
                events(),
            ],
        ),
        (
            "expand-controller",
            vec![
                rule("get,list,patch,update,watch", "", "persistentvolumes"),
                rule("patch,update", "", "persistentvolumeclaims/status"),
                rule(READ, "", "persistentvolumeclaims"),
                events(),
            ],
        ),
        ("generic-garbage-collector", vec![rule("delete,get,list,patch,update,watch", "*", "*"), events()]),
        (
            "horizontal-pod-autoscaler",
            vec![
                rule(READ, "autoscaling", "horizontalpodautoscalers"),
                rule("update", "autoscaling", "horizontalpodautoscalers/status"),
                rule("get,update", "*", "*/scale"),
                rule("list,watch", "", "pods"),
                rule("list,watch", "metrics.k8s.io", "pods"),
                rule(READ, "custom.metrics.k8s.io", "*"),
                rule(READ, "external.metrics.k8s.io", "*"),
                events(),
            ],
        ),
        (
            "job-controller",
            vec![
                rule("get,list,patch,update,watch", "batch", "jobs"),
                rule("update", "batch", "jobs/status"),
                rule("update", "batch", "jobs/finalizers"),
                rule("create,delete,list,patch,watch", "", "pods"),
                events(),
            ],
        ),
        (
            "legacy-service-account-token-cleaner",
            vec![
                named("get", "", "configmaps", "kube-apiserver-legacy-service-account-token-tracking"),
                rule("delete,patch", "", "secrets"),
            ],
        ),
        (
            "namespace-controller",
            vec![
                rule("delete,get,list,watch", "", "namespaces"),
                rule("update", "", "namespaces/finalize,namespaces/status"),
                rule("delete,deletecollection,get,list,watch", "*", "*"),
            ],
        ),
        (
            "node-controller",
            vec![
                rule("delete,get,list,patch,update,watch", "", "nodes"),
                rule("patch,update", "", "nodes/status"),
                rule("patch,update", "", "pods/status"),
                rule("delete,get,list,watch", "", "pods"),
                events(),
            ],
        ),
        (
            "persistent-volume-binder",
            vec![
                rule("create,delete,get,list,update,watch", "", "persistentvolumes"),
                rule("update", "", "persistentvolumes/status"),
                rule("get,list,update,watch", "", "persistentvolumeclaims"),
                rule("update", "", "persistentvolumeclaims/status"),
                rule("create,delete,get,list,watch", "", "pods"),
                rule(READ, "storage.k8s.io", "storageclasses"),
                rule("list,watch", "", "nodes"),
                events(),
                rule("watch", "", "events"),
            ],
        ),
        ("pod-garbage-collector", vec![rule("delete,list,watch", "", "pods"), rule(READ, "", "nodes"), rule("patch", "", "pods/status")]),
        ("pv-protection-controller", vec![rule("get,list,update,watch", "", "persistentvolumes"), events()]),
        (
            "pvc-protection-controller",
            vec![
                rule("get,list,update,watch", "", "persistentvolumeclaims"),
                rule("update", "", "persistentvolumeclaims/status"),
                rule(READ, "", "pods"),
                events(),
            ],
        ),
        (
            "replicaset-controller",
            vec![
                rule("get,list,update,watch", "apps,extensions", "replicasets"),
                rule("update", "apps,extensions", "replicasets/status"),
                rule("update", "apps,extensions", "replicasets/finalizers"),
                rule("create,delete,list,patch,watch", "", "pods"),
                events(),
            ],
        ),
        (
            "replication-controller",
            vec![
                rule("get,list,update,watch", "", "replicationcontrollers"),
                rule("update", "", "replicationcontrollers/status"),
                rule("update", "", "replicationcontrollers/finalizers"),
                rule("create,delete,list,patch,watch", "", "pods"),
                events(),
            ],
        ),
        (
            "resource-claim-controller",
            vec![
                rule(READ, "", "pods"),
                rule("update", "", "pods/finalizers"),
                rule("create,delete,get,list,watch", "resource.k8s.io", "resourceclaims"),
                rule("patch,update", "resource.k8s.io", "resourceclaims,resourceclaims/status"),
                rule("patch,update", "", "pods/status"),
                events(),
                rule("patch,update", "resource.k8s.io", "resourceclaims/binding"),
            ],
        ),
        ("resourcequota-controller", vec![rule("list,watch", "*", "*"), rule("update", "", "resourcequotas/status"), events()]),
        ("root-ca-cert-publisher", vec![rule("create,update", "", "configmaps"), events()]),
        ("route-controller", vec![rule("list,watch", "", "nodes"), rule("patch", "", "nodes/status"), events()]),
        (
            "selinux-warning-controller",
            vec![
                events(),
                rule(READ, "", "persistentvolumes"),
                rule(READ, "", "persistentvolumeclaims"),
                rule(READ, "", "pods"),
                rule(READ, "storage.k8s.io", "csidrivers"),
            ],
        ),
        ("service-account-controller", vec![rule("create", "", "serviceaccounts"), events()]),
        ("service-ca-cert-publisher", vec![rule("create,update", "", "configmaps"), events()]),
        (
            "service-cidrs-controller",
            vec![
                rule("get,list,patch,update,watch", "networking.k8s.io", "servicecidrs"),
                rule("patch,update", "networking.k8s.io", "servicecidrs/finalizers"),
                rule("patch,update", "networking.k8s.io", "servicecidrs/status"),
                rule(READ, "networking.k8s.io", "ipaddresses"),
                events(),
            ],
        ),
        (
            "service-controller",
            vec![rule(READ, "", "services"), rule("patch,update", "", "services/status"), rule("list,watch", "", "nodes"), events()],
        ),
        (
            "statefulset-controller",
            vec![
                rule("list,watch", "", "pods"),
                rule(READ, "apps", "statefulsets"),
                rule("update", "apps", "statefulsets/status"),
                rule("update", "apps", "statefulsets/finalizers"),
                rule("create,delete,get,patch,update", "", "pods"),
                rule("create,delete,get,list,patch,update,watch", "apps", "controllerrevisions"),
                rule("create,get,list,watch", "", "persistentvolumeclaims"),
                rule("delete,update", "", "persistentvolumeclaims"),
                rule("update", "", "pods/finalizers"),
                events(),
            ],
        ),
        ("ttl-after-finished-controller", vec![rule("delete,get,list,watch", "batch", "jobs"), events()]),
        ("ttl-controller", vec![rule("list,patch,update,watch", "", "nodes"), events()]),
        (
            "validatingadmissionpolicy-status-controller",
            vec![
                rule(READ, "admissionregistration.k8s.io", "validatingadmissionpolicies"),
                rule("get,patch,update", "admissionregistration.k8s.io", "validatingadmissionpolicies/status"),
                events(),
            ],
        ),
        (
            "volumeattributesclass-protection-controller",
            vec![
                rule(READ, "", "persistentvolumeclaims"),
                rule(READ, "", "persistentvolumes"),
                rule("get,list,update,watch", "storage.k8s.io", "volumeattributesclasses"),
                events(),
            ],
        ),
    ]
}
