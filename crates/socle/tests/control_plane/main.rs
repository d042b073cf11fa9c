//! Behaviours of the API server and the controllers together, named after those of the conformance suite
//! that they cover. All tests share one control plane and have a namespace each, so they run side by side.

mod accounts;
mod garbage;
mod hollow;
mod kubectl;
mod namespaces;
mod plane;
mod quotas;
mod space;
