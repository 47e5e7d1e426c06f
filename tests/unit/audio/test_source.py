from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import soundfile

from tests.support import audiofiles
from tests.support.file_hash import sha256_file
from worker.audio.file_extensions import AUDIO_ENDINGS, is_audio_name, is_other_media_name
from worker.errors import SourceError, SourceNotFound


@pytest.mark.parametrize(
    "name", ["a.wav", "A.WAV", "b.Flac", "x.y.mp3", "粵語.ogg", "call.gsm", "a.aif", "n.sph", "m.opus"]
)
def test_audio_names_are_recognized(name: str) -> None:
    assert is_audio_name(Path("folder") / name)
    assert not is_other_media_name(Path(name))


@pytest.mark.parametrize(
    "name", ["a.raw", "a.txt", "wav", ".wav", "a.wav.json", "a.json", "._a.wav", "a", "a.mp3.part"]
)
def test_other_names_are_not_audio(name: str) -> None:
    assert not is_audio_name(Path("folder.wav") / name)
    assert not is_other_media_name(Path(name))


@pytest.mark.parametrize("name", ["a.m4a", "A.MP4", "b.webm", "c.wma", "d.amr"])
def test_names_of_other_media_are_recognized(name: str) -> None:
    assert is_other_media_name(Path(name))
    assert not is_audio_name(Path(name))


def test_each_format_of_libsndfile_has_an_extension() -> None:
    # Usual extensions of formats whose extension differs from their name.
    usual = {"AIFF": "aiff", "MPC2K": "mpc2k", "NIST": "sph", "IRCAM": "sf", "SVX": "8svx", "WAVEX": "wav"}
    for name in soundfile.available_formats():
        assert name == "RAW" or usual.get(name, name.lower()) in AUDIO_ENDINGS, name
    assert {coding.ending for coding in audiofiles.CODINGS} <= AUDIO_ENDINGS


def test_the_hash_is_the_sha256_of_the_content(tmp_path: Path) -> None:
    content = b"audio" * 700_000
    (tmp_path / "a").write_bytes(content)
    assert sha256_file(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_hashing_an_unreadable_file_raises_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match="gone: no such file"):
        sha256_file(tmp_path / "gone")
    with pytest.raises(SourceError, match="is a folder"):
        sha256_file(tmp_path)
