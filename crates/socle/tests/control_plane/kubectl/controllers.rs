//! Replication controllers, and what is said about them, their pods and their services.

use super::{Kubectl, says};
use crate::hollow;
use crate::plane::until;
use serde_json::Value;

const IMAGE: &str = "none.example/primary:1";

fn controller(name: &str, replicas: u8) -> String {
    format!(
        "apiVersion: v1
kind: ReplicationController
metadata: {{name: {name}, labels: {{app: demo, role: primary}}}}
spec:
  replicas: {replicas}
  selector: {{app: demo, role: primary}}
  template:
    metadata: {{labels: {{app: demo, role: primary}}}}
    spec: {{containers: [{{name: {name}, image: '{IMAGE}', ports: [{{name: main-port, containerPort: 6379}}]}}]}}
"
    )
}

impl Kubectl {
    /// Creates a controller, and returns once its pods run.
    fn control(&self, name: &str, replicas: u8) -> Vec<String> {
        self.feed(&["create", "-f", "-"], &controller(name, replicas));
        self.running(usize::from(replicas))
    }

    /// Waits until just so many pods are there, and all of them run what they should.
    fn running(&self, count: usize) -> Vec<String> {
        let template = "{{range .items}}{{.metadata.name}} {{.status.phase}} {{range .status.containerStatuses}}\
                        {{if .state.running}}{{.image}}{{end}}{{end}}\n{{end}}";
        let pods = self.until(&["get", "pods", "-l", "app=demo", "-o", &format!("go-template={template}")], |out| {
            out.lines().count() == count && out.lines().all(|line| line.ends_with(&format!(" Running {IMAGE}")))
        });
        pods.lines().filter_map(|line| line.split(' ').next()).map(String::from).collect()
    }
}

/// Behaviour: [sig-cli] Kubectl client Update Demo should create and stop a replication controller
#[test]
fn a_controller_runs_its_pods_until_it_is_stopped() {
    let Some(kubectl) = Kubectl::new("kubectl-controller") else { return };
    kubectl.control("primary", 2);
    kubectl.feed(&["delete", "--grace-period=0", "--force", "-f", "-"], &controller("primary", 2));
    assert_eq!(kubectl.run(&["get", "rc,services", "-l", "app=demo", "--no-headers"]), "");
    kubectl.until(&["get", "pods", "-l", "app=demo", "-o", "name"], |out| out.is_empty());
}

/// Behaviour: [sig-cli] Kubectl client Update Demo should scale a replication controller
#[test]
fn a_controller_is_scaled_down_and_up() {
    let Some(kubectl) = Kubectl::new("kubectl-scale") else { return };
    kubectl.control("primary", 2);
    kubectl.run(&["scale", "rc", "primary", "--replicas=1", "--timeout=1m"]);
    kubectl.running(1);
    kubectl.run(&["scale", "rc", "primary", "--replicas=2", "--timeout=1m"]);
    kubectl.running(2);
}

/// Behaviour: [sig-cli] Kubectl client Kubectl patch should add annotations for pods in rc
#[test]
fn the_pods_of_a_controller_are_annotated() {
    let Some(kubectl) = Kubectl::new("kubectl-patch") else { return };
    for pod in kubectl.control("primary", 2) {
        kubectl.run(&["patch", "pod", &pod, "-p", r#"{"metadata":{"annotations":{"x":"y"}}}"#]);
    }
    let pods = kubectl.space.list("pods");
    assert!(pods.len() == 2 && pods.iter().all(|p| p["metadata"]["annotations"]["x"] == "y"), "{pods:?}");
}

/// Behaviour: [sig-cli] Kubectl client Kubectl describe should check if kubectl describe prints relevant information for rc and pods
#[test]
fn everything_about_a_controller_and_its_pods_is_told() {
    let Some(kubectl) = Kubectl::new("kubectl-describe") else { return };
    let namespace = kubectl.space.name.clone();
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: primary, labels: {app: demo, role: primary}}\n\
                   spec: {ports: [{port: 6379, targetPort: main-port}], selector: {app: demo, role: primary}}\n";
    kubectl.feed(&["create", "-f", "-"], service);
    let pod = kubectl.control("primary", 1).remove(0);
    let check = |args: &[&str], lines: &[&[&str]]| {
        kubectl.until(&[&["describe"], args].concat(), |out| says(out, lines));
    };
    let own: [&[&str]; 5] =
        [&["Namespace:", &namespace], &["Labels:", "app=demo"], &["role=primary"], &["Annotations:"], &["Name:", "primary"]];
    let of_pod: [&[&str]; 8] = [
        &["Node:", hollow::NAME],
        &["Status:", "Running"],
        &["IP:", "10.42."],
        &["Controlled By:", "ReplicationController/primary"],
        &["Image:", IMAGE],
        &["State:", "Running"],
        &["QoS Class:", "BestEffort"],
        // Of the scheduler.
        &["Scheduled", &pod],
    ];
    check(&["pod", &pod], &[&["Name:", &pod]]);
    check(&["pod", &pod], &own);
    check(&["pod", &pod], &of_pod);
    let of_controller: [&[&str]; 7] = [
        &["Selector:", "app=demo,role=primary"],
        &["Replicas:", "1 current", "1 desired"],
        &["Pods Status:", "1 Running", "0 Waiting", "0 Succeeded", "0 Failed"],
        &["Pod Template:"],
        &["Image:", IMAGE],
        &["Events:"],
        &["SuccessfulCreate", "replication-controller", &pod],
    ];
    check(&["rc", "primary"], &own);
    check(&["rc", "primary"], &of_controller);
    let of_service: [&[&str]; 6] = [
        &["Selector:", "app=demo", "role=primary"],
        &["Type:", "ClusterIP"],
        &["IP:", "10."],
        &["Port:", "<unset>", "6379/TCP"],
        &["Endpoints:", "10.42.", ":6379"],
        &["Session Affinity:", "None"],
    ];
    check(&["service", "primary"], &own);
    check(&["service", "primary"], &of_service);
    let of_node: [&[&str]; 14] = [
        &["Name:", hollow::NAME],
        &["Labels:"],
        &["Annotations:"],
        &["CreationTimestamp:"],
        &["Conditions:"],
        &["Type", "Status", "LastHeartbeatTime", "LastTransitionTime", "Reason", "Message"],
        &["Addresses:"],
        &["Capacity:"],
        &["Kernel Version:"],
        &["OS Image:"],
        &["Container Runtime Version:"],
        &["Kubelet Version:"],
        &["Pods:"],
        &["Ready", "True", "KubeletReady"],
    ];
    check(&["node", hollow::NAME], &of_node);
    check(&["namespace", &namespace], &[&["Name:", &namespace], &["Labels:"], &["Annotations:"], &["Status:", "Active"]]);
}

/// Behaviour: [sig-cli] Kubectl client Kubectl expose should create services for rc
#[test]
fn a_controller_is_exposed_and_its_service_again() {
    let Some(kubectl) = Kubectl::new("kubectl-expose") else { return };
    kubectl.control("primary", 1);
    let check = |service: &str, port: u16| {
        let object = kubectl.space.get("services", service).expect("a service");
        let ports = object["spec"]["ports"].as_array().expect("ports");
        assert!(ports.len() == 1 && ports[0]["port"] == port && ports[0]["targetPort"] == 6379, "{object}");
        until(&format!("service {service} leads to the pod"), || {
            let slices = kubectl.space.list("discovery.k8s.io/endpointslices");
            let own: Vec<&Value> = slices.iter().filter(|s| s["metadata"]["labels"]["kubernetes.io/service-name"] == service).collect();
            let one = own.len() == 1 && own[0]["endpoints"].as_array().is_some_and(|e| e.len() == 1);
            if one && own[0]["ports"][0]["port"] == 6379 { Ok(()) } else { Err(format!("{own:?}")) }
        });
    };
    kubectl.run(&["expose", "rc", "primary", "--name=rm2", "--port=1234", "--target-port=6379"]);
    check("rm2", 1234);
    kubectl.run(&["expose", "service", "rm2", "--name=rm3", "--port=2345", "--target-port=6379"]);
    check("rm3", 2345);
}
