//! Which loops run, in upstream's notation: `*` is every one, `name` adds one, `-name` takes one out.
//! Whatever is named wins over `*`, in any order.

use std::collections::BTreeSet;

#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    everything: bool,
    added: BTreeSet<String>,
    removed: BTreeSet<String>,
}

#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not in the list of controllers: {list}", list = crate::names().collect::<Vec<_>>().join(", "))]
pub struct UnknownController(String);

impl Selection {
    pub fn everything() -> Self {
        Self { everything: true, added: BTreeSet::new(), removed: BTreeSet::new() }
    }

    /// Reads a comma-separated list; nothing at all means every loop.
    pub fn parse(text: &str) -> Result<Self, UnknownController> {
        let mut selection = Self { everything: text.trim().is_empty(), ..Self::everything() };
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            if item == "*" {
                selection.everything = true;
                continue;
            }
            // `-*` says that what is not named does not run, which is so without `*` anyway.
            if item == "-*" {
                continue;
            }
            let name = item.strip_prefix('-').unwrap_or(item);
            if !crate::names().any(|known| known == name) {
                return Err(UnknownController(name.to_string()));
            }
            let set = if item.starts_with('-') { &mut selection.removed } else { &mut selection.added };
            set.insert(name.to_string());
        }
        Ok(selection)
    }

    pub fn has(&self, name: &str) -> bool {
        !self.removed.contains(name) && (self.everything || self.added.contains(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_names_and_minuses_choose_loops() {
        let has = |text: &str, name: &str| Selection::parse(text).unwrap().has(name);
        assert!(has("", "job-controller"));
        assert!(has("*", "job-controller"));
        assert!(!has("*,-job-controller", "job-controller"));
        assert!(!has("-job-controller,*", "job-controller"));
        assert!(has("*,-job-controller", "cronjob-controller"));
        assert!(has("job-controller", "job-controller"));
        assert!(!has("job-controller", "cronjob-controller"));
        assert!(!has("-*", "job-controller"));
        assert!(Selection::parse("*,-no-such").unwrap_err().to_string().contains("job-controller"));
    }
}
