//! A network that services take their addresses from.

use super::GROUP;
use crate::kind::built_in;
use crate::rules::{self, get, path};
use crate::{Column, Kind, Names, Scope, Subresource, table};
use jiff::Timestamp;
use meta::{FieldErrors, validate, value};
use serde_json::Value;

pub struct ServiceCIDR;

impl Kind for ServiceCIDR {
    built_in!("io.k8s.api.networking.v1.ServiceCIDR", Names::new(GROUP, "v1", "ServiceCIDR", "servicecidrs", Scope::Cluster));

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let (cidrs, at) = (value::items(object, &["spec", "cidrs"]), path("spec.cidrs"));
        if cidrs.is_empty() {
            errors.required(&at, "at least one CIDR required");
            return errors;
        }
        if cidrs.len() > 2 {
            errors.invalid(&at, get(object, "spec").clone(), "may only hold up to 2 values");
            return errors;
        }
        let texts: Vec<&str> = cidrs.iter().map(|c| c.as_str().unwrap_or_default()).collect();
        for (i, cidr) in texts.iter().enumerate() {
            rules::messages(validate::cidr(cidr), cidr, &at.index(i), &mut errors);
        }
        let family = |cidr: &str| cidr.parse::<ipnet::IpNet>().ok().map(|net| net.addr().is_ipv4());
        if let [first, second] = texts[..]
            && family(first).is_some()
            && family(first) == family(second)
        {
            let message = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
            errors.invalid(&at, cidrs.to_vec(), message);
        }
        errors
    }

    /// A second family may be added; nothing else changes.
    fn validate_update(&self, new: &Value, old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let at = path("spec.cidrs");
        let (now, was) = (value::items(new, &["spec", "cidrs"]), value::items(old, &["spec", "cidrs"]));
        if now.len() == was.len() || (was.len() == 1 && now.len() == 2) {
            for (i, (now, _)) in now.iter().zip(was).enumerate().filter(|(_, (now, was))| now != was) {
                errors.invalid(&at.index(i), now.clone(), rules::IMMUTABLE);
            }
        } else {
            errors.invalid(&at, now.to_vec(), rules::IMMUTABLE);
        }
        errors
    }

    /// Upstream takes any conditions here, and its own controller gives them no reason.
    fn validate_status(&self, _new: &Value, _old: &Value) -> FieldErrors {
        FieldErrors::new()
    }

    fn columns(&self) -> Vec<Column> {
        vec![Column::name(), Column::new("CIDRs", "string"), Column::age()]
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let cidrs: Vec<&str> = value::items(object, &["spec", "cidrs"]).iter().filter_map(Value::as_str).collect();
        vec![table::name(object), cidrs.join(",").into(), table::age(object, now).into()]
    }

    fn subresources(&self) -> Vec<Subresource> {
        vec![Subresource::Status]
    }
}
