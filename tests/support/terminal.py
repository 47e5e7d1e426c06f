"""Runs a command in a terminal of a given size (a pty), and reads its screen as a person sees it.

The terminal emulator pyte interprets the escape sequences, so that tests compare rows of characters and not bytes.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pyte

ROOT = Path(__file__).parents[2]
# Makes standard input the controlling terminal of its session, and runs another program. Without a controlling
# terminal, the kernel sends no signals, such as SIGINT for Ctrl-C.
_TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)


class Terminal:
    """A running command and its screen. Create it with `terminal`."""

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int, columns: int, rows: int) -> None:
        self.process = process
        self._descriptor = descriptor
        self._screen = pyte.HistoryScreen(columns, rows, history=10_000, ratio=1.0)
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()
        self.raw = b""
        """Everything that the command has written."""
        self.all_rows: dict[str, None] = {}
        """Every row that the screen has shown, in order: a test on a busy machine may look too late for a short one."""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with suppress(OSError):  # the command has ended, so the pty has no other side
            while block := os.read(self._descriptor, 65_536):
                with self._lock:
                    self.raw += block
                    self._stream.feed(block)
                    self.all_rows.update(dict.fromkeys(_row(x, self._screen.columns) for x in _lines(self._screen)))

    @property
    def rows(self) -> list[str]:
        """The rows of the screen, without spaces at their end. A wide character is one character of the row."""
        with self._lock:
            return [_row(line, self._screen.columns) for line in _lines(self._screen)]

    def has_shown(self, pattern: str) -> bool:
        """Return whether any row, now or earlier, matches a regular expression."""
        with self._lock:
            return any(re.search(pattern, row) for row in self.all_rows)

    @property
    def text(self) -> str:
        """Everything above the screen and on it, without empty rows."""
        with self._lock:
            above = [_row(line, self._screen.columns) for line in self._screen.history.top]
            return "\n".join(
                row for row in [*above, *(_row(x, self._screen.columns) for x in _lines(self._screen))] if row
            )

    def press(self, keys: str) -> None:
        os.write(self._descriptor, keys.encode())

    def resize(self, columns: int, rows: int) -> None:
        """Change the size of the terminal, as its user does by dragging the window."""
        with self._lock:
            self._screen.resize(rows, columns)
            _set_size(self._descriptor, columns, rows)

    def wait(self, timeout_s: float = 60.0) -> int:
        """Wait for the end of the command and of its output. Returns its exit code."""
        code = self.process.wait(timeout_s)
        self._reader.join(5)
        return code


def _lines(screen: pyte.Screen) -> list[Mapping[int, pyte.screens.Char]]:
    return [screen.buffer[row] for row in range(screen.lines)]


def _row(line: Mapping[int, pyte.screens.Char], columns: int) -> str:
    return "".join(line[column].data for column in range(columns)).rstrip()


def _set_size(descriptor: int, columns: int, rows: int) -> None:
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


@contextmanager
def terminal(
    *arguments: str, folder: Path, environment: Mapping[str, str], columns: int = 80, rows: int = 24
) -> Iterator[Terminal]:
    """Run `stt-batch` with `arguments` in a terminal, and kill it at the end of the context."""
    ours, theirs = pty.openpty()
    _set_size(theirs, columns, rows)
    inherited = {
        k: v for k, v in os.environ.items() if not k.startswith("STT_") and k not in ("NO_COLOR", "COLUMNS", "LINES")
    }
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _TAKE_TERMINAL, sys.executable, "-P", "-m", "tasks.cli", *arguments],
        cwd=folder,
        env={**inherited, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8", **environment},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown = Terminal(process, ours, columns, rows)
    try:
        yield shown
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
        shown.wait(10)
        os.close(ours)
