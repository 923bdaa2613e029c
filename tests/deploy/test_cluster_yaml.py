"""The cluster launcher's file, read by Ray's own checks; no cloud is asked."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from tests.deploy.commands import ROOT, parse

FILE = ROOT / "deploy" / "ray-cluster.yaml"
WORKERS = ["cpu_spot", "gpu_spot"]


@pytest.fixture
def cluster() -> dict[str, Any]:
    """The file as `ray up` completes it before it talks to the cloud."""
    prepared: dict[str, Any] = prepare_config(yaml.safe_load(FILE.read_text()))
    return prepared


def test_ray_takes_the_file(cluster: dict[str, Any]) -> None:
    validate_config(cluster)


def test_ray_refuses_a_key_that_is_not_there(cluster: dict[str, Any]) -> None:
    cluster["available_node_types"]["head"]["spot"] = True
    with pytest.raises(jsonschema.ValidationError, match="'spot' was unexpected"):
        validate_config(cluster)


def test_the_head_is_on_demand_and_the_workers_are_spot_instances(cluster: dict[str, Any]) -> None:
    spot = {
        name: kind["node_config"].get("InstanceMarketOptions")
        for name, kind in cluster["available_node_types"].items()
    }
    assert spot == {
        "head": None,
        "cpu_spot": {"MarketType": "spot"},
        "gpu_spot": {"MarketType": "spot"},
    }


def test_workers_come_and_go(cluster: dict[str, Any]) -> None:
    kinds = cluster["available_node_types"]
    assert [kinds[name]["min_workers"] for name in WORKERS] == [0, 0]
    assert sum(kinds[name]["max_workers"] for name in WORKERS) == cluster["max_workers"]
    assert [kinds[name]["resources"] for name in WORKERS] == [{"CPU": 16}, {"CPU": 8, "GPU": 1}]
    assert kinds["head"]["resources"] == {"CPU": 0}


def test_every_node_has_the_users_own_firewall(cluster: dict[str, Any]) -> None:
    groups = [
        kind["node_config"]["SecurityGroupIds"] for kind in cluster["available_node_types"].values()
    ]
    assert groups == [["SECURITY_GROUP"]] * 3
    assert "security_group" not in cluster["provider"]


def test_every_container_demands_the_token(cluster: dict[str, Any]) -> None:
    options = cluster["docker"]["run_options"]
    assert "--env RAY_AUTH_MODE=token" in options
    assert "--env RAY_AUTH_TOKEN_PATH=/home/ray/auth/token" in options
    assert cluster["file_mounts"]["/home/ray/auth"] == "~/.injecttf2/auth"


def test_start_commands_are_ones_that_ray_knows(cluster: dict[str, Any]) -> None:
    parsed = {
        kind: parse(command.split())
        for kind in ("head", "worker")
        for command in cluster[f"{kind}_start_ray_commands"]
        if command.startswith("ray start")
    }
    assert parsed["head"]["head"] is True
    assert parsed["head"]["dashboard_host"] == "127.0.0.1"
    assert parsed["worker"]["address"] == "$RAY_HEAD_IP:6379"
    assert [parsed[kind]["metrics_export_port"] for kind in ("head", "worker")] == [8080, 8080]


def test_nothing_is_installed_beside_the_image(cluster: dict[str, Any]) -> None:
    assert [cluster[f"{part}setup_commands"] for part in ("", "head_", "worker_")] == [[], [], []]
