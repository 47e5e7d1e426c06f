"""docker-compose.yml agrees with the code. tests/integration/test_compose.py starts its services."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
import pytest

from tasks.cli import main
from tasks.observability import heartbeat
from tests.support import compose, env_example
from tests.support.compose import interpolate
from tests.support.yaml_files import read_yaml
from worker.settings import SECRET_SETTINGS, Settings, load

ROOT = Path(__file__).resolve().parents[2]
FILE = compose.load()
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
OURS = {name: service for name, service in SERVICES.items() if str(service["image"]).startswith("stt-batch")}
VARIABLES = {f"STT_{name.upper()}" for name in Settings.model_fields}
FILES = {f"STT_{name.upper()}_FILE" for name in SECRET_SETTINGS}
ONE_SHOT = {"folders", "secrets", "backup-folder", "restore"}
HEAD = compose.PATH.read_text(encoding="utf-8").partition("\nname:")[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a${X}b", "a1b"),
        ("$X-$$X", "1-$X"),
        ("${Y:-d}${E:-d}${E-d}", "dd"),
        ("${X:+yes}${Y:+yes}${E+yes}", "yesyes"),
        ("${Y:-${E:-${X}}}", "1"),
        ("redis://:${Y:-p}@h/0", "redis://:p@h/0"),
        ("nothing", "nothing"),
    ],
)
def test_variables_are_interpolated_like_compose_does(text: str, expected: str) -> None:
    assert interpolate(text, {"X": "1", "E": ""}) == expected


def test_a_missing_required_variable_is_an_error() -> None:
    with pytest.raises(ValueError, match="X is needed: say which"):
        interpolate("${X:?say which}", {})


# -- against the code --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OURS)
def test_every_variable_of_a_service_is_a_setting(name: str) -> None:
    given = set(OURS[name].get("environment", {}))
    foreign = {variable for variable in given if not variable.startswith("STT_")}
    assert given - foreign <= VARIABLES | FILES
    assert foreign <= {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY_FILE", "AWS_REGION", "NO_PROXY"}


PROXY_AND_TRACES = {"HTTP_PROXY", "HTTPS_PROXY", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS"}
CLOUDS = {"GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SKIP_SIGNATURE", "AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY"}


@pytest.mark.parametrize("name", OURS)
def test_standard_variables_of_libraries_reach_the_services_that_use_them(name: str) -> None:
    wanted = PROXY_AND_TRACES | (CLOUDS if name in ("worker", "intake", "api") else set())
    given = {variable: f"value of {variable}" for variable in PROXY_AND_TRACES | CLOUDS}
    environ = compose.load(given)["services"][name]["environment"]
    assert {variable: environ[variable] for variable in given if variable in environ} == {
        variable: given[variable] for variable in wanted
    }
    # The variables must not have empty values, because obstore would take an empty GOOGLE_SERVICE_ACCOUNT for the name
    # of a file.
    assert not compose.passed_through(name) & set(OURS[name]["environment"])
    assert wanted <= compose.passed_through(name)


@pytest.mark.parametrize("hint", ["gs", "az"])
def test_the_variables_that_messages_name_for_a_cloud_reach_the_worker(hint: str) -> None:
    pytest.importorskip("obstore")
    from worker.storage import object_store

    named = set(re.findall(r"\b[A-Z]+_[A-Z_]+\b", object_store._CREDENTIAL_HINTS[hint]))
    assert named
    assert named <= compose.passed_through("worker")


@pytest.mark.parametrize("given", ["", "internal.example"])
def test_requests_between_the_services_never_use_the_proxy(given: str) -> None:
    environ = compose.load({"HTTP_PROXY": "http://proxy:3128", "NO_PROXY": given})["services"]["worker"]["environment"]
    hosts = environ["NO_PROXY"].split(",")
    assert {"server", "s3", "valkey", "127.0.0.1"} <= set(hosts)
    assert "" not in hosts
    assert (given in hosts) == bool(given)


def test_every_setting_reaches_a_service() -> None:
    """Without an `env_file`, settings that no service lists could not be set."""
    passed = {variable for one in OURS.values() for variable in one["environment"]}
    handed = passed | {variable.removesuffix("_FILE") for variable in passed}
    assert VARIABLES - {"STT_HEALTH_FILE"} <= handed
    raw = read_yaml(compose.PATH)["services"]
    for name in OURS:
        for variable, value in raw[name]["environment"].items():
            if value is not None and f"${{{variable}" not in str(value):
                fixed = {"STT_HEALTH_FILE", "STT_SERVER_MODEL_CACHE", "STT_SERVER_HOST", "STT_SERVER_PORT"}
                fixed |= {"STT_HTTP_HOST", "STT_HTTP_PORT"}
                fixed |= {"STT_METRICS_HOST", "STT_METRICS_PORT", "AWS_SECRET_ACCESS_KEY_FILE"}
                assert variable in FILES | fixed, f"{name}: {variable} cannot be set"


# -- secrets -----------------------------------------------------------------------------------------------------------

GIVEN = {
    "VALKEY_PASSWORD": "pw-of-valkey",
    "AWS_SECRET_ACCESS_KEY": "pw-of-s3",
    "STT_API_KEY": "pw-of-stt",
    "STT_SERVER_API_KEYS": "pw-of-server",
    "STT_HTTP_KEYS": "web:submit:pw-of-http",
    "STT_WEBHOOK_SECRET": "pw-of-webhooks",
    "STT_REDIS_URL": "redis://:pw-of-redis@queue/0",
    "GRAFANA_PASSWORD": "pw-g",
    "ALERT_WEBHOOK_URL": "https://hooks.example/pw-of-alerts",
    "ALERT_SLACK_URL": "https://hooks.slack.example/pw-of-slack",
    "ALERT_MAIL_PASSWORD": "pw-of-mail",
}


def test_no_shell_splits_a_secret() -> None:
    """`export NAME=$(cat …)` splits at spaces in some shells, so only the first word became the password."""
    for name, service in SERVICES.items():
        for command in map(str, service.get("command") or ()):
            assert not re.findall(r"export [^\n]*=\$\(", command), name


def test_the_repository_contains_no_default_password() -> None:
    text = compose.PATH.read_text()
    assert not re.findall(r"\$\{[A-Z_]*(?:PASSWORD|SECRET|API_KEYS?):?-[^}]+\}", text)
    assert "local-only" not in text


def test_every_variable_is_a_setting_or_documented_at_the_top() -> None:
    for variable in compose.variables():
        if variable.startswith("STT_"):
            assert variable in VARIABLES | FILES
        elif not variable.startswith("AWS_") and not variable.endswith("_PORT"):
            assert variable in HEAD, f"{variable} is explained nowhere"


@pytest.mark.parametrize("name", OURS)
def test_every_command_exists(name: str, tmp_path: Path) -> None:
    words = [str(tmp_path) if word.startswith("/") else word for word in OURS[name]["command"]]
    command = main.get_command(click.Context(main), words[0])
    assert command is not None
    command.make_context(words[0], list(words[1:]), resilient_parsing=False)
    test = OURS[name]["healthcheck"]["test"]
    assert test[:3] == ["CMD", "stt-batch", "health"]
    look = main.get_command(click.Context(main), "health")
    assert look is not None
    look.make_context("health", test[3:])


def test_workers_and_service_find_each_other() -> None:
    server, worker = OURS["server"]["environment"], OURS["worker"]["environment"]
    assert worker["STT_URL"] == f"http://server:{server['STT_SERVER_PORT']}"
    assert worker["STT_API_KEY_FILE"] == "/run/secrets/api_key"
    assert server["STT_SERVER_API_KEYS_FILE"] == "/run/secrets/api_keys"


def test_prometheus_scrapes_the_ports_of_workers_and_servers() -> None:
    config = read_yaml(ROOT / "deploy" / "prometheus" / "prometheus.yml")
    asked = {
        (job["job_name"], name, entry["port"])
        for job in config["scrape_configs"]
        for entry in job.get("dns_sd_configs", ())
        for name in entry["names"]
    }
    assert asked == {
        ("worker", "worker", int(OURS["worker"]["environment"]["STT_METRICS_PORT"])),
        ("api", "api", int(OURS["api"]["environment"]["STT_METRICS_PORT"])),
        ("server", "server", int(OURS["server"]["environment"]["STT_SERVER_PORT"])),
    }
    assert OURS["worker"]["environment"]["STT_METRICS_HOST"] == "0.0.0.0"  # noqa: S104  in a container


def test_a_worker_can_be_scaled() -> None:
    worker = OURS["worker"]
    assert "container_name" not in worker
    assert "ports" not in worker


@pytest.mark.parametrize("name", sorted(set(OURS) - {"server", "api"}))
def test_services_mount_recordings_at_the_same_path(name: str) -> None:
    assert {"./inbox:/inbox", "./transcripts:/transcripts"} <= set(OURS[name]["volumes"])
    assert SERVICES["folders"]["entrypoint"][-3:] == ["/inbox", "/transcripts", "/uploads"]
    assert SERVICES["folders"]["entrypoint"][1] == OURS[name]["user"]


def test_workers_read_the_uploads_of_the_http_api_at_the_same_path() -> None:
    api, worker = OURS["api"], OURS["worker"]
    assert api["environment"]["STT_UPLOADS"] == "/uploads"
    assert "uploads:/uploads" in api["volumes"]
    assert "uploads:/uploads" in SERVICES["folders"]["volumes"]
    assert "uploads:/uploads:ro" in worker["volumes"]
    assert api["environment"]["STT_HTTP_KEYS_FILE"] == "/run/secrets/http_keys"
    assert api["ports"] == [f"127.0.0.1:8080:{api['environment']['STT_HTTP_PORT']}"]


def test_the_stop_grace_period_is_longer_than_a_shutdown() -> None:
    for name, service in SERVICES.items():
        if name not in ONE_SHOT:
            assert int(service["stop_grace_period"].removesuffix("s")) >= 15, name
    settings = load({})
    # A worker requeues its jobs: it closes its sessions, updates the ledger, and ends its loop.
    assert int(OURS["worker"]["stop_grace_period"].removesuffix("s")) > 2 * (settings.close_timeout_s + 5)


# -- hardening ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_limits_and_restarts(name: str) -> None:
    service = SERVICES[name]
    limits = service["deploy"]["resources"]["limits"]
    assert {"cpus", "memory", "pids"} <= set(limits)
    assert service["restart"] == ("no" if name in ONE_SHOT else "unless-stopped")
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["logging"]["options"]["max-size"]
    assert not service.get("privileged")


@pytest.mark.parametrize("name", sorted(set(SERVICES) - ONE_SHOT))
def test_every_long_running_service_has_a_healthcheck(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    assert {"test", "interval", "timeout", "retries", "start_period"} <= set(check)


@pytest.mark.parametrize("name", SERVICES)
def test_dependencies_must_be_healthy_first(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        wanted = "service_completed_successfully" if other in ONE_SHOT else "service_healthy"
        assert how["condition"] == wanted
        if profiles := set(SERVICES[other].get("profiles", ())):
            own = set(SERVICES[name].get("profiles", ()))
            assert own, f"{name} would start without {other}, which has a profile"
            assert own <= profiles, f"{name} would start without {other}"


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_open_on_this_machine_only(name: str) -> None:
    for port in SERVICES[name].get("ports", ()):
        assert port.startswith("127.0.0.1:"), port


@pytest.mark.parametrize("name", sorted(set(SERVICES) - set(OURS)))
def test_third_party_images_are_pinned(name: str) -> None:
    assert re.search(r":v?\d+\.\d+(\.\d+)?(-alpine)?$", SERVICES[name]["image"]), SERVICES[name]["image"]


def test_targets_are_stages_of_the_dockerfile() -> None:
    stages = set(re.findall(r"^FROM \S+ AS (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    for service in OURS.values():
        assert service["build"]["target"] in stages
    assert {service["image"] for service in OURS.values()} == {"stt-batch", "stt-batch-server"}


def test_redis_never_evicts_and_writes_to_disk() -> None:
    command = " ".join(SERVICES["valkey"]["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command
    assert "requirepass" in command
    assert "valkey:/data" in SERVICES["valkey"]["volumes"]


def test_no_secret_is_on_a_command_line() -> None:
    for name, service in compose.load(GIVEN)["services"].items():
        shown = " ".join([*service.get("command", ()), *service.get("entrypoint", ()), str(service.get("healthcheck"))])
        assert not [word for word in GIVEN.values() if word in shown], name


def test_profiles_are_documented_at_the_top() -> None:
    profiles = {profile for service in SERVICES.values() for profile in service.get("profiles", ())}
    assert profiles == {"s3", "monitoring", "intake", "backup", "restore"}
    for profile in profiles:
        assert f"--profile {profile}" in HEAD
    assert {name for name, service in SERVICES.items() if not service.get("profiles")} == {
        *("valkey", "worker", "server", "inbox", "api", "folders", "secrets"),
    }


def test_a_health_check_is_less_frequent_than_the_heartbeat() -> None:
    for service in OURS.values():
        assert int(service["healthcheck"]["timeout"].removesuffix("s")) >= 2 * heartbeat.BEAT_S


def test_the_example_of_env_names_every_variable_that_compose_reads() -> None:
    """tests/unit/test_readme.py checks that its second part is current."""
    text = env_example.PATH.read_text(encoding="utf-8")
    names = re.findall(r"^#([A-Z_0-9]+)=", text, re.MULTILINE)
    assert not re.findall(r"^[^#\n]", text, re.MULTILINE), "a copy without changes changes nothing"
    assert len(set(names)) == len(names)
    assert set(names) - {"COMPOSE_PROFILES"} == set(env_example.variables())


def test_the_example_of_env_can_be_used_as_a_whole() -> None:
    """Every value is valid: uncommenting a line without a change breaks nothing."""
    text = env_example.PATH.read_text(encoding="utf-8")
    given = dict(re.findall(r"^#([A-Z_0-9]+)=(.+)$", text, re.MULTILINE))
    profiles = {profile for service in SERVICES.values() for profile in service.get("profiles", ())}
    assert set(given["COMPOSE_PROFILES"].split(",")) <= profiles - {"restore"}
    # A key and the secrets of a real service are placeholders.
    made = compose.load(given)["services"]
    for name in OURS:
        load({key: value for key, value in made[name]["environment"].items() if not key.endswith("_FILE")})


# -- copies and alerts -------------------------------------------------------------------------------------------------


def test_backup_and_restore_use_the_data_of_valkey() -> None:
    backup, restore = SERVICES["backup"], SERVICES["restore"]
    assert backup["environment"]["QUEUE"] == restore["environment"]["QUEUE"] == "valkey:6379"
    assert {"valkey:/data", "./backups:/backups:ro"} <= set(restore["volumes"])
    assert "./backups:/backups" in backup["volumes"]
    assert backup["user"] == restore["user"] == SERVICES["valkey"]["user"] == SERVICES["backup-folder"]["entrypoint"][1]
    # Versions of Valkey have different file formats.
    assert {SERVICES[name]["image"] for name in ("backup", "restore", "backup-folder")} == {SERVICES["valkey"]["image"]}


def test_alerts_reach_the_notifier() -> None:
    config = read_yaml(ROOT / "deploy" / "prometheus" / "prometheus.yml")
    assert config["alerting"]["alertmanagers"] == [{"static_configs": [{"targets": ["alertmanager:9093"]}]}]
    assert ":9093/" in SERVICES["alertmanager"]["healthcheck"]["test"][-1]
    assert "ports" not in SERVICES["alertmanager"], "it has no login"
    routes = read_yaml(ROOT / "deploy" / "alertmanager" / "routes.yml")
    assert routes["route"]["receiver"] == "operator"
    alerts = read_yaml(ROOT / "deploy" / "prometheus" / "alerts.yml")["groups"][0]["rules"]
    severities = {rule["labels"]["severity"] for rule in alerts}
    named = set(re.findall(r'severity="([a-z]+)"', str(routes)))
    assert named <= severities
    sources = set(re.findall(r"Stt[A-Za-z]+", str(routes)))
    assert sources <= {rule["alert"] for rule in alerts}
