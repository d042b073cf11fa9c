//! Requests against a whole server on an embedded store.

mod aggregation;
mod auth;
#[path = "../conformance/mod.rs"]
mod conformance;

mod custom;
mod hooks;
mod kinds;
mod listener;
mod lists;
mod objects;
mod pods;
mod policies;
mod protobuf;
mod rules;
mod services;
mod support;
mod watches;
