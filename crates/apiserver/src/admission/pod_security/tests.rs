use super::*;
use std::path::{Path, PathBuf};

fn standard(level: Level) -> Standard {
    Standard { level, minor: u32::MAX }
}

/// Where the reference data lies, if it does: below a directory next to the repository's.
fn reference() -> Option<PathBuf> {
    let near = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|a| a.join("shared/kubernetes-1.36/pod-security"));
    near.into_iter().find(|p| p.is_dir())
}

#[test]
fn the_reference_pods_pass_and_fail() {
    let Some(root) = reference() else {
        eprintln!("skipped: the reference pods are not here");
        return;
    };
    let mut wrong = Vec::new();
    for (name, level) in [("baseline", Level::Baseline), ("restricted", Level::Restricted)] {
        for (result, passes) in [("pass", true), ("fail", false)] {
            for entry in std::fs::read_dir(root.join(name).join(result)).unwrap() {
                let path = entry.unwrap().path();
                let pod: Value = serde_yaml_ng::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
                let found = evaluate(&standard(level), &pod);
                if found.is_none() != passes {
                    wrong.push(format!("{}: {}", path.display(), found.unwrap_or_default().text()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_bare_pod_is_told_what_restricted_wants() {
    let pod = json!({"spec": {"containers": [{"name": "c", "securityContext": {"privileged": true}}]}});
    assert_eq!(
        evaluate(&standard(Level::Restricted), &pod).unwrap().text(),
        "privileged (container \"c\" must not set securityContext.privileged=true), \
         allowPrivilegeEscalation != false (container \"c\" must set securityContext.allowPrivilegeEscalation=false), \
         unrestricted capabilities (container \"c\" must set securityContext.capabilities.drop=[\"ALL\"]), \
         runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true), \
         seccompProfile (pod or container \"c\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")"
    );
    assert!(evaluate(&standard(Level::Privileged), &pod).is_none());
}

#[test]
fn labels_name_levels_and_versions() {
    let labels = |enforce: &'static str, version: &'static str| {
        Policy::of(move |key| match key {
            "pod-security.kubernetes.io/enforce" => Some(enforce),
            "pod-security.kubernetes.io/enforce-version" => Some(version),
            _ => None,
        })
    };
    let (policy, errors) = labels("baseline", "v1.30");
    assert!(errors.is_empty());
    assert_eq!((policy.enforce.to_string(), policy.warn.to_string()), ("baseline:v1.30".into(), "baseline:v1.30".into()));
    let (policy, errors) = labels("strict", "v1.030");
    assert_eq!((policy.enforce.level, errors.0.len()), (Level::Restricted, 2));
}
