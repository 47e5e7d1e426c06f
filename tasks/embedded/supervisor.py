"""Runs one command and ends it when the process that started it has ended, even after kill -9.

    python -I -S supervisor.py GRACE_S ORPHAN_S COMMAND...

Standard input is a pipe from the starting process. To end the command, the starting process writes one word and closes
the pipe. `stop`: the command gets SIGTERM, and SIGKILL `GRACE_S` seconds later. `kill`: it gets SIGKILL at once. If the
pipe closes without a word, the starting process was killed; the command then continues for `ORPHAN_S` seconds, because
other children of the starting process may still use it, and is ended as with `stop`. On Linux the kernel kills the
command when the supervisor itself is killed.

The exit code is that of the command. Only the standard library is used, because the supervisor must start in
milliseconds.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time

_PR_SET_PDEATHSIG = 1
POLL_S = 0.05


def _die_with_parent() -> None:
    """Request that the kernel kills the child when the supervisor ends. Runs in the child before exec. The kernel
    watches only the thread that forked; this is sufficient, because the supervisor has only one thread."""
    import ctypes  # noqa: PLC0415

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main(arguments: list[str]) -> int:
    grace_s, orphan_s, command = float(arguments[0]), float(arguments[1]), arguments[2:]
    stop: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda caught, _frame: stop.append(caught))
    linux = sys.platform.startswith("linux")
    child = subprocess.Popen(  # noqa: S603  the command comes from tasks.embedded.stack
        command,
        stdin=subprocess.DEVNULL,
        preexec_fn=_die_with_parent if linux else None,  # noqa: PLW1509  one thread
        close_fds=False,
    )
    said = b""
    while child.poll() is None and not stop:
        readable, _, _ = select.select([0], [], [], POLL_S)
        if readable:
            word = os.read(0, 64)
            said += word
            if not word:
                break
    if child.poll() is None and b"kill" not in said:
        if not said and not stop:
            _wait(child, orphan_s)
        child.terminate()
        _wait(child, grace_s)
    if child.poll() is None:
        child.kill()
        child.wait()
    code = child.returncode
    return code if code >= 0 else 128 - code


def _wait(child: subprocess.Popen[bytes], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while child.poll() is None:
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.01)
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
