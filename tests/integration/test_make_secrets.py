"""deploy/make-secrets.sh gives each container of docker-compose.yml the secrets that it needs, and no others."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import redis

from tasks.embedded.valkey_binary import valkey_binary
from tests.support import compose
from tests.support.redis_server import answers, free_port
from tests.support.wait import wait_until
from tests.unit.test_compose import FILES, GIVEN, OURS, SERVICES
from worker.ledger.connection import RedisConnection
from worker.settings import load
from worker.webhooks.http_post import signing_keys

ROOT = Path(__file__).resolve().parents[2]

# Service -> the secrets it needs, by the names of their files.
NEEDED = {
    "valkey": {"password", "quoted_password"},
    "server": {"api_keys"},
    "worker": {"redis_url", "api_key", "webhook_secret", "s3_secret"},
    "inbox": {"redis_url"},
    "intake": {"redis_url", "s3_secret"},
    "api": {"redis_url", "s3_secret", "http_keys"},
    "s3": {"s3_secret"},
    "grafana": {"password"},
    "flower": {"broker_url", "login"},
    "alertmanager": {"webhook_url", "slack_url", "mail_password"},
}
WITH_SECRETS_OF_VALKEY = {"valkey", "backup", "restore"}


def made_secrets(folder: Path, **environ: str) -> dict[str, dict[str, str]]:
    """Run the script. Returns the files of each service."""
    service = compose.load(environ)["services"]["secrets"]
    for volume in service["volumes"]:
        if volume.startswith("secrets-"):
            (folder / volume.rpartition("/")[2]).mkdir(exist_ok=True)
    environment = {**service["environment"], "PATH": os.environ["PATH"]}
    script = ["sh", str(ROOT / "deploy" / "make-secrets.sh"), str(folder)]
    subprocess.run(script, env=environment, check=True, timeout=30)
    return {service.name: {file.name: file.read_text() for file in service.iterdir()} for service in folder.iterdir()}


def test_each_container_gets_the_secrets_it_needs_and_no_other(tmp_path: Path) -> None:
    made = made_secrets(tmp_path)
    generated = made.pop("generated")
    assert {name: set(files) for name, files in made.items()} == NEEDED
    for name in NEEDED:
        mounted = [volume for volume in SERVICES[name]["volumes"] if volume.startswith("secrets-")]
        assert mounted == [f"secrets-{name}:/run/secrets:ro"]
    for name in WITH_SECRETS_OF_VALKEY:
        mounted = [volume for volume in SERVICES[name]["volumes"] if volume.startswith("secrets-")]
        assert mounted == ["secrets-valkey:/run/secrets:ro"]
    for name in set(SERVICES) - set(NEEDED) - WITH_SECRETS_OF_VALKEY - {"secrets"}:
        assert "secrets-" not in str(SERVICES[name])
    for name, service in compose.load(GIVEN)["services"].items():
        if name != "secrets":
            assert not [word for word in GIVEN.values() if word in str(service)], name
        assert "env_file" not in service
    assert SERVICES["secrets"]["network_mode"] == "none"
    values = list(generated.values())
    assert len(set(values)) == len(values), "each is another one"
    assert all(len(value) >= 64 for value in values)


def test_generated_secrets_stay_and_fit_each_other(tmp_path: Path) -> None:
    made = made_secrets(tmp_path)
    assert made_secrets(tmp_path) == made
    assert made["worker"]["redis_url"] == f"redis://:{made['valkey']['password']}@valkey:6379/0"
    assert made["flower"]["broker_url"] == made["inbox"]["redis_url"] == made["worker"]["redis_url"]
    assert made["server"]["api_keys"] == made["worker"]["api_key"]
    assert made["flower"]["login"] == f"admin:{made['grafana']['password']}"
    webhook = made["worker"]["webhook_secret"]
    assert signing_keys(load({"STT_WEBHOOK_SECRET": webhook}))
    other = tmp_path / "other"
    other.mkdir()
    assert made_secrets(other)["generated"] != made["generated"], "no default that everybody knows"


def test_given_secrets_win_and_are_taken_back(tmp_path: Path) -> None:
    before = made_secrets(tmp_path)
    made = made_secrets(tmp_path, **GIVEN)
    found = {value for files in made.values() for value in files.values()}
    assert set(GIVEN.values()) - {"pw-g", "pw-of-valkey"} <= found
    assert made["valkey"]["password"] == "pw-of-valkey"
    assert made["grafana"]["password"] == "pw-g"
    assert made_secrets(tmp_path) == before


HOSTILE = ["a b", "a'b\"c", "$(id)`id`", "@/:?#%&", "\\x41\\n", "*", "-n", "пароль", "%41", "{}", "a;b|c"]


@pytest.mark.parametrize("password", HOSTILE)
@pytest.mark.gate_sample(3)
def test_any_password_stays_one_word_everywhere(password: str, tmp_path: Path) -> None:
    made = made_secrets(tmp_path, VALKEY_PASSWORD=password, GRAFANA_PASSWORD=password)
    assert made["valkey"]["password"] == made["grafana"]["password"] == password
    url = made["worker"]["redis_url"]
    parts = urlsplit(url)
    assert (parts.hostname, parts.port, parts.path, unquote(parts.password or "")) == ("valkey", 6379, "/0", password)
    assert RedisConnection(url).address == "redis://valkey:6379/0"
    quoted = made["valkey"]["quoted_password"]
    assert re.fullmatch(r'"(\\x[0-9a-f]{2})+"', quoted)
    assert bytes.fromhex(quoted.strip('"').replace("\\x", "")).decode() == password


def test_valkey_takes_a_password_of_any_characters(tmp_path: Path) -> None:
    password = " ".join(HOSTILE)
    quoted = made_secrets(tmp_path, VALKEY_PASSWORD=password)["valkey"]["quoted_password"]
    line = next(line for line in " ".join(SERVICES["valkey"]["command"]).splitlines() if "requirepass" in line)
    assert line.split() == ["requirepass", "$(cat", "/run/secrets/quoted_password)"]
    port = free_port()
    command = [
        str(valkey_binary()),
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--dir",
        str(tmp_path),
        "-",
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        try:
            assert process.stdin is not None
            process.stdin.write(f"requirepass {quoted}\n".encode())
            process.stdin.close()
            wait_until(lambda: answers(port), "Valkey answers", timeout_s=10)
            with redis.Redis(port=port, password=password) as client:
                assert client.ping()
            with redis.Redis(port=port) as client, pytest.raises(redis.AuthenticationError):
                client.ping()
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, f"x{end}y") for name in GIVEN for end in ("\n", "\r", "\x1b", "\nuser default on nopass ~* +@all\n")),
        ("GRAFANA_PASSWORD", "a,admin:b"),
    ],
)
def test_a_value_that_would_be_several_is_refused_by_name(name: str, value: str, tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    for service in ("generated", *NEEDED):
        (folder / service).mkdir(parents=True)
    environment = {"PATH": os.environ["PATH"], "QUEUE": "valkey:6379", name: value}
    command = ["sh", str(ROOT / "deploy" / "make-secrets.sh"), str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{name}: must not contain")
    assert value not in done.stderr
    assert not [file for file in folder.glob("*/*") if file.is_file()]


def test_the_worker_gets_a_key_that_the_server_accepts(tmp_path: Path) -> None:
    made = made_secrets(tmp_path, STT_SERVER_API_KEYS="first-key, second-key")
    assert made["server"]["api_keys"] == "first-key, second-key"
    assert made["worker"]["api_key"] == "first-key"


def test_a_key_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from-a-file\n")
    service = compose.load({"STT_API_KEY_FILE": "/etc/stt/key"})["services"]["secrets"]
    assert "/etc/stt/key:/given/api_key:ro" in service["volumes"]
    folder = tmp_path / "secrets"
    for name in ("generated", *NEEDED):
        (folder / name).mkdir(parents=True)
    environment = {**service["environment"], "PATH": os.environ["PATH"], "API_KEY_FILE": str(tmp_path / "key")}
    subprocess.run(["sh", str(ROOT / "deploy" / "make-secrets.sh"), str(folder)], env=environment, check=True)
    assert (folder / "worker" / "api_key").read_text() == "from-a-file"


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"STT_URL": "https://cantonese.ai", "STT_API_KEY": "k", "SERVERS": "0"},
        {"STT_SPEED": "2", "STT_LOG_FORMAT": "console"},
    ],
)
@pytest.mark.gate_sample(3)
def test_its_settings_can_be_loaded(name: str, environ: dict[str, str], tmp_path: Path) -> None:
    service = compose.load(environ)["services"][name]
    (tmp_path / "secrets").mkdir()
    made = made_secrets(tmp_path / "secrets", **environ)[name]
    given = {k: str(v) for k, v in service["environment"].items()}
    for variable in FILES & set(given):
        (tmp_path / variable).write_text(made[given[variable].rpartition("/")[2]])
        given[variable] = str(tmp_path / variable)
    settings = load(given)
    if name == "worker":
        assert settings.api_key.get_secret_value() == (environ.get("STT_API_KEY") or made["api_key"])
        assert settings.url == environ.get("STT_URL", "http://server:8808")
    if name == "server":
        assert settings.server_api_keys.get_secret_value() == (environ.get("STT_API_KEY") or made["api_keys"])
