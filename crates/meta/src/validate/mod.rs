//! Checks of names, values and object metadata, in upstream's words
//! (apimachinery `pkg/util/validation`, `pkg/api/validation`).

mod meta;
mod names;
mod net;
mod selector;

pub use meta::{annotations, field_manager, finalizer_name, kube_finalizer_name, labels, object_meta, object_meta_update};
pub use names::{
    c_identifier, config_map_key, dns_label, dns_subdomain, dns_subdomain_with_underscore, dns1035_label, env_var_name,
    fully_qualified_name, http_header_name, label_value, path_segment, percent, qualified_name, relaxed_env_var_name,
    wildcard_dns_subdomain,
};
pub use net::{cidr, ip, legacy_cidr, legacy_ip, port_name, port_number, sloppy_ip};
pub use selector::label_selector;
