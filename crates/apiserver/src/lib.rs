//! From an HTTP request to the store and back: authentication, authorization, admission, decoding,
//! the verbs, and the watch caches that answer reads. Knows kinds only through `kinds::Kind`.
//!
//! A request goes `chain` → `verbs` → `admission` → `registry` → `store`; what was written comes back
//! through `watch_cache` to everyone who watches.

pub mod admission;
pub mod aggregation;
pub mod allocate;
pub mod attributes;
pub mod audit;
pub mod auth;
pub mod authenticator;
pub mod authorizer;
pub mod body;
pub mod catalog;
mod chain;
mod components;
mod conditions;
pub mod connect;
pub mod conversion;
pub mod core;
pub mod custom;
pub mod discovery;
mod dispatch;
pub mod encryption;
pub mod eviction;
mod exchange;
pub mod features;
pub mod flow;
#[doc(hidden)]
pub mod fuzz;
pub mod handlers;
mod health;
mod housekeeping;
mod impersonate;
mod internal;
pub mod listener;
mod metrics;
mod negotiate;
pub mod objects;
pub mod openapi;
mod operations;
mod query;
mod registry;
mod request;
pub mod reviews;
mod routes;
pub mod server;
mod trace;
pub mod user;
mod verbs;
pub mod version;
mod watch_cache;
mod webhook;
mod yaml;
mod zpages;

pub use attributes::Attributes;
pub use authenticator::{Authenticator, PeerCertificates};
pub use authorizer::{Authorizer, Decision};
pub use body::{Body, BoxError};
pub use catalog::{Catalog, Resource};
pub use core::Core;
pub use handlers::{Context, Handler, Handlers, Route, Warnings};
pub use objects::{Header, Object, ObjectChange, Objects};
pub use operations::Operations;
pub use server::{ApiServer, Config, StartError, Trust};
pub use user::User;
