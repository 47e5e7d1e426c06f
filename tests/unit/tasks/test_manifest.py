"""Manifests: equivalent CSV and JSON lines, and the errors of invalid ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.batches.manifest import read_manifest
from tasks.cli.options import of_source
from tasks.client.producer import make_spec
from worker.errors import BadJob


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_csv_and_json_lines_say_the_same(tmp_path: Path) -> None:
    table = write(
        tmp_path,
        "l.csv",
        "\ufeffSource;ID;formats;language;speed;skip_silence;options\n"
        "x/呼叫 1.wav;call-1;json srt;yue;2;true;\n"
        '\n"/abs/b;1.wav";;;;;;"{""priority"": ""high""}"\n'
        "s3://bucket/c.flac;;;;max;;\n",
    )
    lines = write(
        tmp_path,
        "l.jsonl",
        '{"source": "x/呼叫 1.wav", "id": "call-1", "formats": ["json", "srt"], "language": "yue", "speed": 2,'
        ' "skip_silence": true}\n\n'
        '{"source": "/abs/b;1.wav", "id": null, "options": {"priority": "high"}}\n'
        '{"source": "s3://bucket/c.flac", "speed": "max"}',
    )
    one, two = read_manifest(table), read_manifest(lines)
    assert [entry.source.text for entry in one] == [f"{tmp_path}/x/呼叫 1.wav", "/abs/b;1.wav", "s3://bucket/c.flac"]
    assert [(entry.source, entry.id) for entry in one] == [(entry.source, entry.id) for entry in two]
    assert one[0].options["formats"] == ("json", "srt")
    assert one[1].options == two[1].options == {"priority": "high"}
    assert one[2].options == two[2].options == {"speed": "max"}


def test_channels_of_single_sources(tmp_path: Path) -> None:
    table = write(
        tmp_path,
        "l.csv",
        'source,channels,channel_names\na.wav,split,agent;customer\nb.wav,2,\nc.wav,,"one, two"\nd.wav,mix,\n',
    )
    rows = [dict(entry.options) for entry in read_manifest(table)]
    assert rows == [
        {"channels": "split", "channel_names": "agent;customer"},
        {"channels": "2"},
        {"channel_names": "one, two"},
        {"channels": "mix"},
    ]
    common = {"channels": "split", "channel_names": ("x", "y")}
    specs = [make_spec("a.wav", **of_source(common, row)) for row in rows]
    assert [(spec.channels, spec.channel_names) for spec in specs] == [
        ("split", ("agent", "customer")),
        (2, ("x", "y")),
        ("split", ("one", "two")),
        ("mix", ()),
    ]


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("l.csv", "", "line 1: must name the columns"),
        ("l.csv", "path,id\na.wav,1\n", "including `source`; it has path, id"),
        ("l.csv", "source\n", "has no entries"),
        ("l.csv", "source,langage\na.wav,en\n", "line 2: langage: no such option; known options: .*language"),
        ("l.csv", "source,id\na.wav,1,2\n", "line 2: .*more cells than columns"),
        ("l.csv", "source,id\na.wav,1\nb.wav,1\n", "line 3: line 2 has the same id 1"),
        ("l.csv", "source,id\na.wav,a b\n", "line 2: id 'a b': must be 1 to 128 letters"),
        ("l.jsonl", '{"source": "a.wav", "id": "a/b"}\n', "line 1: id 'a/b': must be 1 to 128 letters"),
        ("l.csv", "source,channels\na.wav,0\n", "line 2: .*a.wav: channels: must be from 1"),
        ("l.csv", "source,channels\na.wav,left\n", "line 2: .*a.wav: channels: must be mix, split"),
        ("l.csv", "source,formats\na.wav,doc\n", "line 2: .*a.wav: formats: must be some of"),
        ("l.csv", "source,out_name\na.wav,../x\n", "line 2: .*inside out_dir"),
        ("l.csv", "source,out_dir\na.wav,/x\n", "line 2: out_dir: no such option"),
        ("l.csv", "source,id\n,1\n", "line 2: has no source"),
        ("l.csv", "source\nftp://host/a.wav\n", "line 2: .*ftp:// is not supported"),
        ("l.jsonl", '{"source": "a.wav"}\n{"source"\n', "line 2: is not JSON"),
        (
            "l.jsonl",
            '{bad\n{"source": 5}\n',
            "line 1: is not JSON: Expecting .* at column 2; line 2: has no source",
        ),
        ("l.jsonl", '["a.wav"]\n', "line 1: must be a JSON object"),
        ("l.jsonl", '{"source": "a.wav", "options": 1}\n', "line 1: options: must be a JSON object"),
        ("l.jsonl", "\n".join('{"x": 1}' for _ in range(9)), "and 4 more"),
    ],
)
def test_errors_are_reported_with_their_line(tmp_path: Path, name: str, text: str, problem: str) -> None:
    with pytest.raises(BadJob, match=problem) as caught:
        read_manifest(write(tmp_path, name, text))
    assert str(caught.value).startswith(f"{tmp_path}/{name}: ")


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_bytes(b"source\n\xff\xfe.wav\n")
    with pytest.raises(BadJob, match="is not UTF-8 text"):
        read_manifest(tmp_path / "l.csv")


_NAME = st.text(st.characters(exclude_categories=("Cs", "Cc", "Z")), min_size=1, max_size=12).map(lambda t: f"x{t}.wav")


@given(names=st.lists(_NAME.filter(lambda name: "://" not in name and "/" not in name), min_size=1, max_size=8))
def test_any_name_survives(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    path = tmp_path_factory.mktemp("m") / "l.jsonl"
    path.write_text("\n".join(json.dumps({"source": name}) for name in names), encoding="utf-8")
    assert [entry.source.name for entry in read_manifest(path)] == names


def test_a_track_for_one_source_or_for_all(tmp_path: Path) -> None:
    text = "source,track,channel_names\na.mkv,2,\nb.mkv,all,host;guest\nc.mkv,,\n"
    options = [dict(entry.options) for entry in read_manifest(write(tmp_path, "l.csv", text))]
    specs = [make_spec("/x.mkv", **of_source({"track": 3}, own)) for own in options]
    assert [(spec.track, spec.channel_names) for spec in specs] == [(2, ()), ("all", ("host", "guest")), (3, ())]
    with pytest.raises(BadJob, match=r"line 2: a\.mkv: track: must be all, or the number of an audio track"):
        read_manifest(write(tmp_path, "w.csv", "source,track\na.mkv,eng\n"))
