"""The manifest for Kubernetes against the schemas of Kubernetes and of KubeRay."""

from __future__ import annotations

import copy
import re
import shlex
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import ray
import yaml

from tests.deploy.commands import ROOT, parse
from tests.deploy.kuberay import RAY_JOB

FILE = ROOT / "deploy" / "rayjob.yaml"
KUBERNETES = "1.33"


@pytest.fixture
def documents() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(FILE.read_text()))


@pytest.fixture
def job(documents: list[dict[str, Any]]) -> dict[str, Any]:
    return documents[0]


def groups(job: dict[str, Any]) -> dict[str, dict[str, Any]]:
    cluster = job["spec"]["rayClusterSpec"]
    workers = {group["groupName"]: group for group in cluster["workerGroupSpecs"]}
    return {"head": cluster["headGroupSpec"], **workers}


def pod(template: dict[str, Any]) -> dict[str, Any]:
    """A template as the pod that the operator makes of it."""
    metadata = {"name": "pod", **template.get("metadata", {})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def test_the_job_has_only_fields_that_kuberay_knows(job: dict[str, Any]) -> None:
    jsonschema.validate(job, RAY_JOB)


@pytest.mark.parametrize("place", ["spec", "rayClusterSpec"])
def test_a_misspelt_field_is_found(job: dict[str, Any], place: str) -> None:
    broken = copy.deepcopy(job)
    target = broken["spec"] if place == "spec" else broken["spec"]["rayClusterSpec"]
    target["backOffLimit"] = 3
    with pytest.raises(jsonschema.ValidationError, match="'backOffLimit' was unexpected"):
        jsonschema.validate(broken, RAY_JOB)


@pytest.mark.parametrize("name", ["head", "cpu-spot", "gpu-spot"])
def test_pods_are_ones_that_kubernetes_takes(job: dict[str, Any], name: str) -> None:
    kubernetes_validate.validate(pod(groups(job)[name]["template"]), KUBERNETES, strict=True)


def test_a_misspelt_field_of_a_pod_is_found(job: dict[str, Any]) -> None:
    broken = pod(copy.deepcopy(groups(job)["head"]["template"]))
    broken["spec"]["containers"][0]["ressources"] = {}
    with pytest.raises(jsonschema.ValidationError, match="'ressources' was unexpected"):
        kubernetes_validate.validate(broken, KUBERNETES, strict=True)


def test_the_network_policy_is_one_that_kubernetes_takes(documents: list[dict[str, Any]]) -> None:
    assert documents[1]["kind"] == "NetworkPolicy"
    kubernetes_validate.validate(documents[1], KUBERNETES, strict=True)


def test_the_network_policy_selects_every_pod(documents: list[dict[str, Any]]) -> None:
    selector = documents[1]["spec"]["podSelector"]["matchLabels"]
    labels = [group["template"]["metadata"]["labels"] for group in groups(documents[0]).values()]
    assert labels == [selector] * 3


def test_the_driver_resumes_and_writes_to_object_storage(job: dict[str, Any]) -> None:
    words = shlex.split(job["spec"]["entrypoint"])
    assert words[:2] == ["injecttf2", "run"]
    options = parse(words)
    assert str(options["campaign"]) == "/campaign/campaign.yaml"
    assert options["address"] == "auto"
    assert options["output"] == "s3://BUCKET/runs/digits"
    assert options["workers"] == 64
    assert job["spec"]["backoffLimit"] == 5
    assert job["spec"]["shutdownAfterJobFinishes"] is True


def test_the_campaign_lies_where_the_driver_looks_for_it(job: dict[str, Any]) -> None:
    spec = groups(job)["head"]["template"]["spec"]
    mount = spec["containers"][0]["volumeMounts"][0]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert mount["mountPath"] == "/campaign"
    assert volumes[mount["name"]]["configMap"] == {"name": "injecttf2-campaign"}


def test_the_cluster_demands_a_token_and_is_not_exposed(job: dict[str, Any]) -> None:
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert "enableIngress" not in cluster["headGroupSpec"]


def test_no_pod_runs_as_root_or_can_become_so(job: dict[str, Any]) -> None:
    user = re.search(r"^USER (\d+)$", (ROOT / "deploy" / "Dockerfile").read_text(), re.MULTILINE)
    assert user is not None
    for group in groups(job).values():
        for container in group["template"]["spec"]["containers"]:
            context = container["securityContext"]
            assert context["runAsNonRoot"] is True
            assert context["runAsUser"] == int(user[1])
            assert context["allowPrivilegeEscalation"] is False


def test_workers_tolerate_spot_nodes_and_scale_from_nothing(job: dict[str, Any]) -> None:
    for name in ("cpu-spot", "gpu-spot"):
        group = groups(job)[name]
        assert (group["minReplicas"], group["replicas"]) == (0, 0)
        tolerated = {toleration["key"] for toleration in group["template"]["spec"]["tolerations"]}
        assert {"cloud.google.com/gke-spot", "kubernetes.azure.com/scalesetpriority"} <= tolerated
    assert job["spec"]["rayClusterSpec"]["enableInTreeAutoscaling"] is True


def test_gpu_workers_ask_for_a_gpu_and_the_others_do_not(job: dict[str, Any]) -> None:
    asked = {
        name: group["template"]["spec"]["containers"][0]["resources"]["limits"].get(
            "nvidia.com/gpu"
        )
        for name, group in groups(job).items()
    }
    assert asked == {"head": None, "cpu-spot": None, "gpu-spot": "1"}


def test_the_ray_version_is_the_tested_one(job: dict[str, Any]) -> None:
    constraints = (ROOT / "constraints.txt").read_text().splitlines()
    assert f"ray=={job['spec']['rayClusterSpec']['rayVersion']}" in constraints
    assert ray.__version__ == job["spec"]["rayClusterSpec"]["rayVersion"]
