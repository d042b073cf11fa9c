//! From the platform file to how the API server is run.

use crate::platform::{Api, Platform};
use anyhow::Context;
use apiserver::features::Features;
use apiserver::{Operations, audit, flow};
use std::time::Duration;

/// Reads the files that the platform file names; problems name them.
pub fn settings(platform: &Platform) -> anyhow::Result<Operations> {
    let api = &platform.api;
    let mut features = Features::default();
    for (name, on) in &api.features {
        features.set(name, *on).context("api.features")?;
    }
    Ok(Operations {
        features,
        flow: flow::Settings {
            fair: api.priority_and_fairness,
            reading: api.max_requests_inflight,
            mutating: api.max_mutating_requests_inflight,
            ..flow::Settings::default()
        },
        audit: audit(api)?,
        request_timeout: Duration::from_secs(api.request_timeout_seconds),
        shutdown_delay: Duration::from_secs(api.shutdown_delay_seconds),
        flags: flags(platform),
    })
}

fn audit(api: &Api) -> anyhow::Result<Option<audit::Config>> {
    let Some(path) = &api.audit.policy_file else { return Ok(None) };
    let policy = || -> anyhow::Result<audit::Policy> { Ok(audit::Policy::parse(&std::fs::read_to_string(path)?)?) };
    let policy = policy().with_context(|| format!("the audit policy {}", path.display()))?;
    let log = audit::LogFile {
        path: api.audit.log_path.clone(),
        max_size_megabytes: api.audit.max_size,
        max_age_days: api.audit.max_age,
        max_backups: api.audit.max_backups,
    };
    Ok(Some(audit::Config { policy, log }))
}

/// The settings under the names of upstream's flags.
fn flags(platform: &Platform) -> Vec<(String, String)> {
    let api = &platform.api;
    let path = |path: &Option<std::path::PathBuf>| path.as_ref().map_or_else(String::new, |p| p.display().to_string());
    let all = [
        ("audit-log-maxage", api.audit.max_age.to_string()),
        ("audit-log-maxbackup", api.audit.max_backups.to_string()),
        ("audit-log-maxsize", api.audit.max_size.to_string()),
        ("audit-log-path", api.audit.log_path.display().to_string()),
        ("audit-policy-file", path(&api.audit.policy_file)),
        ("client-ca-file", path(&api.client_ca_file)),
        ("enable-priority-and-fairness", api.priority_and_fairness.to_string()),
        ("etcd-servers", platform.datastore.endpoints.join(",")),
        ("max-mutating-requests-inflight", api.max_mutating_requests_inflight.to_string()),
        ("max-requests-inflight", api.max_requests_inflight.to_string()),
        ("request-timeout", format!("{}s", api.request_timeout_seconds)),
        ("secure-port", api.port.to_string()),
        ("service-cluster-ip-range", platform.network.service_cidr.clone()),
        ("service-node-port-range", platform.network.node_port_range.clone()),
        ("shutdown-delay-duration", format!("{}s", api.shutdown_delay_seconds)),
        ("tls-cert-file", path(&api.tls_cert_file)),
    ];
    all.map(|(name, value)| (name.to_string(), value)).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_that_do_not_exist_stop_the_start() {
        let platform = Platform::parse("api: {features: {WatchList: false}}").unwrap();
        assert!(!settings(&platform).unwrap().features.on(apiserver::features::Feature::WatchList));
        let platform = Platform::parse("api: {features: {Nonsense: true}}").unwrap();
        let error = format!("{:#}", settings(&platform).unwrap_err());
        assert!(error.contains("api.features") && error.contains("\"Nonsense\""), "{error}");
    }

    #[test]
    fn a_missing_audit_policy_is_told_by_its_path() {
        let platform = Platform::parse("api: {audit: {policyFile: /does/not/exist}}").unwrap();
        let error = format!("{:#}", settings(&platform).unwrap_err());
        assert!(error.contains("/does/not/exist"), "{error}");
    }
}
