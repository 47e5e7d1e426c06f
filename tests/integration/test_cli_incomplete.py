"""If the service does not commit all audio, the run reports the missing seconds, writes the rest, and exits with 1."""

from __future__ import annotations

import json
from pathlib import Path

import soundfile

from tests.support.command_line import Cli, cli, words_of
from tests.support.ports import free_port
from tests.support.tones import ToneWord, encode
from tests.support.wait import wait_until

__all__ = ["cli"]  # a fixture
RATE = 16000


def write_cut(path: Path) -> list[ToneWord]:
    """Write words without a pause between them up to the end of the file, so that the last ones are not committed
    without a flush."""
    words = [ToneWord(number, 0.3 + 0.35 * number) for number in range(20)]
    soundfile.write(path, encode(words, RATE, tail_s=0.0), RATE)
    return words


def test_seconds_the_service_never_committed_are_named(cli: Cli) -> None:
    words = write_cut(cli.folder / "a.wav")
    port = free_port()
    faults = ("--fault", "never-commit", "--fault", "forget-tail")
    cli.fork("server", "--port", str(port), "--ready-file", "ready", *faults, STT_SERVER_API_KEYS="k")
    wait_until((cli.folder / "ready").exists, "the server is ready", timeout_s=60)
    service = {"STT_URL": f"http://127.0.0.1:{port}", "STT_API_KEY": "k", "STT_TAIL_SILENCE_MAX_S": "2"}
    told = cli.run("run", "a.wav", "--speed", "max", **service)
    assert told.returncode == 1
    (line,) = [line for line in told.stdout.splitlines() if line.startswith("incomplete")]
    assert "a.wav" in line
    assert "s missing: the service never committed it" in line
    assert "1 incomplete" in told.stdout
    assert "failed" not in told.stdout
    document = json.loads((cli.folder / "transcripts" / "a.json").read_text("utf-8"))
    assert document["coverage"]["missing"]
    assert document["text"].split()[-1] == words[-1].text
    assert not document["segments"][-1]["committed"]

    # A second run must not treat an incomplete job as done.
    again = cli.json("run", "a.wav", "--speed", "max", **service)
    assert (again["done"], again["incomplete"], again["failed"], again["skipped"]) == (0, 1, 0, 0)
    (job,) = again["jobs"]
    assert (job["state"], job["error_code"]) == ("incomplete", "incomplete")
    assert job["outputs"]

    # With a service that commits the tail, the job is done.
    whole = cli.json("run", "a.wav")
    assert (whole["done"], whole["incomplete"]) == (1, 0)
    assert words_of(cli.folder / "transcripts" / "a.json") == [word.text for word in words]
