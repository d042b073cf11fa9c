//! Images that nobody uses go when their disk is full, the longest unused first
//! (`pkg/kubelet/images/image_gc_manager.go`).

use crate::config::Config;
use crate::cri::api::Image;
use crate::cri::{Result, Runtime};
use crate::pods::Manager;
use crate::status::machine;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

const PERIOD: Duration = Duration::from_secs(300);
/// An image seen for less than this may belong to a pod that is just being started.
const SHORTEST_AGE: Duration = Duration::from_secs(120);

pub async fn run(config: Arc<Config>, runtime: Arc<dyn Runtime>, manager: Arc<Manager>, stop: CancellationToken) {
    let mut records = Records::default();
    // Looked at between collections too, for the order of use to mean something.
    while stop.run_until_cancelled(tokio::time::sleep(PERIOD / 5)).await.is_some() {
        if let Err(error) = collect(&config, &*runtime, &manager, &mut records).await {
            tracing::warn!(%error, "unused images could not be collected");
        }
    }
}

async fn collect(config: &Config, runtime: &dyn Runtime, manager: &Manager, records: &mut Records) -> Result<()> {
    let images = runtime.list_images().await?;
    let now = Instant::now();
    records.look(&images, &manager.images_in_use(), now);
    let systems = runtime.image_filesystems().await?;
    let Some(place) = systems.first().and_then(|s| s.fs_id.as_ref()).map(|f| f.mountpoint.clone()) else { return Ok(()) };
    let used =
        || machine::disk(Path::new(&place)).filter(|d| d.total > 0).map_or(0, |d| (d.total - d.available.min(d.total)) * 100 / d.total);
    if used() < u64::from(config.image_gc_high_percent) {
        return Ok(());
    }
    for image in records.candidates(&images, &imported(&config.imported_images), now) {
        if used() <= u64::from(config.image_gc_low_percent) {
            break;
        }
        tracing::info!(image = image.id, names = ?image.repo_tags, "removing an unused image: its disk is full");
        runtime.remove_image(&image.id).await?;
    }
    Ok(())
}

/// Names of images that came from an archive; the file is written by whoever imports.
fn imported(list: &Path) -> HashSet<String> {
    std::fs::read_to_string(list).unwrap_or_default().lines().map(str::to_string).collect()
}

struct Record {
    found: Instant,
    used: Option<Instant>,
}

/// When each image was found and last in use, by its id.
#[derive(Default)]
struct Records(HashMap<String, Record>);

impl Records {
    fn look(&mut self, images: &[Image], in_use: &HashSet<String>, now: Instant) {
        self.0.retain(|id, _| images.iter().any(|i| i.id == *id));
        for image in images {
            let record = self.0.entry(image.id.clone()).or_insert(Record { found: now, used: None });
            if names(image).any(|n| in_use.contains(n)) {
                record.used = Some(now);
            }
        }
    }

    /// What may be removed, in that order. An image that was imported cannot be pulled again and is kept; tags of the local
    /// host are such, whoever imported them.
    fn candidates<'a>(&self, images: &'a [Image], imported: &HashSet<String>, now: Instant) -> Vec<&'a Image> {
        let record = |image: &Image| self.0.get(&image.id);
        let free = |r: &Record| r.used != Some(now) && now.duration_since(r.found) >= SHORTEST_AGE;
        let mut candidates: Vec<&Image> = images
            .iter()
            .filter(|i| !i.pinned && !names(i).any(|n| n.starts_with("localhost/") || imported.contains(n)))
            .filter(|i| record(i).is_some_and(free))
            .collect();
        candidates.sort_by_key(|i| record(i).map(|r| (r.used, r.found)));
        candidates
    }
}

fn names(image: &Image) -> impl Iterator<Item = &String> {
    image.repo_tags.iter().chain(&image.repo_digests).chain([&image.id])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(tag: &str) -> Image {
        Image { id: format!("sha256:{tag}"), repo_tags: vec![tag.into()], ..Default::default() }
    }

    #[test]
    fn the_longest_unused_image_goes_first_and_those_in_use_or_new_or_imported_stay() {
        let mut images: Vec<Image> = ["r/a:1", "r/b:1", "r/c:1", "r/never:1", "localhost/imported:1", "r/imported:1"].map(image).into();
        images.push(Image { pinned: true, ..image("r/pinned:1") });
        let mut records = Records::default();
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let in_use = |names: &[&str]| names.iter().map(|n| n.to_string()).collect::<HashSet<_>>();
        records.look(&images, &in_use(&["r/a:1", "r/b:1"]), at(0));
        records.look(&images, &in_use(&["r/a:1", "r/c:1"]), at(60));
        images.push(image("r/new:1"));
        records.look(&images, &in_use(&["sha256:r/c:1"]), at(150));
        let order: Vec<&str> =
            records.candidates(&images, &in_use(&["r/imported:1"]), at(150)).iter().map(|i| i.repo_tags[0].as_str()).collect();
        assert_eq!(order, ["r/never:1", "r/b:1", "r/a:1"]);
    }
}
