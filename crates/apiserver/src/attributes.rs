//! What a request wants, in the words that authorization uses.

use crate::user::User;
use std::sync::Arc;

#[derive(Clone, Debug, Default)]
pub struct Attributes {
    pub user: Arc<User>,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, or the method in
    /// lower case for paths that are no resources.
    pub verb: String,
    pub group: String,
    pub version: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    /// From the path, or from a `metadata.name` field selector of a list or watch.
    pub name: String,
    pub path: String,
    pub is_resource: bool,
    /// As the query gives them, for lists, watches and collection deletes.
    pub field_selector: String,
    pub label_selector: String,
    /// The name is in the path rather than in a selector.
    pub named: bool,
    /// The path behind the subresource, without its leading slash (`nodes/x/proxy/<rest>`).
    pub rest: String,
}

impl Attributes {
    /// `resource/subresource`, as RBAC rules spell it.
    pub fn full_resource(&self) -> String {
        if self.subresource.is_empty() { self.resource.clone() } else { format!("{}/{}", self.resource, self.subresource) }
    }

    pub fn read_only(&self) -> bool {
        matches!(self.verb.as_str(), "get" | "list" | "watch")
    }
}
