//! The resolver configuration of a pod.

use crate::config::Config;
use crate::cri::api::DnsConfig;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

const MOST_SERVERS: usize = 3;
const MOST_SEARCHES: usize = 32;

pub fn of(pod: &Pod, config: &Config) -> DnsConfig {
    let Some(spec) = &pod.spec else { return DnsConfig::default() };
    let host_network = spec.host_network == Some(true);
    let cluster = match spec.dns_policy.as_deref().unwrap_or("ClusterFirst") {
        "ClusterFirst" => !host_network,
        "ClusterFirstWithHostNet" => true,
        _ => false,
    };
    let mut dns = if spec.dns_policy.as_deref() == Some("None") {
        DnsConfig::default()
    } else {
        parse(&std::fs::read_to_string(&config.resolv_conf).unwrap_or_default())
    };
    if cluster && !config.cluster_dns.is_empty() {
        let domain = &config.cluster_domain;
        dns.servers = config.cluster_dns.iter().map(ToString::to_string).collect();
        let mut searches = vec![format!("{}.svc.{domain}", pod.namespace().unwrap_or_default()), format!("svc.{domain}"), domain.clone()];
        searches.append(&mut dns.searches);
        dns.searches = searches;
        dns.options = vec!["ndots:5".into()];
    }
    if let Some(own) = &spec.dns_config {
        dns.servers.extend(own.nameservers.clone().unwrap_or_default());
        dns.searches.extend(own.searches.clone().unwrap_or_default());
        for option in own.options.iter().flatten() {
            let Some(name) = &option.name else { continue };
            let text = option.value.as_ref().map_or_else(|| name.clone(), |v| format!("{name}:{v}"));
            dns.options.retain(|o| o.split(':').next() != Some(name));
            dns.options.push(text);
        }
    }
    distinct(&mut dns.servers, MOST_SERVERS);
    distinct(&mut dns.searches, MOST_SEARCHES);
    dns
}

fn distinct(list: &mut Vec<String>, most: usize) {
    let mut seen = std::collections::HashSet::new();
    list.retain(|item| seen.insert(item.clone()));
    list.truncate(most);
}

fn parse(text: &str) -> DnsConfig {
    let mut dns = DnsConfig::default();
    for line in text.lines() {
        let line = line.split(['#', ';']).next().unwrap_or_default();
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => dns.servers.extend(words.next().map(str::to_string)),
            // The last line counts.
            Some("search") => dns.searches = words.filter(|w| *w != ".").map(|w| w.trim_end_matches('.').to_string()).collect(),
            Some("options") => dns.options = words.map(str::to_string).collect(),
            _ => {}
        }
    }
    dns
}
