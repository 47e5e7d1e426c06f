"""`run` with sources in a real S3 server, as a prefix and as a manifest, and transcripts exported to it."""

from __future__ import annotations

import os
from pathlib import Path

import obstore
import pytest
from obstore.store import S3Store

from tests.support.command_line import Cli, cli, words_of, write_audio
from tests.support.fleet import KEY
from tests.support.s3_server import BUCKET, S3Server, store_of

__all__ = ["cli"]  # a fixture


@pytest.fixture
def store(s3: S3Server) -> S3Store:
    return store_of(s3)


def test_a_prefix_and_a_manifest(cli: Cli, s3: S3Server, store: S3Store, service: str) -> None:
    said = {}
    for name, seed in (("a.wav", 1), ("x/b.flac", 2), ("x/c.wav", 3)):
        path = cli.folder / "local" / name
        said[name] = write_audio(path, seed=seed)
        obstore.put(store, f"run/{name}", path.read_bytes())
    obstore.put(store, "run/notes.txt", b"no audio")
    plan = cli.json("plan", f"s3://{BUCKET}/run/**", "local", **s3.environ)
    assert sorted(plan["unexamined"]) == [f"s3://{BUCKET}/run/{name}" for name in said]
    assert plan["files"] == 6

    environ = {**s3.environ, "STT_URL": service, "STT_API_KEY": KEY, "STT_SPEED": "max"}
    done = cli.json("run", f"s3://{BUCKET}/run/**", **environ)
    assert (done["total"], done["done"]) == (3, 3), done
    for name, words in said.items():
        assert words_of((cli.folder / "transcripts" / name).with_suffix(".json")) == words
    assert {job["source"] for job in done["jobs"]} == {f"s3://{BUCKET}/run/{name}" for name in said}
    again = cli.json("run", f"s3://{BUCKET}/run/", **environ)
    assert (again["done"], again["skipped"]) == (3, 3)

    (cli.folder / "list.jsonl").write_text(
        f'{{"source": "s3://{BUCKET}/run/x/b.flac", "id": "call-7", "options": {{"out_name": "seven"}}}}\n'
        f'{{"source": "s3://{BUCKET}/run/none.wav"}}\n'
        '{"source": "local/a.wav"}\n'
    )
    listed = cli.json("run", "list.jsonl", "--out", "other", **environ)
    assert (listed["done"], listed["failed"]) == (2, 1)
    states = {job["source"]: (job["id"], job["error_code"]) for job in listed["jobs"]}
    assert states[f"s3://{BUCKET}/run/x/b.flac"] == ("call-7", None)
    assert states[f"s3://{BUCKET}/run/none.wav"][1] == "source_not_found"
    assert words_of(cli.folder / "other" / "seven.json") == said["x/b.flac"]

    cli.json("export", "other", "--format", "srt", "--out", f"s3://{BUCKET}/exported", **s3.environ)
    assert said["x/b.flac"][0].encode() in bytes(obstore.get(store, "exported/seven.srt").bytes())


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (f"s3://{BUCKET}/nothing/**", "contains no audio files"),
        (f"s3://{BUCKET}/none.wav", "there is no such object"),
        ("s3://no-such-bucket/**", "s3://no-such-bucket/: there is no such bucket"),
        ("ftp://host/a.wav", "ftp:// is not supported"),
    ],
)
def test_missing_sources_are_reported(cli: Cli, s3: S3Server, source: str, message: str) -> None:
    done = cli.run("run", source, **s3.environ)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert not Path(cli.folder / "transcripts").exists()


def test_credentials_the_store_refuses(cli: Cli, s3: S3Server) -> None:
    """Runs in a separate process, to check that it ends with the right exit code although threads of obstore still
    run."""
    done = cli.run("run", f"s3://{BUCKET}/**", **{**s3.environ, "AWS_SECRET_ACCESS_KEY": "wrong"})
    assert (done.returncode, done.stdout) == (1, "")
    assert "the store refuses the credentials of this worker (SignatureDoesNotMatch); set AWS_ACCESS_KEY" in done.stderr


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ("a.wav,", ("--language", "x" * 36), "a.wav: language: String should have at most 35 characters"),
        ("a.wav,\nb.wav,agent", ("--channels", "mix"), "b.wav: job: "),
    ],
)
def test_an_invalid_option_of_one_source_is_reported_before_the_start(
    cli: Cli, rows: str, options: tuple[str, ...], message: str
) -> None:
    for name in ("a.wav", "b.wav"):
        write_audio(cli.folder / name)
    (cli.folder / "list.csv").write_text(f"source,channel_names\n{rows}\n")
    done = cli.run("run", "list.csv", *options, "--json")
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.startswith(f"error: {cli.folder}/{message}")
    assert done.stderr.count("\n") == 1
    assert not (cli.folder / "transcripts").exists()


def test_a_name_that_is_not_utf8_fails_in_the_plan_and_is_not_submitted(cli: Cli) -> None:
    """test_cli_run.py tests the same for the command `run`."""
    write_audio(cli.folder / "in" / "good.wav")
    bad = Path(os.fsdecode(os.fsencode(cli.folder / "in") + b"/caf\xe9.wav"))
    bad.write_bytes((cli.folder / "in" / "good.wav").read_bytes())
    (failing,) = cli.json("plan", "in")["failing_sources"]
    assert failing["source"].endswith("in/caf\\udce9.wav")
    assert failing["error_code"] == "source_refused"
    assert "caf\\udce9.wav: the name is not UTF-8 text" in failing["error"]
    refused = cli.run("submit", "in")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "rename it" in refused.stderr
