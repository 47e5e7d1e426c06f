"""The command `stt-batch intake`, which takes jobs from the intake streams without transcribing them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import click

from tasks.cli import options
from worker.end_signals import end_signals
from worker.settings import Settings

STOP_S: Final = 5.0
"""Maximum seconds from SIGTERM to the end of the process, even while a thread reads a file or resolves a host name."""


@click.command(short_help="Take jobs from the intake stream (every worker does this too).")
@options.log_level
@click.option("--ready-file", type=click.Path(path_type=Path), hidden=True)
def command(ready_file: Path | None, **given: Any) -> None:
    """Check the entries of the stream `stt:intake` and queue their jobs, until SIGTERM.

    Every `stt-batch worker` does this as well. Use this command on a machine that can read the audio files but does not
    transcribe.

    \b
    Examples:
      stt-batch intake
      redis-cli XADD stt:intake '*' job '{"source": "/audio/call.wav"}'
    """
    from tasks.observability import log_setup  # noqa: PLC0415

    settings = options.settings_from(warn=False, **given)
    log_setup.set_up(settings)
    log_setup.warn_of_unknown_variables(os.environ)
    asyncio.run(_serve(settings, (lambda: None) if ready_file is None else ready_file.touch))


async def _serve(settings: Settings, on_ready: Callable[[], object]) -> None:
    from tasks.background.health_and_metrics import Monitor  # noqa: PLC0415
    from tasks.background.intake import serve  # noqa: PLC0415
    from tasks.exit_despite_threads import leave_soon  # noqa: PLC0415

    await _check_redis(settings)
    monitor = Monitor(settings)
    work = asyncio.gather(serve(settings), monitor.run())
    stopping: list[bool] = []

    def stop() -> None:
        if stopping:  # a second signal must not cancel the clean-up
            return
        stopping.append(True)
        monitor.stop("it is shutting down")
        monitor.write_stopping()
        work.cancel()
        leave_soon(0, STOP_S)

    for number in end_signals():
        asyncio.get_running_loop().add_signal_handler(number, stop)
    on_ready()
    try:
        with suppress(asyncio.CancelledError):
            await work
    finally:
        monitor.close()


async def _check_redis(settings: Settings) -> None:
    """Raise SettingsError if the server is of an unsupported kind, such as a Redis Cluster. An unreachable server is no
    error here, because the intake waits for it."""
    from worker.errors import LedgerUnavailable  # noqa: PLC0415
    from worker.ledger.connection import RedisConnection  # noqa: PLC0415

    connection = RedisConnection(settings.redis_url, retries=0)
    try:
        with suppress(LedgerUnavailable):
            await connection.call(lambda redis: redis.ping())
    finally:
        await connection.close()
