//! The `/etc/hosts` of a pod, written by us so that all its containers agree.

use crate::config::Config;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use std::io;
use std::path::PathBuf;

pub fn hostname(pod: &Pod) -> String {
    let spec = pod.spec.as_ref();
    if let Some(name) = spec.and_then(|s| s.hostname_override.clone()).filter(|h| !h.is_empty()) {
        return name;
    }
    if let Some(name) = spec.and_then(|s| s.hostname.clone()).filter(|h| !h.is_empty()) {
        return name;
    }
    let name = pod.name_any();
    // A kernel's host name has 63 letters, and must not end in a separator.
    let cut: String = name.chars().take(63).collect();
    cut.trim_end_matches(['-', '.']).to_string()
}

/// `<subdomain>.<namespace>.svc.<domain>`, if the pod has a subdomain.
pub fn domain(pod: &Pod, config: &Config) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    if spec.hostname_override.as_deref().is_some_and(|h| !h.is_empty()) {
        return None;
    }
    let subdomain = spec.subdomain.as_deref().filter(|s| !s.is_empty())?;
    Some(format!("{subdomain}.{}.svc.{}", pod.namespace().unwrap_or_default(), config.cluster_domain))
}

/// Writes the file and returns its path.
pub fn write(pod: &Pod, config: &Config, ips: &[String]) -> io::Result<PathBuf> {
    let mut text = if super::spec::host_network(pod) {
        let own = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
        format!("# Kubernetes-managed hosts file (host network).\n{own}")
    } else {
        let mut text = String::from(
            "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n\
             fe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n",
        );
        let name = hostname(pod);
        for ip in ips {
            match domain(pod, config) {
                Some(domain) => text.push_str(&format!("{ip}\t{name}.{domain}\t{name}\n")),
                None => text.push_str(&format!("{ip}\t{name}\n")),
            }
        }
        text
    };
    let aliases = pod.spec.as_ref().and_then(|s| s.host_aliases.as_deref()).unwrap_or_default();
    if !aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
        for alias in aliases {
            text.push_str(&format!("{}\t{}\n", alias.ip, alias.hostnames.as_deref().unwrap_or_default().join("\t")));
        }
    }
    let dir = config.pod_dir(&pod.uid().unwrap_or_default());
    std::fs::create_dir_all(&dir)?;
    let path = dir.join("etc-hosts");
    // In place: running containers have the very file mounted.
    std::fs::write(&path, text)?;
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    Ok(path)
}
