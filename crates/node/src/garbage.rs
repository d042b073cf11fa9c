//! Images that nobody uses go when their disk is full.

use crate::config::Config;
use crate::cri::{Result, Runtime};
use crate::pods::Manager;
use crate::status::machine;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const PERIOD: Duration = Duration::from_secs(300);

pub async fn run(config: Arc<Config>, runtime: Arc<dyn Runtime>, manager: Arc<Manager>, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(PERIOD)).await.is_some() {
        if let Err(error) = collect(&config, &*runtime, &manager).await {
            tracing::debug!(%error, "images could not be collected");
        }
    }
}

async fn collect(config: &Config, runtime: &dyn Runtime, manager: &Manager) -> Result<()> {
    let systems = runtime.image_filesystems().await?;
    let Some(place) = systems.first().and_then(|s| s.fs_id.as_ref()).map(|f| f.mountpoint.clone()) else { return Ok(()) };
    let used =
        |place: &str| machine::disk(Path::new(place)).filter(|d| d.total > 0).map(|d| (d.total - d.available.min(d.total)) * 100 / d.total);
    if used(&place).is_none_or(|percent| percent < u64::from(config.image_gc_high_percent)) {
        return Ok(());
    }
    let wanted = manager.images_in_use();
    let mut images = runtime.list_images().await?;
    images.sort_by_key(|i| std::cmp::Reverse(i.size));
    for image in images {
        if used(&place).is_none_or(|percent| percent <= u64::from(config.image_gc_low_percent)) {
            break;
        }
        let names = || image.repo_tags.iter().chain(&image.repo_digests).chain([&image.id]);
        // An image that was imported cannot be pulled again; tags of the local host are such.
        if image.pinned || names().any(|n| wanted.contains(n) || n.starts_with("localhost/")) {
            continue;
        }
        tracing::info!(image = image.id, "removing an unused image: its disk is full");
        runtime.remove_image(&image.id).await?;
    }
    Ok(())
}
