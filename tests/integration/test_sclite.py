"""NIST's sclite reads the transcripts in CTM."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.node_env import missing
from tests.support.rendering import render
from tests.unit.transcript.build import segment, transcript
from worker.transcript.subtitles.word_alignment import align


def test_sclite_reads_ctm(tmp_path: Path) -> None:
    sclite = shutil.which("sclite") or next(map(str, Path("/usr/lib/sctk/bin").glob("sclite")), None)
    if sclite is None:
        missing("NIST's sclite is not installed (Debian, Ubuntu: apt install sctk)")
    english = segment("Good morning, it's 3.5 degrees", 1.0, 3.5)
    chinese = segment("你好，send 俾我", 4.0, 6.0, words=["你", "好", "send", "俾", "我"])
    said = transcript(english, chinese.model_copy(update={"channel": "B"}))
    path = tmp_path / "said.ctm"
    path.write_text(render(said, "ctm"), encoding="utf-8")
    command = [
        sclite,
        "-r",
        str(path),
        "ctm",
        "-h",
        str(path),
        "ctm",
        "-T",
        "-e",
        "utf-8",
        "-s",
        "-o",
        "sgml",
        "stdout",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    read = re.findall(r'C,"([^"]*)","([^"]*)",([\d.]+)\+([\d.]+),', done.stdout)
    words = [*align(english), *align(chinese)]
    assert [(a, float(start), float(end)) for a, _, start, end in sorted(read, key=lambda word: float(word[2]))] == [
        (word.text, pytest.approx(word.start, abs=0.0011), pytest.approx(word.end, abs=0.0011)) for word in words
    ]
    assert re.findall(r'channel="(.*?)"', done.stdout) == ["1", "B"]
