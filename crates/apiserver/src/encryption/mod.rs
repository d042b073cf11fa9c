//! Encryption at rest: between an object's JSON and the bytes in the store. Which resources, with which keys, says
//! an `EncryptionConfiguration`; what is stored is upstream's form, so either server reads what the other wrote.
//!
//! The file is read again when it changes. Keys are rotated by adding one, then putting it first, then rewriting the
//! objects (an update without a change does it), then removing the old one.

mod config;
mod provider;
mod transformer;

pub use config::ConfigError;
pub use transformer::{Opened, Transformer};

use config::Rules;
use meta::GroupResource;
use parking_lot::RwLock;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The rules that are in force.
pub struct Encryption {
    path: Option<PathBuf>,
    current: RwLock<Current>,
}

struct Current {
    text: String,
    rules: Rules,
}

impl Encryption {
    /// Everything is stored as it is.
    pub fn none() -> Arc<Self> {
        Arc::new(Self { path: None, current: RwLock::new(Current { text: String::new(), rules: Rules::default() }) })
    }

    pub fn open(path: &Path) -> Result<Arc<Self>, ConfigError> {
        let (text, rules) = read(path)?;
        Ok(Arc::new(Self { path: Some(path.into()), current: RwLock::new(Current { text, rules }) }))
    }

    /// Reads the file again; true where it says something else now. A file that is no good changes nothing.
    pub fn reload(&self) -> Result<bool, ConfigError> {
        let Some(path) = &self.path else { return Ok(false) };
        let text = read_text(path)?;
        if text == self.current.read().text {
            return Ok(false);
        }
        let (text, rules) = read(path)?;
        *self.current.write() = Current { text, rules };
        Ok(true)
    }

    pub fn reloads(&self) -> bool {
        self.path.is_some()
    }

    pub fn transformer(&self, resource: &GroupResource) -> Arc<Transformer> {
        self.current.read().rules.transformer(resource)
    }
}

fn read_text(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|e| ConfigError::new(path, e))
}

fn read(path: &Path) -> Result<(String, Rules), ConfigError> {
    let text = read_text(path)?;
    let rules = Rules::parse(&text).map_err(|e| ConfigError::new(path, e))?;
    Ok((text, rules))
}

#[cfg(test)]
mod tests;
