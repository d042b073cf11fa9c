//! Without priorities: so many reads and so many writes at once, and no more.

use super::{Settings, too_many};
use crate::attributes::Attributes;
use meta::ApiError;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

pub struct Plain {
    reading: Kind,
    mutating: Kind,
}

struct Kind {
    running: Arc<AtomicU32>,
    limit: u32,
}

/// Counts until it is dropped.
pub struct Running(Arc<AtomicU32>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Plain {
    pub fn new(settings: Settings) -> Self {
        let kind = |limit| Kind { running: Arc::default(), limit };
        Self { reading: kind(settings.reading), mutating: kind(settings.mutating) }
    }

    pub fn admit(&self, attributes: &Attributes) -> Result<Running, ApiError> {
        let reads = if attributes.is_resource { attributes.read_only() } else { matches!(attributes.verb.as_str(), "get" | "head") };
        let kind = if reads { &self.reading } else { &self.mutating };
        let running = Running(kind.running.clone());
        let before = kind.running.fetch_add(1, Ordering::Relaxed);
        // Whoever repairs the cluster must get through.
        if before < kind.limit || kind.limit == 0 || attributes.user.in_group("system:masters") {
            return Ok(running);
        }
        Err(too_many(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user::User;

    #[test]
    fn writers_are_refused_apart_from_readers_and_masters_never() {
        let plain = Plain::new(Settings { fair: false, reading: 1, mutating: 1, ..Settings::default() });
        let asks = |verb: &str, groups: &[&str]| Attributes {
            user: Arc::new(User::new("u", groups)),
            verb: verb.into(),
            is_resource: true,
            ..Attributes::default()
        };
        let held = plain.admit(&asks("create", &[])).ok();
        assert!(held.is_some());
        assert_eq!(plain.admit(&asks("update", &[])).err().map(|e| e.code), Some(429));
        assert!(plain.admit(&asks("get", &[])).is_ok() && plain.admit(&asks("update", &["system:masters"])).is_ok());
        drop(held);
        assert!(plain.admit(&asks("update", &[])).is_ok());
    }
}
