//! Host ports are free or taken.

use crate::framework::{Cycle, Plugin, Reject};
use crate::nodes::NodeInfo;

pub struct NodePorts;

/// Upstream's `NodePorts`.
impl Plugin for NodePorts {
    fn filter(&self, cycle: &Cycle, node: &NodeInfo, _: &[NodeInfo]) -> Vec<Reject> {
        let taken = cycle.ports.iter().any(|wanted| node.ports.iter().any(|used| used.conflicts(wanted)));
        if taken { vec![Reject::pods("node(s) didn't have free ports for the requested pod ports")] } else { Vec::new() }
    }
}
