//! The L7 data path: the ingress controller. Routes, certificates and endpoints come from the API
//! like anybody's; requests go straight to pods, so that a packet is balanced once.
//!
//! hyper carries the traffic rather than pingora, whose rustls side takes certificates from files
//! only and could not follow Secrets.

pub mod ingress;

pub use ingress::{Config, Ports, run};
