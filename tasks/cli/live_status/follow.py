"""Shows snapshots until the work has ended or the user closes the view: full screen on a terminal, lines elsewhere."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from rich.console import Console
from rich.live import Live

from tasks.cli.live_status.reading import SnapshotReader, Target
from tasks.cli.live_status.snapshot import Snapshot
from tasks.cli.live_status.view import picture
from tasks.cli.terminal_output import echo_json
from worker.errors import LedgerUnavailable
from worker.settings import Settings

try:
    import termios
    import tty
except ImportError:  # on Windows, where the view has no keys
    termios = None  # type: ignore[assignment]

PAUSE_S: Final = (1.0, 60.0)
"""Shortest and longest pause between two queries, in seconds. The pause is ten times the duration of the last query,
because a query of 10,000 jobs is expensive."""
SIZE_POLL_S: Final = 0.1
_CLOSE_KEYS: Final = b"qQ\x04"

Lines = Callable[[Snapshot], list[str]]
Document = Callable[[Snapshot], dict[str, Any]]


async def follow(settings: Settings, target: Target, *, lines: Lines, document: Document | None) -> None:
    """Show the work of `target`. `lines`: a snapshot as lines of Rich markup, for files, pipes and the end of the view.
    `document`: a snapshot as JSON, or None to print text. Raises BadJob, LedgerUnavailable."""
    reader = SnapshotReader(settings, target)
    console = Console(highlight=False, quiet=document is not None)
    try:
        target = await reader.complete()
        if document is not None:
            await _print_documents(reader, target, document)
        elif console.is_terminal and not console.is_dumb_terminal:
            last = await _show(reader, target, console)
            console.print("\n".join(lines(last)), soft_wrap=True)
        else:
            await _print_changes(reader, target, console, lines)
    finally:
        with suppress(LedgerUnavailable):
            await reader.close()


def _ended(shot: Snapshot, target: Target) -> bool:
    """Whether nothing is left to show. A queue never ends."""
    return target.identity is not None and all(batch.state in ("done", "failed") for batch in shot.batches)


def _pause_s(took_s: float) -> float:
    return min(PAUSE_S[1], max(PAUSE_S[0], 10 * took_s))


async def _read_all(reader: SnapshotReader, target: Target) -> AsyncIterator[Snapshot]:
    """Yield snapshots until the work has ended. The Valkey of a run ends with the run."""
    first = True
    while True:
        started = time.monotonic()
        try:
            shot = await reader.read()
        except LedgerUnavailable:
            if target.run and not first:
                return
            raise
        first = False
        yield shot
        if _ended(shot, target):
            return
        await asyncio.sleep(_pause_s(time.monotonic() - started))


async def _print_documents(reader: SnapshotReader, target: Target, document: Document) -> None:
    async for shot in _read_all(reader, target):
        echo_json(document(shot), indent=None)


async def _print_changes(reader: SnapshotReader, target: Target, console: Console, lines: Lines) -> None:
    before: list[str] = []
    async for shot in _read_all(reader, target):
        if (now := lines(shot)) != before:
            console.print("\n".join(now), soft_wrap=True)
        before = now


async def _show(reader: SnapshotReader, target: Target, console: Console) -> Snapshot:
    """Show the full-screen view. Returns the last snapshot."""
    shot, problem = await reader.read(), ""
    closed, loop = asyncio.Event(), asyncio.get_running_loop()
    with Live(console=console, screen=True, auto_refresh=False) as live:

        def draw() -> None:
            live.update(picture(shot, console.width, console.height, problem=problem), refresh=True)

        with _keys(loop, closed), _resized(loop, console, draw):
            draw()
            pause_s = PAUSE_S[0]
            while not _ended(shot, target) and not await _is_set_within(closed, pause_s):
                started = time.monotonic()
                try:
                    shot, problem = await _read_unless_closed(reader, closed) or shot, ""
                except LedgerUnavailable as exc:
                    if target.run:  # its Valkey ends with the run
                        break
                    problem = str(exc)
                draw()
                pause_s = _pause_s(time.monotonic() - started)
    return shot


async def _read_unless_closed(reader: SnapshotReader, closed: asyncio.Event) -> Snapshot | None:
    """Read the current state. Returns None at once if the user closes the view meanwhile, because Redis may hang."""
    reading, closing = asyncio.create_task(reader.read()), asyncio.create_task(closed.wait())
    try:
        await asyncio.wait((reading, closing), return_when=asyncio.FIRST_COMPLETED)
        return reading.result() if reading.done() else None
    finally:
        reading.cancel()
        closing.cancel()


async def _is_set_within(event: asyncio.Event, seconds: float) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()


@contextmanager
def _keys(loop: asyncio.AbstractEventLoop, closed: asyncio.Event) -> Iterator[None]:
    """Set `closed` when the user presses `q`. Without a terminal as standard input, there are no keys."""
    if termios is None or not sys.stdin.isatty():
        yield
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)

    def pressed() -> None:
        keys = os.read(descriptor, 64)
        if not keys or any(key in _CLOSE_KEYS for key in keys):
            closed.set()

    loop.add_reader(descriptor, pressed)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


@contextmanager
def _resized(loop: asyncio.AbstractEventLoop, console: Console, draw: Callable[[], None]) -> Iterator[None]:
    """Draw the view again when the size of the terminal changes.

    The size is polled. The signal SIGWINCH does not exist on Windows, and a process may inherit it blocked.
    """
    size = console.size

    async def poll() -> None:
        nonlocal size
        while True:
            await asyncio.sleep(SIZE_POLL_S)
            if console.size != size:
                size = console.size
                draw()

    task = loop.create_task(poll())
    try:
        yield
    finally:
        task.cancel()
