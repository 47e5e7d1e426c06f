"""Starts and stops the self-hosted real-time service (aiohttp, python-socketio and the recognizer)."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final, cast

import structlog
import uvloop
from aiohttp import web

from worker.end_signals import end_signals
from worker.errors import EndpointUnavailable
from worker.realtime import messages
from worker.realtime.session_recording import Entry
from worker.server import auth, recognizers
from worker.server.fault_options import Fault, FaultSchedule
from worker.server.health_routes import health_application
from worker.server.http_endpoint import HttpEndpoint, close_unauthenticated
from worker.server.recognition_engine import EngineLoader
from worker.server.recognizers import Recognizer, RecognizerLoader
from worker.server.replay_session import NoRecognizer
from worker.server.socketio_connections import SocketIoConnections
from worker.server.socketio_server import SocketIoServer, create_socketio_server
from worker.server.tcp_connection_limits import TcpConnections, limits_for
from worker.server.websocket_frames import check_frames
from worker.settings import Settings

_log = structlog.get_logger("worker.server")

# Connections allowed for each session of STT_SERVER_MAX_SESSIONS: some connections have no session (yet or any more).
_CONNECTIONS_PER_SESSION: Final = 4
# aiohttp waits this long for open connections. Before that, each websocket is closed: without both, a shutdown with an
# open websocket took 45 s.
_CLOSE_TIMEOUT_S: Final = 0.2


class RunningServer:
    """A server that listens on `url`. `ready` waits for the recognizer; `close` stops the server within 2 s."""

    def __init__(
        self,
        settings: Settings,
        sio: SocketIoServer,
        runner: web.AppRunner,
        sockets: SocketIoConnections,
        loader: EngineLoader,
        connections: TcpConnections,
        endpoint: HttpEndpoint,
        port: int,
    ) -> None:
        self._sio = sio
        self._runner = runner
        self._sockets = sockets
        self._loader = loader
        self._connections = connections
        self._endpoint = endpoint
        self._watching = asyncio.create_task(sockets.watch())
        self._closing: asyncio.Task[None] | None = None
        self.port = port
        self.url = f"http://{_reachable(settings.server_host)}:{self.port}"

    @property
    def sessions(self) -> int:
        """Number of open sessions."""
        return len(self._sockets.sessions)

    @property
    def backlog_s(self) -> float:
        """Seconds of audio that wait for recognition, in all sessions together."""
        return sum(session.backlog.total_s for session in self._sockets.sessions)

    @property
    def problem(self) -> str | None:
        """Why the server cannot serve sessions now, or None."""
        return self._loader.problem

    async def ready(self) -> None:
        """Wait until the recognizer is loaded. Raises RecognizerError or SettingsError if loading failed."""
        await self._loader.ready()

    async def close(self) -> None:
        """End all sessions, close the connections and stop listening. A second call waits for the first one."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        # Without the shield, a cancelled caller would stop the shutdown halfway, for all callers.
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        # The order matters: refuse new connections, then end the sessions, then close the engine that they use.
        self._connections.stop_listening()
        self._watching.cancel()
        await asyncio.gather(self._watching, return_exceptions=True)
        await self._sockets.close()
        self._connections.drop_unauthenticated()
        await self._loader.close()
        await self._sio.shutdown()
        await self._runner.cleanup()
        _log.info("stopped", url=self.url)


async def start(
    settings: Settings,
    recognizer: Recognizer | RecognizerLoader,
    faults: Iterable[Fault] = (),
    recordings: Sequence[Sequence[Entry]] = (),
) -> RunningServer:
    """Start a server on the address of the settings, without waiting for its recognizer.

    If `recognizer` is a function, it is called in the background to load the recognizer. Handshakes wait until the
    recognizer is loaded. If loading fails, handshakes get HTTP 500 with the reason. The server closes only a recognizer
    that it loaded itself. `recordings`: recorded sessions that are played back; then no audio is recognized. Raises
    SettingsError if no API key is set, and EndpointUnavailable if the server cannot listen on the address.
    """
    accepted = auth.accepted_keys(settings)
    schedule = FaultSchedule(faults)
    sio = create_socketio_server()
    check_frames(sio)
    loader = EngineLoader(settings, recognizer)
    max_sockets = settings.server_max_sessions * _CONNECTIONS_PER_SESSION
    connections = TcpConnections(limits_for(max_sockets))
    sockets = SocketIoConnections(sio, settings, loader, schedule, accepted, connections, recordings)
    endpoint = HttpEndpoint(sio, sockets, loader, accepted, schedule, connections, max_sockets)
    app = health_application(sockets, loader, settings)
    # Socket.IO clients add a slash to the end of the path, unless they are configured not to.
    for path in (messages.PATH, messages.PATH + "/"):
        app.router.add_route("*", path, endpoint.handle)
    app.on_response_prepare.append(close_unauthenticated(connections))
    runner = web.AppRunner(app, shutdown_timeout=_CLOSE_TIMEOUT_S)
    await runner.setup()
    try:
        port = await connections.listen(cast(web.Server, runner.server), settings.server_host, settings.server_port)
    except OSError as exc:
        await loader.close()
        await runner.cleanup()
        raise EndpointUnavailable(
            f"cannot listen on {settings.server_host}:{settings.server_port}: {exc.strerror or exc}; "
            "choose another STT_SERVER_HOST or STT_SERVER_PORT (0 picks a free port)"
        ) from exc
    server = RunningServer(settings, sio, runner, sockets, loader, connections, endpoint, port)
    _log.info("listening", url=server.url)
    return server


SideTask = Callable[[RunningServer], Coroutine[Any, Any, None]]


def run(
    settings: Settings,
    on_ready: Callable[[str], None] | None = None,
    faults: Iterable[Fault] = (),
    side_task: SideTask | None = None,
    recordings: Sequence[Sequence[Entry]] = (),
    load: RecognizerLoader | None = None,
) -> None:
    """Serve until SIGTERM, SIGINT, SIGQUIT or SIGHUP. Blocks. Logs to standard error unless structlog is configured.

    `on_ready` is called once with the server's URL, when sessions can be served. `side_task` runs on the server's event
    loop from the time the server listens until it stops. `recordings`: as for `start`. `load`: a function that returns
    the recognizer; by default it is loaded here. Raises SettingsError, EndpointUnavailable or RecognizerError if the
    service cannot start.
    """
    if not structlog.is_configured():
        # structlog's own tracebacks show the values of variables, such as keys, and take seconds of CPU time.
        renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        processors = [*structlog.get_config()["processors"][:-1], renderer]
        structlog.configure(processors, logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, on_ready, faults, side_task, recordings, load))


async def _serve(
    settings: Settings,
    on_ready: Callable[[str], None] | None,
    faults: Iterable[Fault],
    side_task: SideTask | None,
    recordings: Sequence[Sequence[Entry]],
    load: RecognizerLoader | None,
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in end_signals():
        loop.add_signal_handler(number, stop.set)
    recognizer = NoRecognizer() if recordings else load or (lambda: recognizers.load(settings))
    server = await start(settings, recognizer, faults, recordings)
    stopped = asyncio.create_task(stop.wait())
    ready = asyncio.create_task(server.ready())
    more = [asyncio.create_task(side_task(server))] if side_task is not None else []
    try:
        # The download of a model may take minutes: SIGTERM must end the process during that time, too.
        await asyncio.wait({stopped, ready}, return_when=asyncio.FIRST_COMPLETED)
        if not stopped.done():
            ready.result()
            if on_ready is not None:
                on_ready(server.url)
            await stopped
    finally:
        for task in (stopped, ready, *more):
            task.cancel()
        await asyncio.gather(stopped, ready, *more, return_exceptions=True)
        await server.close()


def _reachable(host: str) -> str:
    """Return the host for a URL with which this machine can reach a server that listens on `host`."""
    if host in ("", "0.0.0.0"):  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    if host == "::":
        return "[::1]"
    return f"[{host}]" if ":" in host else host
