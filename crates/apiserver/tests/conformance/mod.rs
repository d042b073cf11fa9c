//! The behaviours of Kubernetes' conformance suite that an API server has by itself. Above each test stands
//! `Behaviour:` with the name that the suite has for it; `coverage` compares them with the suite's list.
//! What takes nodes and controllers is in the end-to-end tests, under the same marks.

mod accounts;
mod chunking;
mod coverage;
pub mod definitions;
mod discovery;
mod events;
mod fields;
mod issuer;
mod namespaces;
mod operations;
mod publishing;
mod watchers;
