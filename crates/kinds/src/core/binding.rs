//! The older way to say where a pod runs; asked for and never kept.

use crate::kind::built_in;
use crate::{Kind, Names, Scope};

pub struct Binding;

impl Kind for Binding {
    built_in!("io.k8s.api.core.v1.Binding", Names::new("", "v1", "Binding", "bindings", Scope::Namespaced));

    fn stored(&self) -> bool {
        false
    }

    fn verbs(&self) -> &'static [&'static str] {
        &["create"]
    }
}
