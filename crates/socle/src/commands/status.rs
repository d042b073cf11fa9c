//! `socle status`: what runs here, asked of the API like any client would.

use crate::cli::Place;
use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, ResourceExt};
use std::time::Duration;

pub fn run(place: &Place) -> anyhow::Result<()> {
    let (_, layout) = super::platform(place)?;
    let Some(pid) = super::holder(&layout) else { bail!("not running (data directory {})", layout.data.display()) };
    println!("socle    running, pid {pid}");
    println!("data     {}", layout.data.display());
    println!("config   {}", layout.admin_kubeconfig().display());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let path = layout.admin_kubeconfig();
        let kubeconfig = Kubeconfig::read_from(&path).with_context(|| path.display().to_string())?;
        let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        config.connect_timeout = Some(Duration::from_secs(5));
        config.read_timeout = Some(Duration::from_secs(10));
        let client = Client::try_from(config)?;
        let version = client.apiserver_version().await.context("the API server does not answer")?;
        println!("api      {}", version.git_version);
        for node in Api::<Node>::all(client.clone()).list(&Default::default()).await? {
            let conditions = node.status.as_ref().and_then(|s| s.conditions.clone()).unwrap_or_default();
            let ready = conditions.iter().find(|c| c.type_ == "Ready");
            let state = match ready {
                Some(c) if c.status == "True" => "Ready".to_string(),
                Some(c) => format!("NotReady ({})", c.message.as_deref().unwrap_or("no reason given")),
                None => "NotReady (it has not reported yet)".to_string(),
            };
            println!("node     {} {state}", node.name_any());
        }
        let pods = Api::<Pod>::all(client.clone()).list(&Default::default()).await?;
        let phase = |wanted: &str| pods.iter().filter(|p| p.status.as_ref().and_then(|s| s.phase.as_deref()) == Some(wanted)).count();
        println!(
            "pods     {} running, {} pending, {} succeeded, {} failed",
            phase("Running"),
            phase("Pending"),
            phase("Succeeded"),
            phase("Failed")
        );
        let claims = Api::<PersistentVolumeClaim>::all(client).list(&Default::default()).await?;
        let bound = claims.iter().filter(|c| c.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Bound")).count();
        println!("claims   {bound} of {} bound", claims.items.len());
        Ok(())
    })
}
