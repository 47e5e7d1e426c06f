"""The commands of the guides run in order, with recordings as the guides name them, and with a recognizer of tones.

They run in the test's process, which takes a tenth of the time of new processes. The commands of README.md and the
tutorial run as a reader runs them, in tests/integration/test_documentation.py.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
import redis
import soundfile

from tests.support import readme
from tests.support.command_line import Cli, cli, write_audio
from tests.support.fleet import KEY
from tests.support.readme import code_blocks, shell_commands
from tests.support.stand_in_workers import StandInWorkers
from tests.support.tones import encode, speech
from tests.support.trackfiles import RATE, TRACK_FILES, write_tracks
from tests.support.wait import wait_until

__all__ = ["cli"]
HERE = f"tests/integration/{Path(__file__).name}"
GUIDES = readme.SITE / "guides"


def commands(page: str, *words: str) -> list[list[str]]:
    """The commands of the page's blocks that this test runs and that contain all `words`."""
    blocks = [block for block in code_blocks(GUIDES / page) if (block.mark, block.reason) == ("run by", HERE)]
    found = [command for block in blocks for command in shell_commands(block.code)]
    return [command[1:] for command in found if set(words) <= set(command)]


@pytest.fixture
def folder(cli: Cli, service: str) -> Path:
    """The recordings that the guides name, and the address of a running service."""
    cli.environment |= {"STT_URL": service, "STT_API_KEY": KEY, "STT_SPEED": "max"}
    write_audio(cli.folder / "recordings" / "monday" / "call.wav")
    left, right = (encode(list(speech(3, seed=seed)), 16000, duration_s=4) for seed in (1, 2))
    (cli.folder / "calls").mkdir()
    soundfile.write(cli.folder / "calls" / "1.wav", np.stack([left, right], axis=1), 16000)
    write_audio(cli.folder / "meetings" / "1.wav")
    signals = [encode(list(speech(3, seed=seed)), RATE, duration_s=4).astype(np.float32) for seed in (1, 2)]
    kinds = {kind.ending: kind for kind in TRACK_FILES}
    for name in ("film.mkv", "session.mxf"):
        write_tracks(cli.folder / name, signals, kinds[name.rpartition(".")[2]])
    (glossary,) = (block for block in code_blocks(GUIDES / "folder.md") if block.code.startswith("heard,wanted"))
    (cli.folder / "names.csv").write_text(glossary.code, encoding="utf-8")
    return cli.folder


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("recordings/",), "transcripts/monday/call.json"),
        (("split",), "transcripts/1.json"),
        (("film.mkv",), "transcripts/film.json"),
        (("session.mxf",), "transcripts/session.json"),
        (("--glossary",), "transcripts/1.json"),
    ],
)
@pytest.mark.gate_sample(3)
def test_a_run_of_the_folder_guide(cli: Cli, folder: Path, words: tuple[str, ...], expected: str) -> None:
    (command,) = commands("folder.md", "run", *words)
    done = cli.run(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / expected).exists()


def test_the_estimate_of_the_folder_guide(cli: Cli, folder: Path) -> None:
    (command,) = commands("folder.md", "plan")
    assert "cost" in cli.run(*command).stdout


def test_the_commands_of_a_batch(cli: Cli, workers: StandInWorkers, redis_url: str) -> None:
    """`monday` is a batch with a finished and a failed job."""
    cli.environment["STT_REDIS_URL"] = redis_url
    audio = cli.folder / "audio"
    audio.mkdir()
    for name in ("ok-2.wav", "damaged.wav"):
        (audio / name).write_bytes(name.encode())
    workers.start()
    (submit,) = commands("service.md", "submit")
    submit = [word.replace("/audio/calls", str(audio)).replace("/results", str(cli.folder / "out")) for word in submit]
    assert cli.run(*submit, "--batch", "monday").returncode == 0
    wait_until(lambda: not {"queued", "running"} & cli.json("status", "monday")["counts"].keys(), "the batch has ended")
    identity = cli.json("status", "monday")["jobs"][0]["id"]
    rest = [command for page in ("folder.md", "service.md") for command in commands(page) if command[0] not in DONE]
    assert {command[0] for command in rest} == {"list", "status", "retry", "export", "cancel", "pause"}
    for command in rest:
        words = [{"ID": identity, "BATCH": "monday"}.get(word, word) for word in command]
        done = cli.run(*words)
        assert done.returncode in (0, 1), (words, done.stdout, done.stderr)
        assert "error: no such" not in done.stdout + done.stderr, words


DONE = {"run", "plan", "submit"}
"""Commands that the other tests run."""


def test_the_check_of_the_operator_guide(cli: Cli, folder: Path, redis_url: str) -> None:
    """All checks run except that of the spoken sample, because a recognizer of tones cannot recognize speech."""
    (command,) = commands("operator.md", "doctor")
    command = [word.replace("/results", str(folder / "results")) for word in command]
    (folder / "results").mkdir()
    write_audio(folder / "sample.wav")
    done = cli.run(*command, "--sample", "sample.wav", STT_REDIS_URL=redis_url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "written, read and deleted a probe" in done.stdout


def test_refused_messages_can_be_read(raw: redis.Redis) -> None:
    raw.xadd("stt:dead-letters", {"reason": "bad"})
    (command,) = (c for c in commands("produce-jobs.md") if c[0] == "XREVRANGE")
    assert raw.execute_command(*command)


def test_shell_blocks_of_all_pages_have_valid_syntax() -> None:
    code = [block.code for page in readme.pages() for block in code_blocks(page) if block.language == "sh"]
    subprocess.run(["bash", "-n", "-c", "\n".join(code)], check=True, timeout=20)
