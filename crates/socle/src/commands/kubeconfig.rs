//! `socle kubeconfig`: the administrator's, as `up` wrote it.

use crate::cli::Place;
use anyhow::Context;

pub fn run(place: &Place) -> anyhow::Result<()> {
    let (_, layout) = super::platform(place)?;
    let path = layout.admin_kubeconfig();
    print!("{}", std::fs::read_to_string(&path).with_context(|| format!("{} (has `socle up` run here?)", path.display()))?);
    Ok(())
}
