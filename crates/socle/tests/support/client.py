"""The official Python client against a running platform; prints ok, or fails with what went wrong."""

from kubernetes import client, config, watch
from kubernetes.client.rest import ApiException
from kubernetes.stream import stream

config.load_kube_config()
core = client.CoreV1Api()

assert [n for n in core.list_node().items if n.status.node_info.kubelet_version], "no node"

name, namespace = "python", "default"
pod = client.V1Pod(
    metadata=client.V1ObjectMeta(name=name, labels={"from": "python"}),
    spec=client.V1PodSpec(
        termination_grace_period_seconds=1,
        containers=[
            client.V1Container(name="c", image="localhost/socle/busybox:latest", image_pull_policy="IfNotPresent", command=["sleep", "600"])
        ],
    ),
)
core.create_namespaced_pod(namespace, pod)
try:
    core.create_namespaced_pod(namespace, pod)
    raise AssertionError("created twice")
except ApiException as error:
    assert error.status == 409, error

for event in watch.Watch().stream(core.list_namespaced_pod, namespace, label_selector="from=python", timeout_seconds=60):
    conditions = event["object"].status.conditions or []
    if any(c.type == "Ready" and c.status == "True" for c in conditions):
        break
else:
    raise AssertionError("never ready")

said = stream(core.connect_get_namespaced_pod_exec, name, namespace, command=["echo", "hello"], stdout=True, stderr=True, stdin=False, tty=False)
assert said.strip() == "hello", said

core.patch_namespaced_pod(name, namespace, {"metadata": {"labels": {"patched": "yes"}}})
assert core.read_namespaced_pod(name, namespace).metadata.labels["patched"] == "yes"
core.delete_namespaced_pod(name, namespace)
print("ok")
