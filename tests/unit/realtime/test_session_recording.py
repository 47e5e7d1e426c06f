"""Recordings of sessions: what is written is read again; broken and foreign files are refused with file and line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import SettingsError
from worker.realtime.session_recording import MAX_LINE, Entry, header, line, parse, read_recording

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
# Larger integers are refused when a recording is read: see the test of such a file below.
integers = st.integers(min_value=-(2**63), max_value=2**64 - 1)
payloads = st.none() | texts | st.dictionaries(texts, texts | integers | st.lists(texts, max_size=2), max_size=3)
entries = st.builds(
    Entry,
    st.floats(0, 1e6).map(lambda at: round(at, 3)),
    st.sampled_from(["client", "service"]),
    texts.filter(bool),
    payloads,
)


@given(st.lists(entries, min_size=1, max_size=5))
def test_what_is_written_is_read_again(written: list[Entry]) -> None:
    assert parse([header(endpoint="x"), *map(line, written)], "name") == tuple(written)


def test_an_incomplete_last_line_is_ignored() -> None:
    """A process that is killed with SIGKILL can leave an incomplete line."""
    text = line(Entry(1.0, "client", "stop-session"))
    assert len(parse([header(), text, text[:-5]], "name")) == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("{}\n", "not a recording"),
        ("[]\n", "JSON object"),
        ("\0\0\0\n", "JSON object"),
        (header().replace('"version": 1', '"version": 2'), "version 2"),
        (header(), "empty"),
        (header() + "x\n", "line 2"),
        (header() + "[" * 100_000 + "\n", "line 2"),
        (header() + '{"at_s": "1", "sender": "client", "event": "x"}\n', "line 2: at_s"),
        (header() + '{"at_s": NaN, "sender": "client", "event": "x"}\n', "line 2: at_s"),
        (header() + '{"at_s": -1, "sender": "client", "event": "x"}\n', "line 2: at_s"),
        (header() + '{"at_s": 1, "sender": "nobody", "event": "x"}\n', "line 2: needs"),
        (header() + '{"at_s": 1, "sender": "client", "event": 3}\n', "line 2: needs"),
        (header() + '{"at_s": 1, "sender": "client", "event": "x", "samples": -1}\n', "line 2: samples"),
        (header() + "x" * (MAX_LINE + 5) + "\n", "line 2"),
        (header().replace('"version": 1', '"version": true'), "version True"),
        (header() + '{"at_s": 1, "sender": "service", "event": "x", "payload": "\\ud800"}\n', "line 2: the message"),
        (header() + '{"at_s": 1, "sender": "service", "event": "\\udfff"}\n', "line 2: the message"),
        (
            header() + '{"at_s": 1, "sender": "service", "event": "x", "payload": ' + "9" * 30 + "}\n",
            "line 2: the message",
        ),
    ],
)
def test_a_file_that_is_no_recording_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "通話 1.jsonl"
    path.write_text(text)
    with pytest.raises(SettingsError, match=reason) as refused:
        read_recording(path)
    assert str(path) in str(refused.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        read_recording(tmp_path / "none")


def test_audio_is_a_length_and_a_hash() -> None:
    fields = json.loads(line(Entry(0, "client", "audio-chunk", samples=4000, sha256="ab")))
    assert fields == {"at_s": 0, "sender": "client", "event": "audio-chunk", "samples": 4000, "sha256": "ab"}
