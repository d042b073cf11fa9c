//! Requests against a whole server on an embedded store, and against several on an etcd.

mod aggregation;
mod auth;
#[path = "../conformance/mod.rs"]
mod conformance;

mod abuse;
mod audit;
#[path = "../../../store/tests/etcd/cluster.rs"]
mod cluster;
mod custom;
mod encryption;
mod flow;
mod hooks;
mod idle;
mod kinds;
mod kubectl;
mod listener;
mod lists;
mod objects;
mod operations;
mod pods;
mod policies;
mod protobuf;
mod rules;
mod servers;
mod services;
mod story;
mod support;
mod tls;
mod watches;
