//! Quantities of the typed API as numbers.

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;
use meta::quantity::Quantity;

/// What the API server let pass parses; anything else counts as nothing.
pub fn parse(quantity: &ApiQuantity) -> Quantity {
    Quantity::parse(&quantity.0).unwrap_or(Quantity::ZERO)
}

pub fn limit(resources: Option<&ResourceRequirements>, name: &str) -> Option<Quantity> {
    resources?.limits.as_ref()?.get(name).map(parse)
}

pub fn request(resources: Option<&ResourceRequirements>, name: &str) -> Option<Quantity> {
    resources?.requests.as_ref()?.get(name).map(parse)
}
