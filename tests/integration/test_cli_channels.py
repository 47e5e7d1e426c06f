"""`stt-batch run` with separate channels, and with existing transcripts that the ledger does not record."""

from __future__ import annotations

import json
import shutil

import numpy as np

from tests.support.audiofiles import write_signal
from tests.support.command_line import RATE, Cli, cli, write_audio
from tests.support.fleet import KEY
from tests.support.tones import encode, speech
from tests.support.trackfiles import TRACK_FILES, write_tracks

__all__ = ["cli"]  # a fixture
SPLIT = ("--channels", "split", "--channel-names", "agent,客戶")


def test_channels_from_the_command_and_from_a_manifest(cli: Cli, service: str) -> None:
    environ = {"STT_URL": service, "STT_API_KEY": KEY, "STT_SPEED": "max"}
    words = [list(speech(6.0, seed=80 + k)) for k in range(2)]
    both = np.stack([encode(some, RATE, duration_s=7.0) for some in words], axis=1)
    said = [[word.text for word in some] for some in words]
    write_signal(cli.folder / "call.wav", both, RATE)
    write_signal(cli.folder / "other.wav", both[::-1], RATE)
    mono = write_audio(cli.folder / "mono.wav")
    (cli.folder / "list.csv").write_text(
        "source,channels,channel_names\ncall.wav,,\nmono.wav,,\nother.wav,3,one\n", encoding="utf-8"
    )
    done = cli.json("run", "list.csv", *SPLIT, "--format", "srt,json", **environ)
    assert (done["done"], done["failed"]) == (2, 1)
    (failed,) = [job for job in done["jobs"] if job["state"] == "failed"]
    assert failed["error_code"] == "source_channel"
    assert "other.wav: has 2 channels, so there is no channel 3 to take" in failed["error"]

    out = cli.folder / "transcripts"
    document = json.loads((out / "call.json").read_text("utf-8"))
    for name, some in zip(("agent", "客戶"), said, strict=True):
        assert [w["text"] for s in document["segments"] if s["channel"] == name for w in s["words"]] == some
    assert "客戶: " in (out / "call.srt").read_text("utf-8")
    single = json.loads((out / "mono.json").read_text("utf-8"))
    assert [w["text"] for s in single["segments"] for w in s["words"]] == mono
    assert single["segments"][0]["channel"] is None

    # Redis has lost its data: a file with a complete transcript in the folder is treated as done. With other channels
    # it is another job.
    shutil.rmtree(out / ".stt-batch")
    stamps = {path: path.stat().st_mtime_ns for path in out.glob("*.json") if path.name != "summary.json"}
    again = cli.json("run", "list.csv", *SPLIT, "--format", "srt,json", **environ)
    assert (again["done"], again["skipped"], again["failed"]) == (2, 2, 1)
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    other = cli.json("run", "call.wav", "--channels", "2", "--format", "srt,json", **environ)
    assert (other["done"], other["skipped"]) == (1, 0)
    document = json.loads((out / "call.json").read_text("utf-8"))
    assert [w["text"] for s in document["segments"] for w in s["words"]] == said[1]


def test_a_plan_counts_channels(cli: Cli) -> None:
    """Two channels of speech and a silent one."""
    some = encode(list(speech(59, seed=3)), RATE, duration_s=60.0)
    write_signal(cli.folder / "a.wav", np.stack([some, 0 * some, some], axis=1), RATE)
    write_audio(cli.folder / "b.wav", 2.0)
    for arguments, streams in (((), 1), (("--channels", "3"), 1), (("--channels", "split"), 3)):
        plan = cli.json("plan", "a.wav", *arguments)
        assert plan["sessions"] == streams
        assert plan["streamed_s"] > streams * 60
        assert plan["audio_s"] == 60
    whole = cli.json("plan", "a.wav", "--speech", "--channels", "split", STT_SPEECH_DETECTOR="level")
    assert whole["sessions"] == 2
    assert 120 < whole["streamed_s"] < 130
    wrong = cli.json("plan", "a.wav", "b.wav", "--channels", "2")
    assert (wrong["files"], wrong["failing_count"], wrong["failing_sources"][0]["error_code"]) == (
        2,
        1,
        "source_channel",
    )


def test_a_plan_lists_tracks_and_refuses_a_missing_one(cli: Cli) -> None:
    signals = [encode(list(speech(4, seed=seed)), 48000, duration_s=5.0) for seed in (1, 2)]
    kind = next(kind for kind in TRACK_FILES if kind.ending == "mkv")
    write_tracks(cli.folder / "a.mkv", signals, kind, [{"language": "eng"}, {"language": "yue"}])
    (warnings,) = cli.json("plan", "a.mkv")["warnings"].values()
    assert warnings[0].startswith("has 2 audio tracks: track 1 (eng), track 2 (yue); only track 1 is read")
    for track, streams in (("2", 1), ("all", 2)):
        plan = cli.json("plan", "a.mkv", "--track", track)
        assert (plan["sessions"], plan["warnings"]) == (streams, {})
    wrong = cli.json("plan", "a.mkv", "--track", "3")
    assert wrong["failing_sources"][0]["error_code"] == "source_track"
    assert "there are track 1 (eng), track 2 (yue)" in wrong["failing_sources"][0]["error"]
