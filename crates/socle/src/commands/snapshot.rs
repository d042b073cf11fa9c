//! `socle snapshot`: the cluster's state as a file. The file holds every Secret; it is made for its owner only.

use crate::cli::{Snapshot, SnapshotOf};
use crate::layout::Layout;
use crate::platform::{DatastoreKind, Platform};
use anyhow::{Context, bail};
use futures::{AsyncReadExt, StreamExt};
use kube::config::{KubeConfigOptions, Kubeconfig};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;
use store::Store;
use store::embedded::snapshot::{Summary, inspect, restore};

pub fn run(command: &Snapshot) -> anyhow::Result<()> {
    match command {
        Snapshot::Save(options) => save(options),
        Snapshot::Restore(options) => restore_embedded(options),
        Snapshot::Status { file } => {
            print(file, &inspect(file)?);
            Ok(())
        }
    }
}

fn open(options: &SnapshotOf) -> anyhow::Result<(Platform, Layout)> {
    let (mut platform, layout) = super::platform(&options.place)?;
    super::set_datastore(&mut platform, &options.store)?;
    platform.check()?;
    Ok((platform, layout))
}

fn print(file: &Path, summary: &Summary) {
    println!("{}: revision {}, {} keys, {} bytes", file.display(), summary.revision, summary.keys, summary.size_bytes);
}

fn save(options: &SnapshotOf) -> anyhow::Result<()> {
    let (platform, layout) = open(options)?;
    let embedded = platform.datastore.kind == DatastoreKind::Embedded;
    if embedded && super::holder(&layout).is_none() && !layout.store().exists() {
        bail!("there is no store in {}", layout.data.display());
    }
    // The name appears once the file is whole.
    let part = options.file.with_extension("part");
    let mut file =
        File::options().write(true).create(true).truncate(true).mode(0o600).open(&part).with_context(|| part.display().to_string())?;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let written = runtime.block_on(async {
        // The process that has an embedded store open is the one to read it.
        if embedded && super::holder(&layout).is_some() {
            return from_server(&layout, &mut file).await;
        }
        let store = crate::wiring::open_store(&platform, &layout).await?;
        from_store(&*store, &mut file).await
    });
    let finished = written.and_then(|()| Ok(file.sync_all().and_then(|()| std::fs::rename(&part, &options.file))?));
    if let Err(error) = finished {
        let _ = std::fs::remove_file(&part);
        return Err(error.context(format!("saving {}", options.file.display())));
    }
    if embedded {
        print(&options.file, &inspect(&options.file)?);
    } else {
        println!("{}: a snapshot of etcd, {} bytes", options.file.display(), std::fs::metadata(&options.file)?.len());
    }
    Ok(())
}

async fn from_store(store: &dyn Store, file: &mut File) -> anyhow::Result<()> {
    let mut chunks = store.snapshot().await?;
    while let Some(chunk) = chunks.next().await {
        file.write_all(&chunk?)?;
    }
    Ok(())
}

async fn from_server(layout: &Layout, file: &mut File) -> anyhow::Result<()> {
    let path = layout.admin_kubeconfig();
    let kubeconfig = Kubeconfig::read_from(&path).with_context(|| path.display().to_string())?;
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.connect_timeout = Some(Duration::from_secs(5));
    let client = kube::Client::try_from(config)?;
    let request = http::Request::get("/socle/snapshot").body(Vec::new())?;
    let mut stream = Box::pin(client.request_stream(request).await.context("asking the API server for a snapshot")?);
    let mut buffer = vec![0; 64 << 10];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            read => file.write_all(&buffer[..read])?,
        }
    }
}

fn restore_embedded(options: &SnapshotOf) -> anyhow::Result<()> {
    let (platform, layout) = open(options)?;
    if platform.datastore.kind == DatastoreKind::Etcd {
        bail!(
            "etcd is restored with its own tools, on every member: etcdutl snapshot restore {} --bump-revision 1000000000 --mark-compacted --data-dir DIR",
            options.file.display()
        );
    }
    if let Some(pid) = super::holder(&layout) {
        bail!("socle runs on {} (pid {pid}); stop it first: `socle down`", layout.data.display());
    }
    let restored = restore(&options.file, &layout.store())?;
    print(&options.file, &restored.summary);
    println!("restored to {}; it goes on from revision {}", layout.store().display(), restored.revision);
    if let Some(old) = restored.replaced {
        println!("the store that was there is kept as {}", old.display());
    }
    Ok(())
}
