//! Whether a pod's volumes can be had on a node.

use crate::framework::{Cycle, Plugin, Reject};
use crate::nodes::NodeInfo;
use crate::selector;
use crate::volumes::Claim;
use std::sync::Arc;

pub struct Volumes;

/// Upstream's `VolumeBinding`.
impl Plugin for Volumes {
    fn filter(&self, cycle: &Cycle, node: &NodeInfo, _: &[NodeInfo]) -> Vec<Reject> {
        let mut rejects = Vec::new();
        for claim in &cycle.claims.0 {
            match claim {
                Claim::Bound(volume) => {
                    if !crate::volumes::reachable(volume, node) {
                        rejects.push(Reject::node("node(s) didn't match PersistentVolume's node affinity"));
                    }
                }
                Claim::Waiting { candidates, provisioner, topologies, .. } => {
                    let found = candidates.iter().any(|v: &Arc<_>| crate::volumes::reachable(v, node));
                    let allowed = topologies.is_empty() || topologies.iter().any(|t| selector::topology_term(t, node));
                    let made = provisioner.is_some() && allowed;
                    if !found && !made {
                        rejects.push(Reject::node("node(s) didn't find available persistent volumes to bind"));
                    }
                }
            }
        }
        rejects.dedup();
        rejects
    }
}
