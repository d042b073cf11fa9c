//! The plugins, one file each, and their one list.

mod fit;
mod inter_pod;
mod node_affinity;
mod ports;
mod spread;
mod taints;
mod volumes;

use crate::framework::Plugin;

/// In the order in which a node is tried; the weights are upstream's defaults.
pub fn all() -> Vec<Box<dyn Plugin>> {
    vec![
        Box::new(taints::Unschedulable),
        Box::new(node_affinity::NodeName),
        Box::new(taints::TaintToleration),
        Box::new(node_affinity::NodeAffinity),
        Box::new(ports::NodePorts),
        Box::new(fit::Fit),
        Box::new(fit::Balanced),
        Box::new(volumes::Volumes),
        Box::new(spread::Spread),
        Box::new(inter_pod::InterPod),
    ]
}
