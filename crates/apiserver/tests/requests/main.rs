//! Requests against a whole server on an embedded store.

mod aggregation;
mod auth;
#[path = "../conformance/mod.rs"]
mod conformance;

mod abuse;
mod audit;
mod custom;
mod flow;
mod hooks;
mod kinds;
mod listener;
mod lists;
mod objects;
mod operations;
mod pods;
mod policies;
mod protobuf;
mod rules;
mod services;
mod support;
mod tls;
mod watches;
