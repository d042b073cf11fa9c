//! The one list of what is built in.

use crate::Kind;
use std::sync::Arc;

/// Every built-in kind in the order of discovery: groups as upstream lists them, the preferred version of each first.
pub fn builtin() -> Vec<Arc<dyn Kind>> {
    let groups = [
        crate::core::all(),
        crate::apiregistration::all(),
        crate::apps::all(),
        crate::events::all(),
        crate::authentication::all(),
        crate::authorization::all(),
        crate::autoscaling::all(),
        crate::batch::all(),
        crate::certificates::all(),
        crate::networking::all(),
        crate::policy::all(),
        crate::rbac::all(),
        crate::storage::all(),
        crate::admissionregistration::all(),
        crate::apiextensions::all(),
        crate::scheduling::all(),
        crate::coordination::all(),
        crate::node::all(),
        crate::discovery::all(),
        crate::resource::all(),
        crate::flowcontrol::all(),
    ];
    groups.into_iter().flatten().collect()
}
