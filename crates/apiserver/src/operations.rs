//! How the server is run, as opposed to what it serves.

use crate::features::Features;
use crate::{audit, flow};
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Operations {
    pub features: Features,
    pub flow: flow::Settings,
    /// None: no audit log.
    pub audit: Option<audit::Config>,
    /// The longest that a request may take that does not last by its nature.
    pub request_timeout: Duration,
    /// How long requests are still taken once `/readyz` says that the server stops, so that load balancers see it.
    pub shutdown_delay: Duration,
    /// What the server was told, for `/flagz`.
    pub flags: Vec<(String, String)>,
}

impl Default for Operations {
    fn default() -> Self {
        Self {
            features: Features::default(),
            flow: flow::Settings::default(),
            audit: None,
            request_timeout: Duration::from_secs(60),
            shutdown_delay: Duration::ZERO,
            flags: Vec::new(),
        }
    }
}
