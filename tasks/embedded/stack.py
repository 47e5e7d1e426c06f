"""The embedded stack of `stt-batch run` and `stt-batch studio`: Valkey, the self-hosted service, a worker and, for
`studio`, the HTTP API, each as a child process.

All state is in `OUT/.stt-batch/` (OUT: the output folder): the lock, the append-only file of Valkey with the ledger,
the logs. Each process runs under a supervisor (`tasks.embedded.supervisor`), which ends it when this process has ended
for any reason. All processes are started at the same time.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from pathlib import Path
from secrets import token_urlsafe
from typing import Final, Self

from pydantic import SecretStr

from tasks.child_python import cli_command, python_path
from tasks.embedded import STATE_FOLDER
from tasks.embedded.child_process import POLL_S, Child
from tasks.embedded.disk_space_check import check_free_space
from tasks.embedded.recognizer_choice import check_recognizer
from tasks.embedded.valkey_binary import valkey_binary
from worker.errors import LedgerUnavailable, StackError
from worker.optional_modules import UNUSED_MODULES, without_modules
from worker.settings import Settings
from worker.settings_environment import as_environment

RESULT_TTL: Final = timedelta(days=365)
"""How long the ledger of a run stores finished jobs."""
START_TIMEOUT_S: Final = 180.0
"""An overloaded machine needs more than a minute. A process that ends instead of starting is reported at once."""
CONNECT_TIMEOUT_S: Final = 120.0
"""Seconds that a worker waits for a connection to the embedded service: the maximum of the setting."""
LOCK_TIMEOUT_S: Final = 6.0
"""Maximum seconds that a new run waits until the processes of a killed run have ended."""
GRACE_S: Final = 1.2
VALKEY_GRACE_S: Final = 2.0
ORPHAN_S: Final = 1.0
MAX_STARTS: Final = 3
"""Maximum number of attempts to start the stack. Each searches for free ports, and another program may take a port
before it is used."""


class Stack:
    """Async context manager that starts the processes and ends them. `stack.settings` have the addresses to connect to.

    Raises StackError if a process does not start, or if another run uses the folder. Raises SettingsError if the
    self-hosted service is needed but its recognizer is not installed.
    """

    def __init__(
        self,
        settings: Settings,
        out: Path,
        *,
        embedded_endpoint: bool,
        api: bool = False,
        on_loading: Callable[[str], None] = lambda _text: None,
    ) -> None:
        """`api`: also start the HTTP API with the console, for `stt-batch studio`. Jobs that an earlier stack has left
        then stay in the queue. `on_loading`: gets the parts that still have to start, as a text for people, when the
        start begins and each time a part is ready."""
        self._on_loading = on_loading
        self._loading: list[str] = []
        self.settings = settings
        self.folder = out / STATE_FOLDER
        self.embedded_endpoint = embedded_endpoint
        self._api = api
        self.api_key = ""
        """The key of the HTTP API, new at each start."""
        self.idle = False
        """The caller sets this to True when all jobs have ended. At the end, Valkey is then still shut down normally,
        but the other processes are killed, because no work is left."""
        self._children: list[Child] = []
        self._lock = -1
        if embedded_endpoint:
            check_recognizer(settings)

    async def __aenter__(self) -> Self:
        try:
            self._make_folder()
            check_free_space(self.folder)
            await self._take_lock()
            for attempt in range(1, MAX_STARTS + 1):
                try:
                    await self._start()
                    break
                except StackError as exc:
                    if attempt == MAX_STARTS or "in use" not in str(exc):
                        raise
                    await self._stop_children()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def check(self) -> None:
        """Check the disk and the processes. Raises StackError if the disk is full or if a process has ended. The error
        for an ended process contains the end of its log."""
        check_free_space(self.folder)
        for child in self._children:
            child.check()

    async def stop(self) -> None:
        """End all processes, Valkey last, so that the worker can still release its jobs. Takes up to 2 s."""
        await self._stop_children()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    # -- folder ----------------------------------------------------------------------------------------------------

    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            (self.folder / "valkey").mkdir(exist_ok=True, mode=0o700)
        except OSError as exc:
            raise StackError(
                f"{self.folder}: cannot be created ({exc.strerror}); choose another folder with --out"
            ) from exc

    async def _take_lock(self) -> None:
        """Lock the folder, so that only one run at a time uses it. Valkey inherits the lock; so a new run also waits
        until the Valkey of a killed run has ended."""
        path = self.folder / "lock"
        self._lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        deadline = asyncio.get_running_loop().time() + LOCK_TIMEOUT_S
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                holder = os.pread(self._lock, 100, 0).decode("ascii", "replace").strip()
                if _is_alive(holder) or asyncio.get_running_loop().time() > deadline:
                    raise StackError(
                        f"another run (process {holder or 'unknown'}) is writing to {self.folder.parent}; "
                        "wait for it, or choose another folder with --out"
                    ) from None
                await asyncio.sleep(0.1)
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)

    # -- processes -------------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        password, key = token_urlsafe(24), token_urlsafe(24)
        redis_port, server_port = free_ports(2)
        update: dict[str, object] = {
            "redis_url": f"redis://:{password}@127.0.0.1:{redis_port}/0",
            "result_ttl": RESULT_TTL,
            # A refused key ends the run with the reason. The key is not paused, because nobody could resume the queue
            # of a run later.
            "pause_refused_key": False,
            # A short timeout, so that Ctrl-C ends the run quickly.
            "close_timeout_s": min(self.settings.close_timeout_s, 0.8),
        }
        if self.embedded_endpoint:
            update |= {
                "url": f"http://127.0.0.1:{server_port}",
                "api_key": SecretStr(key),
                "server_api_keys": SecretStr(key),
                "server_host": "127.0.0.1",
                "server_port": server_port,
                # The worker plans its first files while the service loads its model, and connects before the end.
                "connect_timeout_s": max(self.settings.connect_timeout_s, CONNECT_TIMEOUT_S),
                "server_max_sessions": max(self.settings.server_max_sessions, self.settings.worker_sessions + 8),
            }
        if self._api:
            update |= self._api_settings()
        self.settings = self.settings.model_copy(update=update)
        environment = as_environment(self.settings) | {"PYTHONPATH": python_path(), "PYTHONUNBUFFERED": "1"}

        self._loading = ["the queue", "the worker"]
        waits: list[Awaitable[None]] = [self._ready("the queue", self._start_valkey(redis_port, password))]
        if self.embedded_endpoint:
            self._loading.insert(0, name := _recognizer_name(self.settings))
            waits.append(self._ready(name, self._start_python("server", environment, "--listening-file")))
        waits.append(self._ready("the worker", self._start_python("worker", environment)))
        if self._api:
            waits.append(self._start_python("api", environment))
        self._on_loading(f"loading {', '.join(self._loading)}")
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await _all(waits)
        except TimeoutError:
            logs = ", ".join(str(child.log) for child in self._children)
            raise StackError(
                f"{' and '.join(self._loading) or 'the API'} did not start within {START_TIMEOUT_S:g} s; run the same "
                f"command again when the machine is less busy, or see {logs}"
            ) from None

    def _api_settings(self) -> dict[str, object]:
        self.api_key, wanted = token_urlsafe(24), self.settings.http_port
        uploads = self.folder.parent.absolute() / "uploads"
        uploads.mkdir(exist_ok=True, mode=0o700)
        return {
            "http_host": "127.0.0.1",
            "http_port": wanted if is_free(wanted) else free_ports(1)[0],
            "http_keys": SecretStr(f"studio:operate:{self.api_key}"),
            "uploads": str(uploads),
            # The console shows a paused key, and can probe it.
            "pause_refused_key": self.settings.pause_refused_key,
        }

    @property
    def api_url(self) -> str:
        """The address of the HTTP API and its console."""
        return f"http://127.0.0.1:{self.settings.http_port}"

    async def _ready(self, part: str, wait: Awaitable[None]) -> None:
        await wait
        self._loading.remove(part)
        if self._loading:
            self._on_loading(f"loading {', '.join(self._loading)}")

    def _start_valkey(self, port: int, password: str) -> Awaitable[None]:
        binary = valkey_binary()
        conf = self.folder / "valkey.conf"
        descriptor = os.open(conf, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(
                f"bind 127.0.0.1\nport {port}\nrequirepass {password}\n"
                'dir "."\nappendonly yes\nappendfsync everysec\nsave ""\nmaxmemory-policy noeviction\n'
            )
        child = Child.start(
            "valkey",
            [str(binary), "../valkey.conf"],
            log=self.folder / "valkey.log",
            environment=os.environ,
            grace_s=VALKEY_GRACE_S,
            orphan_s=ORPHAN_S,
            cwd=self.folder / "valkey",
            pass_fds=(self._lock,),
        )
        self._children.append(child)
        return self._until_valkey(child)

    async def _until_valkey(self, child: Child) -> None:
        # Imported here: all processes have been started, and the import takes 0.15 s.
        with without_modules(*UNUSED_MODULES):
            from worker.ledger.ledger import Ledger  # noqa: PLC0415

        settings = self.settings
        ledger = Ledger(settings)
        try:
            while True:
                child.check()
                try:
                    await ledger.ping()
                    break
                except LedgerUnavailable:
                    await asyncio.sleep(POLL_S)
            if not self._api:
                # Remove messages of an earlier run, because this run sends its own.
                await ledger.clear_queue(settings.queue)
        finally:
            await ledger.close()

    def _start_python(
        self, command: str, environment: Mapping[str, str], option: str = "--ready-file"
    ) -> Awaitable[None]:
        """Start a command of this program. `option`: the option with the file that the command creates when it is
        ready."""
        ready = self.folder / f"{command}.ready"
        ready.unlink(missing_ok=True)
        child = Child.start(
            command,
            cli_command(command, option, str(ready.absolute())),
            log=self.folder / f"{command}.log",
            environment=environment,
            grace_s=GRACE_S,
        )
        self._children.append(child)
        return child.wait_until_ready(ready.exists)

    async def _stop_children(self) -> None:
        valkey = [child for child in self._children if child.name == "valkey"]
        others = [child for child in self._children if child.name != "valkey"]
        # Without work, the other processes are killed, so Valkey need not wait for their last writes.
        for group in ((*others, *valkey),) if self.idle else (others, valkey):
            for child in group:
                child.request_stop("kill" if self.idle and child in others else "stop")
            for child in group:
                await child.wait_ended()
        self._children.clear()


async def _all(waits: list[Awaitable[None]]) -> None:
    """Wait for all of `waits`. The first failure cancels the others and is raised unchanged, not in an
    ExceptionGroup."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _recognizer_name(settings: Settings) -> str:
    if settings.server_recognizer == "faster-whisper":
        return f"the model {settings.model}"
    return f"the recognizer {settings.server_recognizer}"


def _is_alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:  # the process exists, but belongs to another user
        return True
    return True


def free_ports(count: int) -> list[int]:
    """Find `count` free ports of the loopback interface."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def is_free(port: int) -> bool:
    """Whether a port of the loopback interface can be opened; False for port 0."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return port != 0


__all__ = ["Stack"]
