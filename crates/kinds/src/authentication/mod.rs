//! authentication.k8s.io/v1: who is this. Answered, never kept.

use crate::kind::built_in;
use crate::rules::path;
use crate::{Kind, Names, Scope};
use meta::{FieldErrors, value};
use serde_json::Value;
use std::sync::Arc;

const GROUP: &str = "authentication.k8s.io";

struct SelfSubjectReview;
struct TokenReview;

pub fn all() -> Vec<Arc<dyn Kind>> {
    vec![Arc::new(SelfSubjectReview), Arc::new(TokenReview)]
}

impl Kind for SelfSubjectReview {
    built_in!(
        "io.k8s.api.authentication.v1.SelfSubjectReview",
        Names::new(GROUP, "v1", "SelfSubjectReview", "selfsubjectreviews", Scope::Cluster)
    );

    fn stored(&self) -> bool {
        false
    }

    fn verbs(&self) -> &'static [&'static str] {
        &["create"]
    }
}

impl Kind for TokenReview {
    built_in!("io.k8s.api.authentication.v1.TokenReview", Names::new(GROUP, "v1", "TokenReview", "tokenreviews", Scope::Cluster));

    fn stored(&self) -> bool {
        false
    }

    fn verbs(&self) -> &'static [&'static str] {
        &["create"]
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        if value::text(object, &["spec", "token"]).is_empty() {
            errors.required(&path("spec.token"), "token is required for TokenReview in authentication");
        }
        errors
    }
}
