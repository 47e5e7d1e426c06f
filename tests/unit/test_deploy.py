"""Dockerfile, Prometheus and Grafana files agree with the code. docker-compose.yml is tested in test_compose.py."""

from __future__ import annotations

import json
import re
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.support.yaml_files import read_yaml
from worker import metrics

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboards" / "stt-batch.json").read_text(encoding="utf-8"))
ALERTS = read_yaml(DEPLOY / "prometheus" / "alerts.yml")
RULES: list[dict[str, Any]] = [rule for group in ALERTS["groups"] for rule in group["rules"]]
OF_PROMETHEUS = {"up"}


def queries() -> list[str]:
    shown = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
    return [*shown, *(rule["expr"] for rule in RULES)]


def samples() -> dict[str, set[str]]:
    """Return the labels of each metric, by the name of the metric. Uses a worker and a server in which every metric has
    a value."""
    for metric in vars(metrics).values():
        names = getattr(metric, "_labelnames", ())
        if names and hasattr(metric, "labels"):
            metric.labels(*["x"] * len(names))
    found: dict[str, set[str]] = {}
    for registry in (metrics.WORKER, metrics.SERVER):
        text, _ = metrics.exposition(registry, "text/plain")
        for family in text_string_to_metric_families(text.decode()):
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
            if family.type == "histogram":
                found[f"{family.name}_bucket"].add("le")
    return found


KNOWN = samples()


def test_queries_use_existing_metrics_and_labels() -> None:
    for query in queries():
        names = set(re.findall(r"\b(?:stt|process|python)_[a-z0-9_]+", query))
        assert names or set(re.findall(r"\b[a-z_]+\b", query)) & OF_PROMETHEUS, query
        assert names <= set(KNOWN), f"{names - set(KNOWN)} in {query}"
        given = {"job", "instance"}.union(*(KNOWN[name] for name in names))
        for by in re.findall(r"by \(([^)]*)\)", query):
            assert {label.strip() for label in by.split(",")} <= given, query
        for matcher in re.findall(r"\{([^}]*)\}", query):
            assert set(re.findall(r"([a-z_]+)\s*[=!]", matcher)) <= given, query


def test_rates_are_taken_of_counters_only() -> None:
    rates = [name for query in queries() for name in re.findall(r"(?:rate|increase)\(([a-z0-9_]+)", query)]
    assert len(rates) > 10
    assert [name for name in rates if not name.endswith(("_total", "_bucket", "_sum", "_count"))] == []


def test_every_metric_is_used_by_a_panel_or_an_alert() -> None:
    """A metric without a panel or an alert only costs memory."""
    asked = " ".join(queries())
    ours = {name for name in KNOWN if name.startswith("stt_")}
    bare = {re.sub(r"_(total|bucket|sum|count|created|info)$", "", name) for name in ours}
    unseen = {name for name in bare if name not in asked} - {"stt_build", "stt_worker_jobs_running"}
    assert not unseen


def test_the_panels_of_the_dashboard_are_consistent() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    source = read_yaml(DEPLOY / "grafana" / "datasources" / "prometheus.yml")["datasources"][0]
    graphs = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
    assert len(graphs) > 10
    for panel in graphs:
        assert panel["datasource"]["uid"] == source["uid"]
        assert panel["title"]
        assert panel["description"]
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        for target in panel["targets"]:
            for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                assert label in {"job", "instance"} or re.search(rf"by \([^)]*\b{label}\b", target["expr"])


def test_no_alert_expects_a_count_of_zero() -> None:
    """In PromQL, `count` of no series gives no value instead of 0, so such an alert never fires."""
    for rule in RULES:
        assert not re.search(r"count\([^()]*\) == 0", rule["expr"]), rule["alert"]


def test_every_alert_names_the_remedy() -> None:
    for rule in RULES:
        assert rule["alert"].startswith("Stt")
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert len(rule["annotations"]["description"]) > 20


# -- image -------------------------------------------------------------------------------------------------------------


def test_base_images_are_pinned_to_one_release() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    stages = set(re.findall(r"^FROM \S+ AS (\S+)", DOCKERFILE, re.MULTILINE))
    outside = [base for base in bases if base not in stages]
    assert outside
    assert set(outside) == {outside[0]}
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-[a-z]+", outside[0]), "a full version, not a moving tag"


def test_the_image_names_the_version_of_the_project() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"ARG VERSION={version}\n" in DOCKERFILE


def test_an_image_runs_as_an_unprivileged_user_with_a_healthcheck() -> None:
    base = DOCKERFILE.partition(" AS base\n")[2].partition("\nFROM ")[0]
    assert re.search(r"^USER \d+:\d+$", base, re.MULTILINE), "by number, so that an orchestrator sees it is not root"
    assert re.search(r'^HEALTHCHECK .*CMD \["stt-batch", "health"\]$', base, re.MULTILINE)
    assert 'ENTRYPOINT ["stt-batch"]' in base
    final = DOCKERFILE.partition(" AS base\n")[2]
    assert "USER root" not in final
    assert "pip install" not in final, "packages are installed in an earlier stage"


def test_the_recognizer_is_in_the_target_that_needs_it() -> None:
    stages = dict(re.findall(r"^FROM \S+ AS (\S+)\n(.*?)(?=^FROM |\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL))
    recognizer = [name for name, text in stages.items() if "requirements-server.txt" in text]
    assert recognizer == ["build-server"]
    assert "--from=build-server" in stages["server"]
    assert list(stages)[-1] == "worker", "`docker build .` makes the image for workers"
    assert "--from=build-worker" in stages["worker"]


def test_the_project_is_installed_from_its_own_wheel() -> None:
    """Third-party packages are in earlier layers, so a change of code rebuilds the last layers only."""
    for stage in re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE):
        before, copied, after = stage.partition("COPY worker worker")
        if copied:
            assert "--require-hashes" in before
            assert re.search(r"pip wheel -q --no-deps .*&& python3 .* install -q --no-deps", after, re.DOTALL)


def test_copied_files_are_not_ignored() -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)
    names = {path for line in copied for path in line.split()}
    assert not [path for path in names if not any(fnmatchcase(path, pattern) for pattern in let_in)]
    assert not [pattern for pattern in let_in if not any(fnmatchcase(path, pattern) for path in names)]
    for path in names:
        assert (ROOT / path).exists()
