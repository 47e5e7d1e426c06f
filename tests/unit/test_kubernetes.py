"""The manifests in deploy/kubernetes agree with the code, the images and each other.

tests/integration/test_kubernetes_schemas.py compares them with the schemas of Kubernetes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest

from tasks.cli import main
from tasks.observability import heartbeat
from tests.support import compose
from tests.support.kubernetes import FOLDER, manifests, of_kind
from tests.support.yaml_files import read_yaml
from tests.unit.test_deploy import KNOWN
from worker.settings import SECRET_SETTINGS, Settings, load

ROOT = Path(__file__).resolve().parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
DEPLOYED = of_kind("Deployment", "StatefulSet")
OURS = sorted(set(DEPLOYED) - {"valkey"})
CONFIG: dict[str, str] = of_kind("ConfigMap")["stt-batch"]["data"]
SECRETS = {name: set(secret["stringData"]) for name, secret in of_kind("Secret").items()}
VARIABLES = {f"STT_{name.upper()}" for name in Settings.model_fields}
FILES = {f"STT_{name.upper()}_FILE" for name in SECRET_SETTINGS} | {"AWS_SECRET_ACCESS_KEY_FILE"}
LABELS = {name: one["spec"]["template"]["metadata"]["labels"] for name, one in DEPLOYED.items()}


def pod(name: str) -> dict[str, Any]:
    found = DEPLOYED[name]["spec"]["template"]["spec"]
    assert isinstance(found, dict)
    return found


def container(name: str) -> dict[str, Any]:
    (found,) = pod(name)["containers"]
    assert isinstance(found, dict)
    return found


def environment(name: str) -> dict[str, str]:
    return {one["name"]: one.get("value", "") for one in container(name).get("env", ())}


def selected(labels: dict[str, str]) -> set[str]:
    return {name for name, own in LABELS.items() if labels.items() <= own.items()}


@pytest.mark.parametrize("name", OURS)
def test_every_variable_is_a_setting_with_a_valid_value(name: str) -> None:
    given = {**CONFIG, **environment(name)}
    foreign = {"AWS_ACCESS_KEY_ID", "AWS_REGION"}
    assert set(given) - foreign <= VARIABLES | FILES
    load({variable: value for variable, value in given.items() if not variable.endswith("_FILE")})
    assert container(name)["envFrom"] == [{"configMapRef": {"name": "stt-batch"}}]


@pytest.mark.parametrize("name", DEPLOYED)
def test_every_secret_exists_and_is_mounted(name: str) -> None:
    mounts = {one["mountPath"]: one["name"] for one in container(name)["volumeMounts"]}
    volumes = {one["name"]: one.get("secret", {}).get("secretName") for one in pod(name)["volumes"]}
    paths = [value for variable, value in environment(name).items() if variable.endswith("_FILE")]
    paths += re.findall(r"/run/secrets/[a-z/-]+", str(container(name).get("args", "")))
    assert paths
    for path in paths:
        if path.startswith("/run/secrets"):
            folder, key = path.rsplit("/", 1)
            assert key in SECRETS[volumes[mounts[folder]]]
    for one in container(name).get("env", ()):
        if reference := one.get("valueFrom", {}).get("secretKeyRef"):
            assert reference["key"] in SECRETS[reference["name"]]
    used = {name for name in volumes.values() if name}
    assert used <= set(SECRETS)


def test_secrets_are_examples_only() -> None:
    for secret in of_kind("Secret").values():
        assert all("CHANGE_ME" in value for value in secret["stringData"].values())
    listed = read_yaml(FOLDER / "kustomization.yaml")["resources"]
    assert not [name for name in listed if "secret" in name]
    assert {path.name for path in FOLDER.glob("*.yaml")} - set(listed) == {
        *("kustomization.yaml", "secrets.example.yaml", "autoscaling.yaml"),
    }
    assert "secrets.yaml" in (ROOT / ".gitignore").read_text()


@pytest.mark.parametrize("name", OURS)
def test_commands_and_probes_exist(name: str) -> None:
    (word,) = container(name)["args"]
    command = main.get_command(click.Context(main), word)
    assert command is not None
    command.make_context(word, [], resilient_parsing=False)
    assert environment(name)["STT_HEALTH_FILE"].startswith("/tmp/")
    health = main.get_command(click.Context(main), "health")
    assert health is not None
    for probe, options in {"startupProbe": [], "livenessProbe": [], "readinessProbe": ["--ready"]}.items():
        given = container(name)[probe]
        assert given["exec"]["command"] == ["stt-batch", "health", *options]
        health.make_context("health", list(options))
        assert given["timeoutSeconds"] >= 2 * heartbeat.BEAT_S
    liveness = container(name)["livenessProbe"]
    assert liveness["periodSeconds"] * liveness["failureThreshold"] > heartbeat.MAX_AGE_S


def test_the_grace_period_is_longer_than_a_drain() -> None:
    command = " ".join(container("worker")["lifecycle"]["preStop"]["exec"]["command"])
    assert "kill -TERM 1" in command
    assert "stt-batch health" in command
    settings = load({})
    assert pod("worker")["terminationGracePeriodSeconds"] > 2 * (settings.close_timeout_s + 5)
    assert 'ENTRYPOINT ["stt-batch"]' in DOCKERFILE, "the process with id 1 gets the signal"


def test_ports_agree() -> None:
    for name in ("worker", "intake"):
        (port,) = container(name)["ports"]
        assert str(port["containerPort"]) == environment(name)["STT_METRICS_PORT"]
        assert environment(name)["STT_METRICS_HOST"] == "0.0.0.0"  # noqa: S104  in a pod
    (port,) = container("server")["ports"]
    assert str(port["containerPort"]) == environment("server")["STT_SERVER_PORT"]
    assert f"http://server:{port['containerPort']}" == CONFIG["STT_URL"]
    for name in OURS:
        annotations = DEPLOYED[name]["spec"]["template"]["metadata"]["annotations"]
        assert annotations["prometheus.io/port"] == str(container(name)["ports"][0]["containerPort"])
    for name, service in of_kind("Service").items():
        assert selected(service["spec"]["selector"]) == {name}
        names = {one["name"] for one in container(name)["ports"]}
        assert {one["targetPort"] for one in service["spec"]["ports"]} <= names
    (example,) = [one for one in of_kind("Secret").values() if "redis-url" in one["stringData"]]
    assert example["stringData"]["redis-url"].endswith("@valkey:6379/0")


def test_images_are_those_of_this_version_and_of_compose() -> None:
    targets = set(re.findall(r"^FROM \S+ AS (\S+)", DOCKERFILE, re.MULTILINE))
    assert {"server", "worker"} <= targets
    assert container("server")["image"] == f"stt-batch-server:{VERSION}"
    assert {container(name)["image"] for name in ("worker", "intake")} == {f"stt-batch:{VERSION}"}
    assert container("valkey")["image"] == compose.load()["services"]["valkey"]["image"]


@pytest.mark.parametrize("name", DEPLOYED)
def test_pods_are_hardened_and_limited(name: str) -> None:
    assert pod(name)["automountServiceAccountToken"] is False
    security = pod(name)["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    if name in OURS:
        assert f"USER {security['runAsUser']}:{security['runAsGroup']}" in DOCKERFILE
    own = container(name)["securityContext"]
    assert own["allowPrivilegeEscalation"] is False
    assert own["readOnlyRootFilesystem"] is True
    assert own["capabilities"] == {"drop": ["ALL"]}
    resources = container(name)["resources"]
    assert {"cpu", "memory"} <= set(resources["requests"])
    assert "memory" in resources["limits"]


def test_every_selector_selects_pods() -> None:
    for name, one in DEPLOYED.items():
        assert one["spec"]["selector"]["matchLabels"].items() <= LABELS[name].items()
    for name, budget in of_kind("PodDisruptionBudget").items():
        assert selected(budget["spec"]["selector"]["matchLabels"]) == {name}
    for policy in of_kind("NetworkPolicy").values():
        assert selected(policy["spec"]["podSelector"].get("matchLabels", {}))
        for rule in policy["spec"].get("ingress", ()):
            for peer in rule["from"]:
                if "podSelector" in peer:
                    assert selected(peer["podSelector"]["matchLabels"])
    clients = of_kind("NetworkPolicy")["valkey"]["spec"]["ingress"][0]["from"][0]["podSelector"]["matchLabels"]
    assert selected(clients) == {name for name in OURS if "STT_REDIS_URL_FILE" in environment(name)}


def test_all_objects_are_in_one_namespace() -> None:
    (namespace,) = of_kind("Namespace")
    for file, one in manifests():
        if one["kind"] not in ("Namespace", "Kustomization"):
            assert one["metadata"]["namespace"] == namespace, file


def test_the_metric_of_waiting_audio_sets_the_number_of_workers() -> None:
    spec = of_kind("ScaledObject")["worker"]["spec"]
    assert spec["scaleTargetRef"]["name"] in DEPLOYED
    assert "replicas" not in DEPLOYED["worker"]["spec"], "each `kubectl apply` would reset the number"
    (trigger,) = spec["triggers"]
    names = set(re.findall(r"stt_[a-z_]+", trigger["metadata"]["query"]))
    assert names == {"stt_queue_audio_seconds"}
    assert "state" in KNOWN["stt_queue_audio_seconds"]
    assert float(trigger["metadata"]["threshold"]) > 0
    assert spec["minReplicaCount"] < spec["maxReplicaCount"]
    down = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
    assert down["stabilizationWindowSeconds"] >= 300


# The fields of a ScaledObject that `kubectl apply` accepts, with their types, by the custom resource definition of KEDA
# 2.20. The API server drops unknown fields, so a mistyped one would have no effect.
SCALED_OBJECT: dict[str, type] = {
    **{"scaleTargetRef": dict, "triggers": list, "advanced": dict, "fallback": dict},
    **{"minReplicaCount": int, "maxReplicaCount": int, "idleReplicaCount": int},
    **{"pollingInterval": int, "cooldownPeriod": int, "initialCooldownPeriod": int},
}
TRIGGER: dict[str, type] = {"type": str, "name": str, "metadata": dict, "authenticationRef": dict, "metricType": str}
PROMETHEUS_TRIGGER = {"serverAddress", "query", "threshold", "activationThreshold", "ignoreNullValues", "timeout"}


def test_the_scaled_object_has_the_fields_of_keda() -> None:
    """The manifest is also valid by the definition itself, with which it was compared once."""
    one = of_kind("ScaledObject")["worker"]
    assert one["apiVersion"] == "keda.sh/v1alpha1"
    assert {name: type(value) for name, value in one["spec"].items()}.items() <= SCALED_OBJECT.items()
    for trigger in one["spec"]["triggers"]:
        assert {name: type(value) for name, value in trigger.items()}.items() <= TRIGGER.items()
        assert set(trigger["metadata"]) <= PROMETHEUS_TRIGGER
        assert all(isinstance(value, str) for value in trigger["metadata"].values()), "only texts are allowed"
    assert {name: type(value) for name, value in one["spec"]["fallback"].items()} == {
        **{"failureThreshold": int, "replicas": int},
    }
    assert set(one["spec"]["advanced"]) == {"horizontalPodAutoscalerConfig"}
    assert set(one["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]) == {"scaleDown", "scaleUp"}


def test_an_unknown_metric_ends_no_worker_at_once() -> None:
    """KEDA counts an empty or undefined answer as 0 by default."""
    spec = of_kind("ScaledObject")["worker"]["spec"]
    assert spec["triggers"][0]["metadata"]["ignoreNullValues"] == "false"
    assert spec["fallback"]["replicas"] >= spec["minReplicaCount"]
