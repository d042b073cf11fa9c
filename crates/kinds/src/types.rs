//! The published types, by definition name: what schemas and OpenAPI documents are generated from.

use k8s_openapi::api::{
    admissionregistration, apps, authentication, authorization, autoscaling, batch, certificates, coordination, core, discovery, events,
    flowcontrol, networking, node, policy, rbac, resource, scheduling, storage,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions;
use k8s_openapi::apimachinery::pkg::apis::meta;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration;
use schemars::{JsonSchema, Schema, SchemaGenerator};

/// A type that stands on its own in the API: a kind, or the body of a subresource.
pub struct Root {
    pub definition: &'static str,
    /// Adds the type, and all it refers to, to the generator's definitions.
    pub generate: fn(&mut SchemaGenerator) -> Schema,
    /// Group, version and kind; `None` for what belongs to every group.
    pub gvk: Option<(&'static str, &'static str, &'static str)>,
    /// Whether there is a `...List` of it.
    pub listed: bool,
}

fn generate<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

const fn kind<T: JsonSchema + k8s_openapi::Resource>(definition: &'static str, listed: bool) -> Root {
    Root { definition, generate: generate::<T>, gvk: Some((T::GROUP, T::VERSION, T::KIND)), listed }
}

const fn part<T: JsonSchema>(definition: &'static str) -> Root {
    Root { definition, generate: generate::<T>, gvk: None, listed: false }
}

/// One slice per module: kinds with a list, kinds without one, and other types.
macro_rules! roots {
    ($name:ident: $module:ident :: $version:ident, $prefix:literal; $($listed:ident)*; $($single:ident)*; $($part:ident)*) => {
        const $name: &[Root] = &[
            $(kind::<$module::$version::$listed>(concat!($prefix, ".", stringify!($listed)), true),)*
            $(kind::<$module::$version::$single>(concat!($prefix, ".", stringify!($single)), false),)*
            $(part::<$module::$version::$part>(concat!($prefix, ".", stringify!($part))),)*
        ];
    };
}

roots!(ADMISSIONREGISTRATION: admissionregistration::v1, "io.k8s.api.admissionregistration.v1";
    MutatingAdmissionPolicy MutatingAdmissionPolicyBinding MutatingWebhookConfiguration
    ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding ValidatingWebhookConfiguration;;);
roots!(APPS: apps::v1, "io.k8s.api.apps.v1"; ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet;;);
roots!(AUTHENTICATION: authentication::v1, "io.k8s.api.authentication.v1";; SelfSubjectReview TokenRequest TokenReview;);
roots!(AUTHORIZATION: authorization::v1, "io.k8s.api.authorization.v1";;
    LocalSubjectAccessReview SelfSubjectAccessReview SelfSubjectRulesReview SubjectAccessReview;);
roots!(AUTOSCALING1: autoscaling::v1, "io.k8s.api.autoscaling.v1"; HorizontalPodAutoscaler; Scale;);
roots!(AUTOSCALING2: autoscaling::v2, "io.k8s.api.autoscaling.v2"; HorizontalPodAutoscaler;;);
roots!(BATCH: batch::v1, "io.k8s.api.batch.v1"; CronJob Job;;);
roots!(CERTIFICATES: certificates::v1, "io.k8s.api.certificates.v1"; CertificateSigningRequest;;);
roots!(COORDINATION: coordination::v1, "io.k8s.api.coordination.v1"; Lease;;);
roots!(CORE: core::v1, "io.k8s.api.core.v1";
    ComponentStatus ConfigMap Endpoints Event LimitRange Namespace Node PersistentVolume PersistentVolumeClaim Pod PodTemplate
    ReplicationController ResourceQuota Secret Service ServiceAccount; Binding;);
roots!(DISCOVERY: discovery::v1, "io.k8s.api.discovery.v1"; EndpointSlice;;);
roots!(EVENTS: events::v1, "io.k8s.api.events.v1"; Event;;);
roots!(FLOWCONTROL: flowcontrol::v1, "io.k8s.api.flowcontrol.v1"; FlowSchema PriorityLevelConfiguration;;);
roots!(NETWORKING: networking::v1, "io.k8s.api.networking.v1"; IPAddress Ingress IngressClass NetworkPolicy ServiceCIDR;;);
roots!(NODE: node::v1, "io.k8s.api.node.v1"; RuntimeClass;;);
roots!(POLICY: policy::v1, "io.k8s.api.policy.v1"; PodDisruptionBudget; Eviction;);
roots!(RBAC: rbac::v1, "io.k8s.api.rbac.v1"; ClusterRole ClusterRoleBinding Role RoleBinding;;);
roots!(RESOURCE: resource::v1, "io.k8s.api.resource.v1"; DeviceClass ResourceClaim ResourceClaimTemplate ResourceSlice;;);
roots!(SCHEDULING: scheduling::v1, "io.k8s.api.scheduling.v1"; PriorityClass;;);
roots!(STORAGE: storage::v1, "io.k8s.api.storage.v1";
    CSIDriver CSINode CSIStorageCapacity StorageClass VolumeAttachment VolumeAttributesClass;;);
roots!(APIEXTENSIONS: apiextensions::v1, "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1"; CustomResourceDefinition;;);
roots!(APIREGISTRATION: apiregistration::v1, "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1"; APIService;;);
roots!(META: meta::v1, "io.k8s.apimachinery.pkg.apis.meta.v1";;;
    APIGroup APIGroupList APIResourceList APIVersions Condition DeleteOptions LabelSelector ListMeta ObjectMeta Patch Status);

const WATCH_EVENT: &[Root] = &[part::<meta::v1::WatchEvent<k8s_openapi::apimachinery::pkg::runtime::RawExtension>>(
    "io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent",
)];

const ALL: &[&[Root]] = &[
    ADMISSIONREGISTRATION,
    APPS,
    AUTHENTICATION,
    AUTHORIZATION,
    AUTOSCALING1,
    AUTOSCALING2,
    BATCH,
    CERTIFICATES,
    COORDINATION,
    CORE,
    DISCOVERY,
    EVENTS,
    FLOWCONTROL,
    NETWORKING,
    NODE,
    POLICY,
    RBAC,
    RESOURCE,
    SCHEDULING,
    STORAGE,
    APIEXTENSIONS,
    APIREGISTRATION,
    META,
    WATCH_EVENT,
];

pub fn roots() -> impl Iterator<Item = &'static Root> {
    ALL.iter().flat_map(|module| module.iter())
}
