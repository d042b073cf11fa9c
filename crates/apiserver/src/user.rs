//! Who asks.

use std::collections::BTreeMap;

/// An authenticated caller. Authentication puts an `Arc<User>` into the request's extensions; callers in
/// this process put it there themselves, which is trusted because nothing from the network can.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub uid: String,
    pub groups: Vec<String>,
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    pub fn new(name: impl Into<String>, groups: &[&str]) -> Self {
        Self { name: name.into(), groups: groups.iter().map(|g| (*g).to_string()).collect(), ..Self::default() }
    }

    /// May do everything: the server's own loops, and the holder of the admin kubeconfig.
    pub fn system(name: impl Into<String>) -> Self {
        Self::new(name, &["system:masters", "system:authenticated"])
    }

    pub fn anonymous() -> Self {
        Self::new("system:anonymous", &["system:unauthenticated"])
    }

    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }
}
