//! What a CSI driver can do and wants to know.

use super::{GROUP, flag};
use crate::kind::built_in;
use crate::rules::{self, get, path};
use crate::{Column, Kind, Names, Scope, table};
use jiff::Timestamp;
use meta::{FieldErrors, FieldPath, value};
use serde_json::{Value, json};

pub struct CSIDriver;

const TOKEN_SECONDS_MIN: i64 = 600;
const TOKEN_SECONDS_MAX: i64 = 1 << 32;
const PERIOD_MIN: i64 = 10;

impl Kind for CSIDriver {
    built_in!("io.k8s.api.storage.v1.CSIDriver", Names::new(GROUP, "v1", "CSIDriver", "csidrivers", Scope::Cluster));

    fn default(&self, object: &mut Value) {
        value::default(object, &["spec", "attachRequired"], true);
        for name in ["podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"] {
            value::default(object, &["spec", name], false);
        }
        value::default(object, &["spec", "fsGroupPolicy"], "ReadWriteOnceWithFSType");
        if value::items(object, &["spec", "volumeLifecycleModes"]).is_empty() {
            value::set(object, &["spec", "volumeLifecycleModes"], json!(["Persistent"]));
        }
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let (spec, at) = (get(object, "spec"), path("spec"));
        let policy = value::text(spec, &["fsGroupPolicy"]);
        if spec.get("fsGroupPolicy").is_some() && !matches!(policy, "File" | "None" | "ReadWriteOnceWithFSType") {
            errors.not_supported(&at.child("fsGroupPolicy"), policy, &["File", "None", "ReadWriteOnceWithFSType"]);
        }
        token_requests(value::items(spec, &["tokenRequests"]), &at.child("tokenRequests"), &mut errors);
        for mode in value::items(spec, &["volumeLifecycleModes"]).iter().filter(|mode| *mode != "Persistent" && *mode != "Ephemeral") {
            errors.not_supported(&at.child("volumeLifecycleModes"), mode.clone(), &["Persistent", "Ephemeral"]);
        }
        if let Some(period) = value::int(spec, &["nodeAllocatableUpdatePeriodSeconds"]).filter(|p| *p < PERIOD_MIN) {
            let message = "must be greater than or equal to 10 seconds";
            errors.invalid(&at.child("nodeAllocatableUpdatePeriodSeconds"), period, message);
        }
        if let Some(in_secrets) = spec.get("serviceAccountTokenInSecrets")
            && value::items(spec, &["tokenRequests"]).is_empty()
        {
            let message = "serviceAccountTokenInSecrets is set but no tokenRequests are specified";
            errors.invalid(&at.child("serviceAccountTokenInSecrets"), in_secrets.clone(), message);
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let (now, was, at) = (get(new, "spec"), get(old, "spec"), path("spec"));
        // The odd name is upstream's.
        rules::immutable(get(now, "attachRequired"), get(was, "attachRequired"), &at.child("attachedRequired"), &mut errors);
        rules::immutable_fields(now, was, &["volumeLifecycleModes"], &at, &mut errors);
        errors
    }

    fn allow_unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> Vec<Column> {
        vec![
            Column::name(),
            Column::new("AttachRequired", "boolean"),
            Column::new("PodInfoOnMount", "boolean"),
            Column::new("StorageCapacity", "boolean"),
            Column::new("TokenRequests", "string"),
            Column::new("RequiresRepublish", "boolean"),
            Column::new("Modes", "string"),
            Column::age(),
        ]
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let spec = get(object, "spec");
        let join = |items: Vec<&str>| items.join(",");
        let modes = join(value::items(spec, &["volumeLifecycleModes"]).iter().filter_map(Value::as_str).collect());
        let tokens = spec.get("tokenRequests").and_then(Value::as_array);
        let tokens = tokens.map_or("<unset>".into(), |t| join(t.iter().map(|t| value::text(t, &["audience"])).collect()));
        vec![
            table::name(object),
            flag(object, "attachRequired", true),
            flag(object, "podInfoOnMount", false),
            flag(object, "storageCapacity", false),
            tokens.into(),
            flag(object, "requiresRepublish", false),
            if modes.is_empty() { "<none>".into() } else { modes.into() },
            table::age(object, now).into(),
        ]
    }
}

fn token_requests(requests: &[Value], at: &FieldPath, errors: &mut FieldErrors) {
    for (i, request) in requests.iter().enumerate() {
        let at = at.index(i);
        let audience = value::text(request, &["audience"]);
        if requests[..i].iter().any(|r| value::text(r, &["audience"]) == audience) {
            errors.duplicate(&at.child("audience"), audience);
            continue;
        }
        let Some(seconds) = value::int(request, &["expirationSeconds"]) else { continue };
        if seconds < TOKEN_SECONDS_MIN {
            errors.invalid(&at.child("expirationSeconds"), seconds, "may not specify a duration less than 10 minutes");
        }
        if seconds > TOKEN_SECONDS_MAX {
            errors.invalid(&at.child("expirationSeconds"), seconds, "may not specify a duration larger than 2^32 seconds");
        }
    }
}
