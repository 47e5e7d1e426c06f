"""The scripts of `stt-batch completion` in real shells: commands, options, their values, and file names."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.node_env import missing
from tests.support.wait import wait_until

ROOT = Path(__file__).parents[2]
CASES = [
    ("stt-batch sta", "status"),
    ("stt-batch run --preset netflix-z", "netflix-zh-hant"),
    ("stt-batch completion f", "fish"),
    ("stt-batch run --format json,te", "json,textgrid"),
    ("stt-batch run ca", "call.wav"),
    ("stt-batch export fo", "folder"),
    ("stt-batch plan 粵", "粵語.wav"),
]


def shell(name: str) -> str:
    """Return the path of a shell."""
    found = shutil.which(name)
    if found is None:
        missing(f"{name} is not installed (Debian, Ubuntu: apt install {name})")
    return found


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with some files, and with `stt-batch` in its `bin`."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "stt-batch"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m tasks.cli "$@"\n')
    program.chmod(0o755)
    for file in ("call.wav", "粵語.wav"):
        (tmp_path / file).touch()
    (tmp_path / "folder").mkdir()
    return tmp_path


def environment(home: Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("STT_")}
    path = f"{home / 'bin'}:{os.environ['PATH']}"
    places = {"PATH": path, "HOME": str(home), "ZDOTDIR": str(home), "PYTHONPATH": str(ROOT)}
    return {**inherited, **places, "LC_ALL": "C.UTF-8", "TERM": "dumb", "STT_CONFIG": "none"}


def run(home: Path, *command: str) -> str:
    done = subprocess.run(
        command, cwd=home, env=environment(home), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def script(home: Path, name: str) -> Path:
    place = home / f"{name}-completion" / "_stt-batch"
    place.parent.mkdir()
    place.write_text(run(home, "stt-batch", "completion", name))
    return place


def bash(home: Path) -> Callable[[str], str]:
    """Complete with the function that bash calls for a press of Tab."""
    source, program = script(home, "bash"), shell("bash")
    words = "COMP_WORDS=($0); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))"
    calls = f'{words}; _stt_batch_completion stt-batch; printf "%s\\n" "${{COMPREPLY[@]}}"'
    # For a file name, the function asks bash to complete the name itself.
    files = 'compopt() { [ "$2" = default ] && compgen -f -- "${COMP_WORDS[COMP_CWORD]}"; }'
    return lambda line: run(home, program, "-c", f". {source}\n{files}\n{calls}", line)


def fish(home: Path) -> Callable[[str], str]:
    source, program = script(home, "fish"), shell("fish")
    return lambda line: run(home, program, "--no-config", "-c", f"source {source}; complete -C '{line}'")


def zsh(home: Path) -> Callable[[str], str]:
    """Type the beginning of a line and Tab into an interactive shell, and read the line that zsh then shows."""
    source, program = script(home, "zsh"), shell("zsh")
    (home / ".zshrc").write_text(
        f"PROMPT='ready> '\nunsetopt beep zle_bracketed_paste prompt_cr prompt_sp\nfpath=({source.parent} $fpath)\n"
        "autoload -Uz compinit\ncompinit -u -D\n"
        "report() { print -r -- \"[$BUFFER]\"; }\nzle -N report\nbindkey '^R' report\n"
    )

    def complete(line: str) -> str:
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [program, "-i"], cwd=home, env=environment(home), stdin=theirs, stdout=theirs, stderr=theirs,
            start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        shown = b""

        def shows(text: str) -> bool:
            nonlocal shown
            while select.select([ours], [], [], 0)[0]:
                shown += os.read(ours, 65_536)
            return text in shown.decode("utf-8", "replace")

        try:
            wait_until(lambda: shows("ready> "), "the shell is ready", timeout_s=60)
            # zsh reads the keys in order, so ^R reports the line after the completion.
            os.write(ours, f"{line}\t\x12".encode())
            wait_until(lambda: shows("]"), "the line is completed", timeout_s=60)
            return shown.decode()
        finally:
            process.kill()
            process.wait(10)
            os.close(ours)

    return complete


@pytest.mark.matrix
@pytest.mark.parametrize("of_shell", [bash, zsh, fish])
def test_a_shell_completes_commands_options_values_and_files(
    home: Path, of_shell: Callable[[Path], Callable[[str], str]]
) -> None:
    complete = of_shell(home)
    assert {line: wanted for line, wanted in CASES if wanted not in complete(line)} == {}


@pytest.mark.matrix
def test_fish_shows_descriptions_with_commas(home: Path) -> None:
    assert "Queue files, folders, manifests and addresses" in fish(home)("stt-batch sub")
