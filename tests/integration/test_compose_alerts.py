"""The service `alertmanager` of docker-compose.yml, as a local process: alerts reach a webhook and a mail server."""

from __future__ import annotations

import base64
import json
import urllib.request
from pathlib import Path

import pytest
import yaml

from tests.support.compose_run import LocalCompose, Running
from tests.support.mail_server import mail_server
from tests.support.node_env import missing
from tests.support.prometheus import Prometheus
from tests.support.receiver import receiver
from tests.support.wait import wait_until

MAIL = {"ALERT_MAIL_TO": "ops@example.org", "ALERT_MAIL_FROM": "stt@example.org"}
TOKEN = "x'y\"#: z"
"""A secret with characters that have a meaning in YAML."""


def stack_with(folder: Path, **environ: str) -> LocalCompose:
    made = LocalCompose(folder, environ)
    if not (made.programs / "alertmanager").exists():
        missing("Alertmanager is not installed (Debian: apt install prometheus-alertmanager)")
    return made


def up(stack: LocalCompose) -> Running:
    """Start the service. Its health check calls the program wget, which the image has."""
    made = stack.start("alertmanager")
    assert made.check[-1].endswith(f":{stack.ports['alertmanager']}/-/healthy")

    def healthy() -> bool:
        assert made.process.poll() is None, made.text()
        try:
            with urllib.request.urlopen(made.check[-1], timeout=10) as answer:  # noqa: S310  our own
                return bool(answer.status == 200)
        except OSError:
            return False

    wait_until(healthy, "Alertmanager is healthy", timeout_s=30, poll_s=0.2)
    return made


def configuration(made: Running) -> dict[str, object]:
    found = yaml.safe_load((made.log.parent / "tmp" / "alertmanager.yml").read_text())
    assert isinstance(found, dict)
    return found


@pytest.mark.chaos
def test_every_kind_of_receiver_is_configured(tmp_path: Path) -> None:
    """Alertmanager itself reads the configuration: it would not start otherwise."""
    stack = stack_with(
        tmp_path,
        **{**MAIL, "ALERT_MAIL_HOST": "smtp.example:587", "ALERT_MAIL_USER": "o'stt", "ALERT_MAIL_PASSWORD": TOKEN},
        ALERT_WEBHOOK_URL="https://hooks.example/a?token=1'2",
        ALERT_SLACK_URL="https://hooks.slack.example/services/T/B/1",
    )
    try:
        made = up(stack)
        (found,) = configuration(made)["receivers"]  # type: ignore[misc]
        assert found["webhook_configs"][0]["url"] == "https://hooks.example/a?token=1'2"
        assert found["slack_configs"][0]["api_url"].endswith("/T/B/1")
        (mail,) = found["email_configs"]
        assert (mail["auth_username"], mail["auth_password"], mail["require_tls"]) == ("o'stt", TOKEN, True)
        assert TOKEN not in made.text() + str(made.environ)
        assert made.stop() == 0
    finally:
        stack.close()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"ALERT_MAIL_TO": "a@example.org", "ALERT_MAIL_HOST": "smtp.example:587"}, "ALERT_MAIL_FROM"),
        ({**MAIL, "ALERT_MAIL_HOST": "smtp.example"}, "ALERT_MAIL_HOST"),
        ({**MAIL, "ALERT_MAIL_HOST": "smtp.example:25", "ALERT_MAIL_TLS": "no"}, "ALERT_MAIL_TLS"),
    ],
)
def test_incomplete_settings_are_refused(tmp_path: Path, given: dict[str, str], named: str) -> None:
    stack = LocalCompose(tmp_path, given)
    try:
        made = stack.start("alertmanager")
        assert made.process.wait(20) == 1
        assert "Alertmanager is not started" in made.text()
        assert named in made.text()
    finally:
        stack.close()


@pytest.mark.chaos
def test_without_a_receiver_it_starts_and_says_so(tmp_path: Path) -> None:
    stack = stack_with(tmp_path)
    try:
        assert "no receiver for alerts: set ALERT_WEBHOOK_URL" in up(stack).text()
    finally:
        stack.close()


@pytest.mark.chaos
def test_a_complete_configuration_replaces_the_variables(tmp_path: Path) -> None:
    own = tmp_path / "own.yml"
    own.write_text("route: {receiver: mine}\nreceivers: [{name: mine}]\n")
    stack = stack_with(tmp_path, ALERT_CONFIG_FILE=str(own), ALERT_WEBHOOK_URL="https://hooks.example/a")
    try:
        up(stack)
        url = f"http://127.0.0.1:{stack.ports['alertmanager']}/api/v2/receivers"
        with urllib.request.urlopen(url, timeout=10) as answer:
            assert json.load(answer) == [{"name": "mine"}]
    finally:
        stack.close()


@pytest.mark.chaos
def test_an_alert_of_prometheus_reaches_the_webhook_and_the_mail_server(tmp_path: Path) -> None:
    """No worker runs, so SttNoWorker fires. It reaches the receivers after the group's 10 s."""
    with receiver(tmp_path) as hook, mail_server() as mails:
        stack = stack_with(
            tmp_path,
            **{**MAIL, "ALERT_MAIL_HOST": mails.address, "ALERT_MAIL_TLS": "false"},
            **{"ALERT_MAIL_USER": "stt", "ALERT_MAIL_PASSWORD": TOKEN, "ALERT_WEBHOOK_URL": f"{hook.url}/ok"},
        )
        try:
            made = up(stack)
            Prometheus(stack, workers=[], servers=[], alert_at_once=True)
            wait_until(hook.requests, "the webhook gets the alert", timeout_s=180, poll_s=0.3)
            body = json.loads(hook.requests()[0]["body"])
            assert body["status"] == "firing"
            alerts = {alert["labels"]["alertname"]: alert for alert in body["alerts"]}
            assert "No worker answers" in alerts["SttNoWorker"]["annotations"]["summary"]
            wait_until(lambda: mails.messages, "the mail server gets the alert", timeout_s=180, poll_s=0.3)
            assert "To: ops@example.org" in mails.messages[0]
            assert "SttNoWorker" in str(mails.messages)
            (login,) = [command.split()[2] for command in mails.commands if command.startswith("AUTH")][:1]
            assert base64.b64decode(login).decode().split("\0")[1:] == ["stt", TOKEN]
            assert TOKEN not in made.text()
        finally:
            stack.close()
