"""Runs the service `prometheus` of docker-compose.yml as a process, with its configuration files, and queries it."""

from __future__ import annotations

import json
import re
import shutil
import urllib.parse
import urllib.request
from collections.abc import Sequence
from typing import Any

import yaml

from tests.support.compose_run import PORTS, ROOT, LocalCompose
from tests.support.wait import wait_until

DASHBOARD = ROOT / "deploy" / "grafana" / "dashboards" / "stt-batch.json"


def dashboard_queries() -> list[str]:
    """Return all queries of the Grafana dashboard."""
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    return [str(target["expr"]) for panel in panels for target in panel.get("targets", ())]


class Prometheus:
    """A Prometheus that scrapes every second. It runs until the `LocalCompose` that started it is closed."""

    def __init__(
        self, stack: LocalCompose, *, workers: Sequence[int], servers: Sequence[int], alert_at_once: bool = False
    ) -> None:
        """Start Prometheus. `workers`, `servers`: ports of their metrics, which replace the host names of the Compose
        network. `alert_at_once`: send alerts to Alertmanager without the time that their cause must last."""
        folder = stack.folder / "prometheus-config"
        shutil.copytree(ROOT / "deploy" / "prometheus", folder)
        path = folder / "prometheus.yml"
        config = yaml.safe_load(path.read_text())
        config["global"] |= {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
        for job in config["scrape_configs"]:
            ports = {"worker": workers, "server": servers}.get(job["job_name"])
            if ports is not None:
                del job["dns_sd_configs"]
                job["static_configs"] = [{"targets": [f"127.0.0.1:{port}" for port in ports]}]
        (managers,) = config["alerting"]["alertmanagers"]
        assert managers["static_configs"] == [{"targets": [f"alertmanager:{PORTS['alertmanager']}"]}]
        managers["static_configs"] = [{"targets": [f"127.0.0.1:{stack.ports['alertmanager']}"]}]
        if alert_at_once:
            rules = (folder / "alerts.yml").read_text()
            (folder / "alerts.yml").write_text(re.sub(r"^ *for: \w+\n", "", rules, flags=re.MULTILINE))
        else:
            del config["alerting"]
        path.write_text(yaml.safe_dump(config))
        self._address = f"http://127.0.0.1:{stack.ports['prometheus']}"
        stack.up("prometheus")
        # Prometheus answers queries with 503 until it has read its write-ahead log.
        wait_until(self._is_ready, "Prometheus is ready", timeout_s=60, poll_s=0.2)

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._address}/-/ready", timeout=10) as answer:  # noqa: S310  our own
                return bool(answer.status == 200)
        except OSError:
            return False

    def ask(self, query: str) -> float | None:
        """Return the first value of a query's result, or None if the result is empty."""
        found = self.answer(query)
        return float(found[0]["value"][1]) if found else None

    def answer(self, query: str) -> list[dict[str, Any]]:
        """Return the result of a query, as Prometheus's HTTP API describes it."""
        answer = self._get(f"/api/v1/query?query={urllib.parse.quote(query)}")
        assert answer["status"] == "success", answer
        return list(answer["data"]["result"])

    def rules(self) -> list[dict[str, Any]]:
        return list(self._get("/api/v1/rules")["data"]["groups"][0]["rules"])

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self._address}{path}", timeout=10) as answer:  # noqa: S310  our own
            return json.load(answer)
