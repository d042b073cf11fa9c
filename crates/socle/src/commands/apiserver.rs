//! `socle apiserver`: the API server alone, in the foreground. It needs no root and takes nothing of the
//! machine but its port, so that several run side by side, each on a data directory of its own.

use super::serve;
use crate::cli::Apiserver;
use anyhow::Context;

pub fn run(options: &Apiserver) -> anyhow::Result<()> {
    let (mut platform, mut layout) = super::platform(&options.place)?;
    super::set_datastore(&mut platform, &options.store)?;
    super::set_operations(&mut platform, &options.operations)?;
    if let Some(port) = options.port {
        platform.api.port = port;
    }
    if let Some(dir) = &options.pki_dir {
        layout = layout.with_pki(std::path::absolute(dir)?);
    }
    let layout = layout.contained();
    platform.check()?;
    layout.create().with_context(|| format!("preparing {}", layout.data.display()))?;
    let _lock = serve::lock(&layout)?;
    serve::run(&layout, "ready; Ctrl-C ends it", |say, stop| {
        let layout = layout.clone();
        async move { crate::wiring::start_api(&platform, &layout, &say, stop).await }
    })
}
