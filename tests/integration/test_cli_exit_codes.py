"""A command that has used an object store ends with its own exit code, even on a busy machine."""

from __future__ import annotations

import subprocess
import sys

import pytest

_SCRIPT = """
import sys, threading
from tasks.cli import exit_codes
end = exit_codes.ExitHook()
import atexit
atexit.register(lambda: print("the last to say something", flush=False))
{loaded}
threading.Thread(target=lambda: (__import__("time").sleep(0.2), print("a thread that is waited for"))).start()
try:
    sys.exit({code})
except SystemExit as exc:
    end.code = exc.code
    raise
"""


@pytest.mark.parametrize("loaded", ["", "import obstore"])
@pytest.mark.parametrize("code", [0, 2, 130])
def test_other_exit_handlers_run_and_the_exit_code_is_preserved(loaded: str, code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT.format(loaded=loaded, code=code)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (code, "")
    assert done.stdout == "a thread that is waited for\nthe last to say something\n"


def test_an_uncaught_error_ends_with_1() -> None:
    script = (
        "from tasks.cli import exit_codes; end = exit_codes.ExitHook(); import obstore; raise OSError('not caught')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "not caught" in done.stderr
