//! What the published OpenAPI of 1.36 says about fields and the generated types do not: how lists
//! and maps merge, and defaults. A list that has no line here is atomic.

/// Definitions that are owned and replaced as a whole, sorted.
pub const ATOMIC: &[&str] = &[
    "io.k8s.api.admissionregistration.v1.MatchResources",
    "io.k8s.api.admissionregistration.v1.NamedRuleWithOperations",
    "io.k8s.api.admissionregistration.v1.ParamKind",
    "io.k8s.api.admissionregistration.v1.ParamRef",
    "io.k8s.api.admissionregistration.v1.Variable",
    "io.k8s.api.autoscaling.v1.CrossVersionObjectReference",
    "io.k8s.api.core.v1.ConfigMapKeySelector",
    "io.k8s.api.core.v1.EndpointAddress",
    "io.k8s.api.core.v1.EndpointPort",
    "io.k8s.api.core.v1.FileKeySelector",
    "io.k8s.api.core.v1.LocalObjectReference",
    "io.k8s.api.core.v1.NodeSelector",
    "io.k8s.api.core.v1.NodeSelectorTerm",
    "io.k8s.api.core.v1.ObjectFieldSelector",
    "io.k8s.api.core.v1.ObjectReference",
    "io.k8s.api.core.v1.ResourceFieldSelector",
    "io.k8s.api.core.v1.ScopeSelector",
    "io.k8s.api.core.v1.SecretKeySelector",
    "io.k8s.api.core.v1.SecretReference",
    "io.k8s.api.core.v1.TopologySelectorTerm",
    "io.k8s.api.core.v1.TypedLocalObjectReference",
    "io.k8s.api.discovery.v1.EndpointPort",
    "io.k8s.api.networking.v1.ServiceBackendPort",
    "io.k8s.api.rbac.v1.RoleRef",
    "io.k8s.api.rbac.v1.Subject",
    "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector",
    "io.k8s.apimachinery.pkg.apis.meta.v1.OwnerReference",
];

/// (definition, field, facts), sorted. Facts are words: `map=KEYS`, `set` and `plain` (no list type at all) tell the
/// list type, `atomic` and `granular` the map type, `patch=` and `key=` the strategic merge, `default=` the default,
/// `optional` and `required` what the generated types say otherwise.
#[rustfmt::skip]
pub const FIELDS: &[(&str, &str, &str)] = &[
    ("io.k8s.api.admissionregistration.v1.MutatingAdmissionPolicySpec", "matchConditions", "map=name patch=merge key=name"),
    ("io.k8s.api.admissionregistration.v1.MutatingWebhook", "matchConditions", "map=name patch=merge key=name"),
    ("io.k8s.api.admissionregistration.v1.MutatingWebhookConfiguration", "webhooks", "map=name patch=merge key=name"),
    ("io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicyBindingSpec", "validationActions", "set"),
    ("io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicySpec", "matchConditions", "map=name patch=merge key=name"),
    ("io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicySpec", "variables", "map=name patch=merge key=name"),
    ("io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicyStatus", "conditions", "map=type"),
    ("io.k8s.api.admissionregistration.v1.ValidatingWebhook", "matchConditions", "map=name patch=merge key=name"),
    ("io.k8s.api.admissionregistration.v1.ValidatingWebhookConfiguration", "webhooks", "map=name patch=merge key=name"),
    ("io.k8s.api.apps.v1.DaemonSetStatus", "conditions", "map=type patch=merge key=type"),
    ("io.k8s.api.apps.v1.DeploymentSpec", "strategy", "patch=retainKeys"),
    ("io.k8s.api.apps.v1.DeploymentStatus", "conditions", "map=type patch=merge key=type"),
    ("io.k8s.api.apps.v1.ReplicaSetStatus", "conditions", "map=type patch=merge key=type"),
    ("io.k8s.api.apps.v1.StatefulSetStatus", "conditions", "map=type patch=merge key=type"),
    ("io.k8s.api.autoscaling.v2.HorizontalPodAutoscalerStatus", "conditions", "map=type patch=merge key=type"),
    ("io.k8s.api.batch.v1.JobStatus", "conditions", "patch=merge key=type"),
    ("io.k8s.api.batch.v1.PodFailurePolicyOnExitCodesRequirement", "values", "set"),
    ("io.k8s.api.batch.v1.UncountedTerminatedPods", "failed", "set"),
    ("io.k8s.api.batch.v1.UncountedTerminatedPods", "succeeded", "set"),
    ("io.k8s.api.certificates.v1.CertificateSigningRequestStatus", "conditions", "map=type"),
    ("io.k8s.api.core.v1.AzureDiskVolumeSource", "cachingMode", "default=ReadWrite"),
    ("io.k8s.api.core.v1.AzureDiskVolumeSource", "fsType", "default=ext4"),
    ("io.k8s.api.core.v1.AzureDiskVolumeSource", "kind", "default=Shared"),
    ("io.k8s.api.core.v1.ComponentStatus", "conditions", "map=type patch=merge key=type"),
    ("io.k8s.api.core.v1.ConfigMapEnvSource", "name", "optional default="),
    ("io.k8s.api.core.v1.ConfigMapKeySelector", "name", "optional default="),
    ("io.k8s.api.core.v1.ConfigMapProjection", "name", "optional default="),
    ("io.k8s.api.core.v1.ConfigMapVolumeSource", "name", "optional default="),
    ("io.k8s.api.core.v1.Container", "env", "map=name patch=merge key=name"),
    ("io.k8s.api.core.v1.Container", "ports", "map=containerPort,protocol patch=merge key=containerPort"),
    ("io.k8s.api.core.v1.Container", "volumeDevices", "map=devicePath patch=merge key=devicePath"),
    ("io.k8s.api.core.v1.Container", "volumeMounts", "map=mountPath patch=merge key=mountPath"),
    ("io.k8s.api.core.v1.ContainerPort", "protocol", "default=TCP"),
    ("io.k8s.api.core.v1.ContainerRestartRuleOnExitCodes", "values", "set"),
    ("io.k8s.api.core.v1.ContainerStatus", "allocatedResourcesStatus", "map=name patch=merge key=name"),
    ("io.k8s.api.core.v1.ContainerStatus", "volumeMounts", "map=mountPath patch=merge key=mountPath"),
    ("io.k8s.api.core.v1.EphemeralContainer", "env", "map=name patch=merge key=name"),
    ("io.k8s.api.core.v1.EphemeralContainer", "ports", "map=containerPort,protocol patch=merge key=containerPort"),
    ("io.k8s.api.core.v1.EphemeralContainer", "volumeDevices", "map=devicePath patch=merge key=devicePath"),
    ("io.k8s.api.core.v1.EphemeralContainer", "volumeMounts", "map=mountPath patch=merge key=mountPath"),
    ("io.k8s.api.core.v1.Event", "metadata", "required"),
    ("io.k8s.api.core.v1.ISCSIPersistentVolumeSource", "iscsiInterface", "default=default"),
    ("io.k8s.api.core.v1.ISCSIVolumeSource", "iscsiInterface", "default=default"),
    ("io.k8s.api.core.v1.LocalObjectReference", "name", "optional default="),
    ("io.k8s.api.core.v1.NamespaceStatus", "conditions", "map=type patch=merge key=type"),
    ("io.k8s.api.core.v1.NodeAllocatableResourceClaimStatus", "containers", "set"),
    ("io.k8s.api.core.v1.NodeSpec", "podCIDRs", "set patch=merge"),
    ("io.k8s.api.core.v1.NodeStatus", "addresses", "map=type patch=merge key=type"),
    ("io.k8s.api.core.v1.NodeStatus", "conditions", "map=type patch=merge key=type"),
    ("io.k8s.api.core.v1.PersistentVolumeClaimStatus", "allocatedResourceStatuses", "granular"),
    ("io.k8s.api.core.v1.PersistentVolumeClaimStatus", "conditions", "map=type patch=merge key=type"),
    ("io.k8s.api.core.v1.PersistentVolumeSpec", "claimRef", "granular"),
    ("io.k8s.api.core.v1.PodSpec", "containers", "map=name patch=merge key=name"),
    ("io.k8s.api.core.v1.PodSpec", "ephemeralContainers", "map=name patch=merge key=name"),
    ("io.k8s.api.core.v1.PodSpec", "hostAliases", "map=ip patch=merge key=ip"),
    ("io.k8s.api.core.v1.PodSpec", "imagePullSecrets", "map=name patch=merge key=name"),
    ("io.k8s.api.core.v1.PodSpec", "initContainers", "map=name patch=merge key=name"),
    ("io.k8s.api.core.v1.PodSpec", "nodeSelector", "atomic"),
    ("io.k8s.api.core.v1.PodSpec", "resourceClaims", "map=name patch=merge,retainKeys key=name"),
    ("io.k8s.api.core.v1.PodSpec", "schedulingGates", "map=name patch=merge key=name"),
    ("io.k8s.api.core.v1.PodSpec", "topologySpreadConstraints", "map=topologyKey,whenUnsatisfiable patch=merge key=topologyKey"),
    ("io.k8s.api.core.v1.PodSpec", "volumes", "map=name patch=merge,retainKeys key=name"),
    ("io.k8s.api.core.v1.PodStatus", "conditions", "map=type patch=merge key=type"),
    ("io.k8s.api.core.v1.PodStatus", "hostIPs", "patch=merge key=ip"),
    ("io.k8s.api.core.v1.PodStatus", "podIPs", "map=ip patch=merge key=ip"),
    ("io.k8s.api.core.v1.PodStatus", "resourceClaimStatuses", "map=name patch=merge,retainKeys key=name"),
    ("io.k8s.api.core.v1.RBDPersistentVolumeSource", "keyring", "default=/etc/ceph/keyring"),
    ("io.k8s.api.core.v1.RBDPersistentVolumeSource", "pool", "default=rbd"),
    ("io.k8s.api.core.v1.RBDPersistentVolumeSource", "user", "default=admin"),
    ("io.k8s.api.core.v1.RBDVolumeSource", "keyring", "default=/etc/ceph/keyring"),
    ("io.k8s.api.core.v1.RBDVolumeSource", "pool", "default=rbd"),
    ("io.k8s.api.core.v1.RBDVolumeSource", "user", "default=admin"),
    ("io.k8s.api.core.v1.ReplicationControllerSpec", "replicas", "default=1"),
    ("io.k8s.api.core.v1.ReplicationControllerSpec", "selector", "atomic"),
    ("io.k8s.api.core.v1.ReplicationControllerStatus", "conditions", "map=type patch=merge key=type"),
    ("io.k8s.api.core.v1.ResourceRequirements", "claims", "map=name"),
    ("io.k8s.api.core.v1.ResourceStatus", "resources", "map=resourceID"),
    ("io.k8s.api.core.v1.ScaleIOPersistentVolumeSource", "fsType", "default=xfs"),
    ("io.k8s.api.core.v1.ScaleIOPersistentVolumeSource", "storageMode", "default=ThinProvisioned"),
    ("io.k8s.api.core.v1.ScaleIOVolumeSource", "fsType", "default=xfs"),
    ("io.k8s.api.core.v1.ScaleIOVolumeSource", "storageMode", "default=ThinProvisioned"),
    ("io.k8s.api.core.v1.SecretEnvSource", "name", "optional default="),
    ("io.k8s.api.core.v1.SecretKeySelector", "name", "optional default="),
    ("io.k8s.api.core.v1.SecretProjection", "name", "optional default="),
    ("io.k8s.api.core.v1.ServiceAccount", "secrets", "map=name patch=merge key=name"),
    ("io.k8s.api.core.v1.ServicePort", "protocol", "default=TCP"),
    ("io.k8s.api.core.v1.ServiceSpec", "ports", "map=port,protocol patch=merge key=port"),
    ("io.k8s.api.core.v1.ServiceSpec", "selector", "atomic"),
    ("io.k8s.api.core.v1.ServiceStatus", "conditions", "map=type patch=merge key=type"),
    ("io.k8s.api.discovery.v1.Endpoint", "addresses", "set"),
    ("io.k8s.api.events.v1.Event", "eventTime", "required"),
    ("io.k8s.api.flowcontrol.v1.FlowSchemaStatus", "conditions", "map=type patch=merge key=type"),
    ("io.k8s.api.flowcontrol.v1.NonResourcePolicyRule", "nonResourceURLs", "set"),
    ("io.k8s.api.flowcontrol.v1.NonResourcePolicyRule", "verbs", "set"),
    ("io.k8s.api.flowcontrol.v1.PriorityLevelConfigurationStatus", "conditions", "map=type patch=merge key=type"),
    ("io.k8s.api.flowcontrol.v1.ResourcePolicyRule", "apiGroups", "set"),
    ("io.k8s.api.flowcontrol.v1.ResourcePolicyRule", "namespaces", "set"),
    ("io.k8s.api.flowcontrol.v1.ResourcePolicyRule", "resources", "set"),
    ("io.k8s.api.flowcontrol.v1.ResourcePolicyRule", "verbs", "set"),
    ("io.k8s.api.networking.v1.ServiceCIDRStatus", "conditions", "map=type patch=merge key=type"),
    ("io.k8s.api.node.v1.Scheduling", "nodeSelector", "atomic"),
    ("io.k8s.api.policy.v1.PodDisruptionBudgetSpec", "selector", "patch=replace"),
    ("io.k8s.api.policy.v1.PodDisruptionBudgetStatus", "conditions", "map=type patch=merge key=type"),
    ("io.k8s.api.resource.v1.AllocatedDeviceStatus", "conditions", "map=type"),
    ("io.k8s.api.resource.v1.DeviceToleration", "operator", "default=Equal"),
    ("io.k8s.api.resource.v1.ResourceClaimStatus", "devices", "map=driver,device,pool,shareID"),
    ("io.k8s.api.resource.v1.ResourceClaimStatus", "reservedFor", "map=uid patch=merge key=uid"),
    ("io.k8s.api.storage.v1.CSIDriverSpec", "volumeLifecycleModes", "set"),
    ("io.k8s.api.storage.v1.CSINodeSpec", "drivers", "map=name patch=merge key=name"),
    ("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinitionStatus", "conditions", "map=type"),
    ("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps", "x-kubernetes-validations", "map=rule patch=merge key=rule"),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.APIResource", "verbs", "plain"),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", "finalizers", "set patch=merge"),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", "ownerReferences", "map=uid patch=merge key=uid"),
    ("io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIServiceStatus", "conditions", "map=type patch=merge key=type"),
];

/// The words about a field; empty where there is nothing to tell.
pub fn of(definition: &str, field: &str) -> &'static str {
    FIELDS.binary_search_by(|(d, f, _)| (*d, *f).cmp(&(definition, field))).map_or("", |i| FIELDS[i].2)
}

/// The value of `word=`, if the facts have it.
pub fn value(facts: &'static str, word: &str) -> Option<&'static str> {
    facts.split(' ').find_map(|fact| fact.strip_prefix(word)?.strip_prefix('='))
}

pub fn has(facts: &str, word: &str) -> bool {
    facts.split(' ').any(|fact| fact == word)
}

pub fn is_atomic(definition: &str) -> bool {
    ATOMIC.binary_search(&definition).is_ok()
}

/// Whether a field must be there. The generated types want `metadata` everywhere, which the API does not.
pub fn is_required(definition: &str, field: &str, generated: bool) -> bool {
    let facts = of(definition, field);
    (generated && field != "metadata" && !has(facts, "optional")) || has(facts, "required")
}
