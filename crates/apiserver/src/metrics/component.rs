//! What this program is.

use super::gauges;
use crate::features::Features;
use crate::version;
use prometheus::Registry;

pub fn register(registry: &Registry, features: &Features) {
    let labels = ["build_date", "compiler", "git_commit", "git_tree_state", "git_version", "go_version", "major", "minor", "platform"];
    let build = gauges(registry, "kubernetes_build_info", "Always 1; the labels say what was built.", &labels);
    let values = [
        version::BUILD_DATE,
        version::COMPILER,
        version::GIT_COMMIT,
        version::GIT_TREE_STATE,
        version::GIT_VERSION,
        version::GO_VERSION,
        version::MAJOR,
        version::MINOR,
        version::PLATFORM,
    ];
    build.with_label_values(&values).set(1);
    let enabled = gauges(registry, "kubernetes_feature_enabled", "Whether a feature is on.", &["name", "stage"]);
    for (feature, on) in features.all() {
        enabled.with_label_values(&[feature.name(), feature.stage()]).set(on.into());
    }
}
