//! Upstream's feature gates, as far as something here answers to them.

use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    /// Answers are compressed for clients that take gzip.
    ApiResponseCompression,
    /// A span for each request, and a line in the log for slow ones.
    ApiServerTracing,
    ComponentFlagz,
    ComponentStatusz,
    /// A connection that sent a request without valid credentials is closed after the answer.
    UnauthenticatedHttp2DosMitigation,
    /// Watches that begin with what is there (`sendInitialEvents`).
    WatchList,
}

const ALL: [(Feature, &str, &str, bool); 6] = [
    (Feature::ApiResponseCompression, "APIResponseCompression", "BETA", true),
    (Feature::ApiServerTracing, "APIServerTracing", "BETA", true),
    (Feature::ComponentFlagz, "ComponentFlagz", "BETA", true),
    (Feature::ComponentStatusz, "ComponentStatusz", "BETA", true),
    (Feature::UnauthenticatedHttp2DosMitigation, "UnauthenticatedHTTP2DOSMitigation", "BETA", true),
    (Feature::WatchList, "WatchList", "BETA", true),
];

impl Feature {
    pub fn name(self) -> &'static str {
        ALL.iter().find(|(f, ..)| *f == self).map_or("", |(_, name, ..)| name)
    }

    /// `ALPHA`, `BETA`, or nothing for what is stable.
    pub fn stage(self) -> &'static str {
        ALL.iter().find(|(f, ..)| *f == self).map_or("", |(_, _, stage, _)| stage)
    }
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadFeature {
    #[error("unrecognized feature gate {name:?}; there are {known}")]
    Unknown { name: String, known: String },
    #[error("feature gate {name} takes true or false, not {value:?}")]
    Value { name: String, value: String },
    #[error("{0:?} is not of the form NAME=true or NAME=false")]
    Form(String),
}

/// Which are on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Features(BTreeMap<Feature, bool>);

impl Default for Features {
    fn default() -> Self {
        Self(ALL.iter().map(|(feature, _, _, on)| (*feature, *on)).collect())
    }
}

impl Features {
    pub fn on(&self, feature: Feature) -> bool {
        self.0.get(&feature).copied().unwrap_or(false)
    }

    pub fn set(&mut self, name: &str, on: bool) -> Result<(), BadFeature> {
        let Some((feature, ..)) = ALL.iter().find(|(_, known, ..)| *known == name) else {
            let known = ALL.map(|(_, name, ..)| name).join(", ");
            return Err(BadFeature::Unknown { name: name.into(), known });
        };
        self.0.insert(*feature, on);
        Ok(())
    }

    /// `NAME=true` or `NAME=false`, several parted by commas.
    pub fn parse(&mut self, text: &str) -> Result<(), BadFeature> {
        for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let (name, value) = part.split_once('=').ok_or_else(|| BadFeature::Form(part.into()))?;
            let on = value.parse().map_err(|_| BadFeature::Value { name: name.into(), value: value.into() })?;
            self.set(name, on)?;
        }
        Ok(())
    }

    pub fn all(&self) -> impl Iterator<Item = (Feature, bool)> {
        self.0.iter().map(|(feature, on)| (*feature, *on))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_are_set_by_name_and_unknown_ones_refused() {
        let mut features = Features::default();
        features.parse("WatchList=false, ComponentFlagz=true").unwrap();
        assert!(!features.on(Feature::WatchList) && features.on(Feature::ComponentFlagz));
        let unknown = features.parse("Watchlist=true").unwrap_err().to_string();
        assert!(unknown.contains("\"Watchlist\"") && unknown.contains("WatchList"), "{unknown}");
        assert!(features.parse("WatchList=on").is_err() && features.parse("WatchList").is_err());
    }
}
