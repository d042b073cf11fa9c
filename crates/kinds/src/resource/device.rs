//! One device of a slice: what it is, what it has, and what can be asked of it.

use super::shared::{binding_conditions, few, qualified, taint, unique};
use crate::core::pod_template::scheduling;
use crate::core::resource_names;
use crate::rules::{self, get, has};
use meta::{FieldErrors, FieldPath, Quantity, value};
use serde_json::{Map, Value};

const FEATURES_MAX: usize = 32;
const VALUES_MAX: usize = 48;
const VALUE_MAX: usize = 64;
const TAINTS_MAX: usize = 16;
const CONSUMPTIONS_MAX: usize = 2;
const COUNTERS_MAX: usize = 32;
const OPTIONS_MAX: usize = 10;
const LISTS: [&str; 4] = ["bools", "ints", "strings", "versions"];

fn map<'a>(of: &'a Value, name: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    get(of, name).as_object().into_iter().flat_map(Map::iter)
}

pub fn validate(device: &Value, per_device: bool, at: &FieldPath, errors: &mut FieldErrors) {
    rules::dns_label(value::text(device, &["name"]), &at.child("name"), errors);
    let features = map(device, "attributes").count() + map(device, "capacity").count();
    if features > FEATURES_MAX {
        errors.invalid(at, features, &format!("the total number of attributes and capacities must not exceed {FEATURES_MAX}"));
    }
    let values: usize =
        map(device, "attributes").map(|(_, a)| LISTS.iter().map(|l| value::items(a, &[l]).len()).sum::<usize>().max(1)).sum();
    if values > VALUES_MAX {
        errors.invalid(at, values, &format!("the total number of attribute values must not exceed {VALUES_MAX}"));
    }
    for (name, found) in map(device, "attributes") {
        qualified(name, &at.child("attributes"), errors);
        attribute(found, &at.child("attributes").key(name), errors);
    }
    let many = value::flag(device, &["allowMultipleAllocations"]);
    for (name, found) in map(device, "capacity") {
        qualified(name, &at.child("capacity"), errors);
        let here = at.child("capacity").key(name).child("requestPolicy");
        if has(found, "requestPolicy") {
            if many {
                policy(get(found, "requestPolicy"), &amount(get(found, "value")), &here, errors);
            } else {
                errors.forbidden(&here, "allowMultipleAllocations must be true");
            }
        }
    }
    let (taints, here) = (value::items(device, &["taints"]), at.child("taints"));
    if few(taints.len(), TAINTS_MAX, &here, errors) {
        taints.iter().enumerate().for_each(|(i, found)| taint(found, &here.index(i), errors));
    }
    let (consumed, here) = (value::items(device, &["consumesCounters"]), at.child("consumesCounters"));
    if few(consumed.len(), CONSUMPTIONS_MAX, &here, errors) {
        consumed.iter().enumerate().for_each(|(i, found)| counters(found, "counterSet", &here.index(i), errors));
        unique(consumed.iter().map(|c| value::text(c, &["counterSet"])), &here, errors);
    }
    place(device, per_device, at, errors);
    binding_conditions(device, at, errors);
    mappings(device, &at.child("nodeAllocatableResourceMappings"), errors);
}

/// A set of counters, or what is taken of one.
pub fn counters(of: &Value, name: &str, at: &FieldPath, errors: &mut FieldErrors) {
    match value::text(of, &[name]) {
        "" => errors.required(&at.child(name), ""),
        found => rules::dns_label(found, &at.child(name), errors),
    }
    let (count, here) = (map(of, "counters").count(), at.child("counters"));
    if count == 0 {
        errors.required(&here, "");
    } else if few(count, COUNTERS_MAX, &here, errors) {
        map(of, "counters").for_each(|(name, _)| rules::dns_label(name, &here, errors));
    }
}

fn attribute(found: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let text = |text: &str, at: &FieldPath, is_version: bool, errors: &mut FieldErrors| {
        if is_version && !is_version_number(text) {
            errors.invalid(at, text, "must be a string compatible with semver.org spec 2.0.0");
        }
        if text.len() > VALUE_MAX {
            errors.too_long(at, VALUE_MAX);
        }
    };
    let mut given = 0;
    for (one, list) in [("bool", "bools"), ("int", "ints"), ("string", "strings"), ("version", "versions")] {
        if has(found, one) {
            given += 1;
            get(found, one).as_str().into_iter().for_each(|t| text(t, &at.child(one), one == "version", errors));
        }
        if has(found, list) {
            given += 1;
            let items = value::items(found, &[list]);
            if items.is_empty() {
                errors.invalid(&at.child(list), items.to_vec(), "must not be empty if specified");
            }
            for (i, item) in items.iter().filter_map(Value::as_str).enumerate() {
                text(item, &at.child(list).index(i), one == "version", errors);
            }
        }
    }
    match given {
        0 => errors.invalid(at, "", "exactly one value must be specified"),
        1 => {}
        _ => errors.invalid(at, found.clone(), "exactly one value must be specified"),
    }
}

/// As semver.org has it.
fn is_version_number(text: &str) -> bool {
    let (rest, build) = text.split_once('+').map_or((text, None), |(rest, build)| (rest, Some(build)));
    let (core, pre) = rest.split_once('-').map_or((rest, None), |(core, pre)| (core, Some(pre)));
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) && (part == "0" || !part.starts_with('0'));
    let identifier = |part: &str| plain(part) && (!part.bytes().all(|b| b.is_ascii_digit()) || number(part));
    core.split('.').count() == 3
        && core.split('.').all(number)
        && pre.is_none_or(|pre| pre.split('.').all(identifier))
        && build.is_none_or(|build| build.split('.').all(plain))
}

fn place(device: &Value, per_device: bool, at: &FieldPath, errors: &mut FieldErrors) {
    let fields = ["nodeName", "nodeSelector", "allNodes"];
    if !per_device {
        if fields.iter().any(|name| has(device, name)) {
            let why = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
            errors.invalid(at, Value::Null, why);
        }
        return;
    }
    let mut set = Vec::new();
    match get(device, "nodeName").as_str() {
        Some("") => errors.invalid(&at.child("nodeName"), "", "must not be empty"),
        Some(name) => {
            set.push("`nodeName`");
            rules::dns_subdomain(name, &at.child("nodeName"), errors);
        }
        None => {}
    }
    if has(device, "nodeSelector") {
        set.push("`nodeSelector`");
        scheduling::node_selector(get(device, "nodeSelector"), &at.child("nodeSelector"), errors);
    }
    match get(device, "allNodes").as_bool() {
        Some(true) => set.push("`allNodes`"),
        Some(false) => errors.invalid(&at.child("allNodes"), false, "must be either unset or set to true"),
        None => {}
    }
    let why = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
    match set.len() {
        0 => errors.required(at, why),
        1 => {}
        _ => errors.invalid(at, format!("{{{}}}", set.join(", ")), why),
    }
}

fn mappings(device: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    for (name, mapping) in map(device, "nodeAllocatableResourceMappings") {
        let here = at.key(name);
        if !resource_names::is_native(name) {
            errors.invalid(&here, name.as_str(), "must be a node allocatable resource name");
        }
        let (multiplier, key) = (get(mapping, "allocationMultiplier"), get(mapping, "capacityKey").as_str());
        if multiplier.is_null() && key.is_none() {
            errors.invalid(&here, "", "at least one of allocationMultiplier or capacityKey must be set");
        }
        if !multiplier.is_null() && amount(multiplier).signum() <= 0 {
            errors.invalid(&here.child("allocationMultiplier"), multiplier.clone(), "must be positive");
        }
        match key {
            Some("") => errors.invalid(&here.child("capacityKey"), "", "capacityKey must not be an empty string"),
            Some(key) if !has(get(device, "capacity"), key) => errors.not_found(&here.child("capacityKey"), key),
            _ => {}
        }
    }
}

fn amount(found: &Value) -> Quantity {
    Quantity::from_value(found).unwrap_or_default()
}

/// How much of a capacity one request can take, at most `most`.
fn policy(policy: &Value, most: &Quantity, at: &FieldPath, errors: &mut FieldErrors) {
    let (options, range) = (value::items(policy, &["validValues"]), get(policy, "validRange"));
    if !options.is_empty() && !range.is_null() {
        let why = "exactly one policy can be specified, cannot specify \"validValues\" and \"validRange\" at the same time";
        return errors.forbidden(at, why);
    }
    let (kind, default) = (if range.is_null() { "validValues" } else { "validRange" }, get(policy, "default"));
    if options.is_empty() && range.is_null() {
        return;
    }
    if default.is_null() {
        return errors.required(&at.child("default"), &format!("required when {kind} is defined"));
    }
    let (default, at) = (amount(default), at.child(kind));
    if range.is_null() { choices(options, &default, most, &at, errors) } else { span(range, &default, most, &at, errors) }
}

fn choices(options: &[Value], default: &Quantity, most: &Quantity, at: &FieldPath, errors: &mut FieldErrors) {
    let amounts: Vec<Quantity> = options.iter().map(amount).collect();
    for (i, pair) in amounts.windows(2).enumerate().filter(|(_, pair)| pair[0] > pair[1]) {
        errors.invalid(&at.index(i + 1), pair[1].to_string(), "values must be sorted in ascending order");
    }
    if few(options.len(), OPTIONS_MAX, at, errors) {
        for (i, option) in amounts.iter().enumerate().filter(|(_, option)| *option > most) {
            errors.invalid(&at.index(i), option.to_string(), &format!("option is larger than capacity value: {most}"));
        }
        unique(amounts.iter().map(|a| a.value().to_string()), at, errors);
    }
    if !amounts.contains(default) {
        errors.invalid(at, default.to_string(), "default value is not valid according to the requestPolicy");
    }
}

fn span(range: &Value, default: &Quantity, most: &Quantity, at: &FieldPath, errors: &mut FieldErrors) {
    if !has(range, "min") {
        return errors.required(&at.child("min"), "required when validRange is defined");
    }
    let min = amount(get(range, "min"));
    let max = has(range, "max").then(|| amount(get(range, "max")));
    let mut refuse = |wrong: bool, name: &str, shown: &Quantity, why: String| {
        if wrong {
            errors.invalid(&at.child(name), shown.to_string(), &why);
        }
    };
    refuse(min > *most, "min", &min, format!("min is larger than capacity value: {most}"));
    refuse(*default < min, "min", default, format!("default is less than min: {min}"));
    if let Some(max) = &max {
        refuse(min > *max, "max", &min, format!("min is larger than max: {max}"));
        refuse(max > most, "max", max, format!("max is larger than capacity value: {most}"));
        refuse(default > max, "max", default, format!("default is more than max: {max}"));
    }
    if has(range, "step") {
        let step = amount(get(range, "step"));
        let mut added = min;
        added.add(&step);
        refuse(added > *most, "step", &step, format!("one step {added} is larger than capacity value: {most}"));
        for found in std::iter::once(default).chain(&max) {
            let whole = step.value() != 0 && found.value().saturating_sub(min.value()) % step.value() == 0;
            refuse(!whole, "step", found, format!("value is not a multiple of a given step ({step}) from ({min})"));
        }
    }
}
