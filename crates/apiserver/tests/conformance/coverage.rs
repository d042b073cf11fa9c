//! Which behaviours of the suite's list have a test here. Skipped where the list is not beside the checkout.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const SIGS: [&str; 4] = ["sig-api-machinery", "sig-cli", "sig-auth", "sig-instrumentation"];
const MARK: &str = "/// Behaviour: ";

/// `[sig-x] Thing [Serial] does it [Conformance]` without the tags after the first.
fn plain(name: &str) -> String {
    let mut out = String::new();
    let mut words = name.split_whitespace();
    out.push_str(words.next().unwrap_or_default());
    for word in words.filter(|word| !(word.starts_with('[') && word.ends_with(']'))) {
        out.push(' ');
        out.push_str(word);
    }
    out
}

fn marked(file: &Path, marks: &mut BTreeSet<String>) {
    if file.is_dir() {
        for entry in std::fs::read_dir(file).unwrap().flatten() {
            marked(&entry.path(), marks);
        }
    } else if file.extension().is_some_and(|e| e == "rs") {
        let text = std::fs::read_to_string(file).unwrap();
        marks.extend(text.lines().filter_map(|line| line.trim().strip_prefix(MARK)).map(plain));
    }
}

#[test]
fn the_behaviours_of_the_suite_have_tests() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let list = root.join("../shared/kubernetes-1.36/conformance.yaml");
    if !list.exists() {
        eprintln!("skipped: {} is not there", list.display());
        return;
    }
    let list: Vec<serde_json::Value> = serde_yaml_ng::from_str(&std::fs::read_to_string(list).unwrap()).unwrap();
    let names = list.iter().filter_map(|entry| entry["codename"].as_str());
    let wanted: BTreeSet<String> = names.filter(|name| SIGS.iter().any(|sig| name.starts_with(&format!("[{sig}]")))).map(plain).collect();
    assert!(wanted.len() > 100, "the list has only {} of them", wanted.len());
    let mut marks = BTreeSet::new();
    for tests in ["crates/apiserver/tests", "crates/socle/tests"] {
        marked(&root.join(tests), &mut marks);
    }
    let unknown: Vec<_> =
        marks.iter().filter(|m| SIGS.iter().any(|sig| m.starts_with(&format!("[{sig}]"))) && !wanted.contains(*m)).collect();
    assert!(unknown.is_empty(), "no such behaviour: {unknown:#?}");
    let missing: Vec<_> = wanted.difference(&marks).collect();
    assert!(missing.is_empty(), "{} of {} behaviours have no test under their name: {missing:#?}", missing.len(), wanted.len());
}
