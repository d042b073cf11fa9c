//! What the core group refuses, warns of and fills in, in upstream's words.

use crate::registry::builtin;
use crate::{Kind, Subresource};
use meta::value;
use serde_json::{Value, json};
use std::sync::Arc;

fn kind(name: &str) -> Arc<dyn Kind> {
    builtin().into_iter().find(|k| k.names().kind == name).expect("a built-in kind")
}

/// All that is wrong with a new object, a line each.
fn wrong(name: &str, mut object: Value) -> Vec<String> {
    let kind = kind(name);
    kind.default(&mut object);
    kind.prepare_create(&mut object);
    let mut errors = kind.validate(&object);
    errors.extend(kind.validate_create(&object));
    errors.0.iter().map(ToString::to_string).collect()
}

fn pod(change: impl FnOnce(&mut Value)) -> Value {
    let mut pod = json!({"metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    change(&mut pod["spec"]);
    pod
}

#[test]
fn pods_are_refused_for_what_upstream_refuses() {
    assert_eq!(wrong("Pod", pod(|_| {})), [""; 0]);
    type Case = (fn(&mut Value), &'static [&'static str]);
    let cases: [Case; 12] = [
        (
            |s| s["ephemeralContainers"] = json!([{"name": "d", "image": "d"}]),
            &["spec.ephemeralContainers: Forbidden: cannot be set on create"],
        ),
        (
            |s| s["containers"][0]["env"] = json!([{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.hostname"}}}]),
            &[
                "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"spec.hostname\": error converting fieldPath: field label not supported: spec.hostname",
            ],
        ),
        (
            |s| {
                s["containers"][0]["env"] =
                    json!([{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "2"}}}])
            },
            &[
                "spec.containers[0].env[0].valueFrom.resourceFieldRef.divisor: Invalid value: \"limits.cpu\": only divisor's values 1m and 1 are supported with the cpu resource",
            ],
        ),
        (
            |s| s["containers"][0]["volumeMounts"] = json!([{"name": "v", "mountPath": "/a", "mountPropagation": "Bidirectional"}]),
            &[
                "spec.containers[0].volumeMounts[0].name: Not found: \"v\"",
                "spec.containers[0].volumeMounts.mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers",
            ],
        ),
        (
            |s| s["volumes"] = json!([{"name": "v", "nfs": {"server": "h", "path": "x"}, "emptyDir": {}}]),
            &["spec.volumes[0].nfs: Forbidden: may not specify more than 1 volume type"],
        ),
        (
            |s| {
                s["volumes"] = json!([{"name": "v", "projected": {"sources": [
                    {"configMap": {"name": "m", "items": [{"key": "k", "path": "a"}]}},
                    {"downwardAPI": {"items": [{"path": "a", "fieldRef": {"fieldPath": "metadata.labels['x y']"}}]}}]}}]);
            },
            &[
                "spec.volumes[0].projected.sources[1].downwardAPI.fieldRef: Invalid value: \"x y\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
                "spec.volumes[0].projected: Invalid value: \"a\": conflicting duplicate paths",
            ],
        ),
        (
            |s| s["securityContext"] = json!({"seccompProfile": {"type": "Localhost"}, "sysctls": [{"name": "a..b", "value": "1"}]}),
            &[
                "spec.securityContext.sysctls[0].name: Invalid value: \"a..b\": must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$",
                "spec.securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost",
            ],
        ),
        (
            |s| {
                s["hostUsers"] = false.into();
                s["hostPID"] = true.into();
                s["os"] = json!({"name": "plan9"});
            },
            &[
                "spec.HostPID: Forbidden: when `hostUsers` is false",
                "spec.os: Unsupported value: \"plan9\": supported values: \"linux\", \"windows\"",
            ],
        ),
        (
            |s| {
                s["resources"] = json!({"requests": {"cpu": "1"}, "limits": {"cpu": "2"}});
                s["containers"][0]["resources"] = json!({"requests": {"cpu": "1500m"}, "limits": {"cpu": "3"}});
            },
            &[
                "spec.resources.requests[cpu]: Invalid value: \"1\": must be greater than or equal to aggregate container requests of 1500m",
                "spec.resources.containers[0][cpu].limits: Invalid value: \"3\": must be less than or equal to pod limits of 2",
            ],
        ),
        (
            |s| {
                s["schedulingGates"] = json!([{"name": "a"}, {"name": "a"}]);
                s["nodeName"] = "n".into();
            },
            &[
                "spec.schedulingGates[1]: Duplicate value: \"a\"",
                "spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared",
            ],
        ),
        (
            |s| {
                s["topologySpreadConstraints"] =
                    json!([{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "ScheduleAnyway", "minDomains": 2, "labelSelector": {}}])
            },
            &[
                "spec.topologySpreadConstraints[0].minDomains: Invalid value: 2: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway",
            ],
        ),
        (
            |s| s["containers"][0]["lifecycle"] = json!({"preStop": {"sleep": {"seconds": 31}}}),
            &[
                "spec.containers[0].lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)",
            ],
        ),
    ];
    for (change, expected) in cases {
        assert_eq!(wrong("Pod", pod(change)), expected);
    }
}

#[test]
fn a_resize_keeps_the_class_of_service_and_all_but_cpu_and_memory() {
    let pods = kind("Pod");
    let mut old = pod(|s| s["containers"][0]["resources"] = json!({"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}));
    pods.default(&mut old);
    pods.prepare_create(&mut old);
    let Some(Subresource::Update { prepare, validate, .. }) = pods.subresources().into_iter().find(|s| s.name() == "resize") else {
        panic!("resize is a subresource")
    };
    let resized = |change: fn(&mut Value)| {
        let mut new = old.clone();
        change(&mut new["spec"]);
        prepare(&mut new, &old);
        (validate(&new, &old).0.iter().map(ToString::to_string).collect::<Vec<_>>(), new)
    };
    let (errors, new) = resized(|s| {
        s["containers"][0]["resources"]["limits"]["cpu"] = "3".into();
        s["containers"][0]["image"] = "other".into();
    });
    assert_eq!((errors, &new["spec"]["containers"][0]["image"]), (vec![], &json!("i")));
    let (errors, _) = resized(|s| s["containers"][0]["resources"] = json!({}));
    assert!(
        errors.contains(&"spec: Invalid value: \"Burstable\": Pod QOS Class may not change as a result of resizing".into()),
        "{errors:?}"
    );
    assert!(errors.contains(&"spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed".into()), "{errors:?}");
    let (errors, _) = resized(|s| s["containers"][0]["resources"]["requests"]["ephemeral-storage"] = "1Gi".into());
    assert_eq!(errors, ["spec: Forbidden: only cpu and memory resources are mutable"]);
    let (errors, _) = resized(|s| s["containers"] = json!([]));
    assert!(errors.contains(&"spec.containers: Forbidden: containers may not be added or removed on resize".into()), "{errors:?}");
}

#[test]
fn a_gated_pod_may_only_be_narrowed() {
    let pods = kind("Pod");
    let required = |terms: Value| json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}});
    let expression = |key: &str| json!({"key": key, "operator": "Exists"});
    let mut old = pod(|s| {
        s["schedulingGates"] = json!([{"name": "g"}]);
        s["nodeSelector"] = json!({"a": "1"});
        s["affinity"] = required(json!([{"matchExpressions": [expression("a")]}]));
    });
    pods.default(&mut old);
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut new = old.clone();
        change(&mut new["spec"]);
        pods.validate_update(&new, &old).0.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let narrow = |s: &mut Value| {
        s["nodeSelector"]["b"] = "2".into();
        s["affinity"] = required(json!([{"matchExpressions": [expression("a"), expression("b")]}]));
        s["schedulingGates"] = json!([]);
    };
    assert_eq!(changed(&narrow), [""; 0]);
    let widen = |s: &mut Value| {
        s["nodeSelector"]["a"] = "2".into();
        s["affinity"] = required(json!([{"matchExpressions": [expression("b")]}]));
    };
    let errors = changed(&widen);
    assert!(errors[0].ends_with("only additions to spec.nodeSelector are allowed (no mutations or deletions)"), "{errors:?}");
    assert!(errors[1].ends_with("only additions are allowed (no mutations or deletions)"), "{errors:?}");
}

#[test]
fn a_pod_that_has_ended_does_not_run_again() {
    let pods = kind("Pod");
    let with = |policy: &str, state: Value| {
        let mut pod = pod(|s| s["restartPolicy"] = policy.into());
        pod["status"] = json!({"qosClass": "BestEffort", "containerStatuses": [{"name": "c", "state": state}]});
        pod
    };
    let (ended, running) = (json!({"terminated": {"exitCode": 1}}), json!({"running": {}}));
    for (policy, refused) in [("Never", true), ("OnFailure", false), ("Always", false)] {
        let errors = pods.validate_status(&with(policy, running.clone()), &with(policy, ended.clone()));
        assert_eq!(!errors.is_empty(), refused, "{policy}: {:?}", errors.0);
    }
}

#[test]
fn services_volumes_and_limits_are_refused_in_upstreams_words() {
    let ports = json!([{"name": "a", "port": 80, "nodePort": 30000}, {"name": "a", "port": 80, "appProtocol": "x y"}]);
    assert_eq!(
        wrong("Service", json!({"metadata": {"name": "s"}, "spec": {"ports": ports, "externalIPs": ["127.0.0.1", "010.0.0.1"]}}))
            .iter()
            .map(|e| e.split(" (").next().unwrap_or_default())
            .collect::<Vec<_>>(),
        [
            "spec.ports[1].name: Duplicate value: \"a\"",
            "spec.ports[1].appProtocol: Invalid value: \"x y\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
            "spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range",
            "spec.externalIPs[1]: Invalid value: \"010.0.0.1\": must not have leading 0s",
            "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
            "spec.ports[1]: Duplicate value: {\"port\":80,\"protocol\":\"TCP\",\"targetPort\":0}",
        ]
    );
    let volume = json!({"metadata": {"name": "v"}, "spec": {"accessModes": ["ReadWriteOncePod", "ReadOnlyMany"], "capacity": {"storage": "0"},
        "local": {"path": "/d/../e"}, "volumeAttributesClassName": "c"}});
    assert_eq!(
        wrong("PersistentVolume", volume),
        [
            "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
            "spec.capacity[storage]: Invalid value: \"0\": must be greater than zero",
            "spec.local.path: Invalid value: \"/d/../e\": must not contain '..'",
            "spec.nodeAffinity: Required value: Local volume requires node affinity",
            "spec.csi: Required value: has to be specified when using volumeAttributesClassName",
        ]
    );
    let limits =
        json!([{"type": "Pod", "default": {"cpu": "1"}, "min": {"cpu": "2"}, "max": {"cpu": "1"}}, {"type": "PersistentVolumeClaim"}]);
    assert_eq!(
        wrong("LimitRange", json!({"metadata": {"name": "l"}, "spec": {"limits": limits}})),
        [
            "spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'",
            "spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1",
            "spec.limits[1].limits: Required value: either minimum or maximum storage value is required, but neither was provided",
        ]
    );
    let quota = json!({"hard": {"services": "1.5", "cpu": "1"}, "scopes": ["BestEffort"]});
    assert_eq!(
        wrong("ResourceQuota", json!({"metadata": {"name": "q"}, "spec": quota})),
        [
            "spec.hard[services]: Invalid value: \"1500m\": must be an integer",
            "spec.scopes: Invalid value: [\"BestEffort\"]: unsupported scope applied to resource",
            "spec.scopes: Invalid value: [\"BestEffort\"]: unsupported scope applied to resource",
        ]
        .map(|e| e.replace("1500m", "1.5"))
    );
}

#[test]
fn what_works_and_is_not_meant_is_warned_of() {
    let told = kind("Pod").warnings(
        &pod(|s| {
            s["nodeSelector"] = json!({"beta.kubernetes.io/os": "linux"});
            s["containers"][0]["env"] = json!([{"name": "A", "value": "1"}, {"name": "A", "value": "2"}, {"name": "A", "value": "$(A):3"}]);
            s["containers"][0]["ports"] = json!([{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 80, "protocol": "TCP"}]);
            s["volumes"] =
                json!([{"name": "v", "configMap": {"name": "m", "items": [{"key": "a", "path": "d"}, {"key": "b", "path": "d/e"}]}}]);
        }),
        None,
    );
    assert_eq!(
        told,
        [
            "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead",
            "volume \"v\" (ConfigMap \"m\"): overlapping paths: \"d/e\" with \"d\"",
            "spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply",
            "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]",
        ]
    );
    let service = json!({"metadata": {"name": "s"}, "spec": {"type": "ClusterIP", "clusterIP": "10.0.0.1", "sessionAffinity": "None",
        "externalName": "x", "externalIPs": ["1::00"]}});
    assert_eq!(
        kind("Service").warnings(&service, None),
        [
            "spec.externalIPs[0]: IPv6 address \"1::00\" should be in RFC 5952 canonical format (\"1::\")",
            "spec.externalIPs is deprecated and may no longer be implemented in some clusters",
            "spec.externalName is ignored when spec.type is not \"ExternalName\"",
        ]
    );
}

#[test]
fn a_pods_labels_become_part_of_its_selectors() {
    let mut object = pod(|s| {
        s["topologySpreadConstraints"] = json!([{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}, "matchLabelKeys": ["rev", "gone"]}]);
    });
    object["metadata"]["labels"] = json!({"rev": "1"});
    kind("Pod").prepare_create(&mut object);
    let selector = value::at(&object["spec"]["topologySpreadConstraints"][0], &["labelSelector", "matchExpressions"]);
    assert_eq!(selector, Some(&json!([{"key": "rev", "operator": "In", "values": ["1"]}])));
}
