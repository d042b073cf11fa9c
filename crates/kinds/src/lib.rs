//! The API: what each kind promises, one folder per kind, and one list of them all.
//! Pure functions over objects as JSON trees; the machinery that calls them is `apiserver`.

pub mod kind;

pub mod admissionregistration;
pub mod apiextensions;
pub mod apiregistration;
pub mod apps;
pub mod authentication;
pub mod authorization;
pub mod autoscaling;
pub mod batch;
pub mod certificates;
pub mod coordination;
pub mod core;
pub mod discovery;
pub mod events;
pub mod flowcontrol;
pub mod networking;
pub mod node;
pub mod policy;
pub mod rbac;
pub mod resource;
pub mod scheduling;
pub mod storage;

mod facts;
pub mod openapi;
pub mod registry;
pub mod rules;
pub mod schema;
pub mod table;
#[cfg(test)]
mod tests;
mod types;
pub mod wire;
mod workload;

pub use kind::{Column, Kind, Names, ScalePaths, Scope, StoredAs, Subresource};
