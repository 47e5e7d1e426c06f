"""Files that end too early are reported as cut off. Complete files are not, even if their header estimates the
length."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile

from tests.support import audiofiles, tones
from tests.support.audiofiles import write_words
from tests.support.mediafiles import MEDIA, Media, write_media
from worker.audio.decoding.decode import open_source
from worker.audio.decoding.truncation import missing_end
from worker.audio.file_formats.raw_streams import raw_stream
from worker.audio.opened_file import as_source_file
from worker.errors import DamagedSource

LENGTH_S = 6.0
WORDS = list(tones.speech(5.0, 3))
BY_NAME = {media.name: media for media in MEDIA}
PLAIN = {
    "webm": BY_NAME["webm-opus"],
    "mka": Media("", "mka", "matroska", "flac", 16000),
    "wma": BY_NAME["wma"],
    "avi": BY_NAME["avi-pcm"],
    "flv": BY_NAME["flv-mp3"],
    "ts": BY_NAME["ts-aac"],
    "adts": Media("", "aac", "adts", "aac", 44100),
    "ac3": Media("", "ac3", "ac3", "ac3", 48000),
    "eac3": Media("", "eac3", "eac3", "eac3", 48000),
    "mp2": Media("", "mp2", "mp2", "mp2", 44100),
    "voc": Media("", "voc", "voc", "pcm_s16le", 16000),
    "tta": Media("", "tta", "tta", "tta", 16000),
    "wv": Media("", "wv", "wv", "wavpack", 16000),
    "g722": Media("", "wav", "wav", "g722", 16000),
    "mp3-in-wav": Media("", "wav", "wav", "libmp3lame", 44100),
    "ogg-flac": Media("", "ogg", "ogg", "flac", 16000),
    "caf-ac3": Media("", "caf", "caf", "ac3", 48000),
}
FILMS = {
    "mkv": BY_NAME["mkv-flac"],
    "mp4": BY_NAME["mp4-aac"],
    "avi": Media("", "avi", "avi", "libmp3lame", 44100),
    "asf": Media("", "asf", "asf", "wmav2", 44100),
    "ts": BY_NAME["ts-aac"],
}


def heard(path: Path) -> tuple[float, tuple[str, ...]]:
    with open_source(path) as source:
        return sum(map(len, source.blocks())) / source.info.sample_rate, source.warnings


def cut(path: Path, share: float) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share) // 4 * 4 + 3])


def assert_cut_off_is_told(path: Path) -> None:
    """Assert that the warnings report the cut: by the structure of the file, its declared length, or a damaged last
    packet. If no audio is left, no warning is needed."""
    try:
        _, warnings = heard(path)
    except DamagedSource as exc:
        assert "is cut off or damaged" in str(exc)  # noqa: PT017
        return
    assert any("cut off" in text or "damaged at about" in text for text in warnings)
    assert sum("cut off" in text for text in warnings) <= 1


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.gate_sample(3)
def test_a_truncated_media_file_is_reported(tmp_path: Path, name: str) -> None:
    media, path = PLAIN[name], tmp_path / "a"
    write_media(path, tones.encode(WORDS, media.rate, duration_s=LENGTH_S), media)
    length_s, warnings = heard(path)
    assert length_s == pytest.approx(LENGTH_S, abs=0.15)
    assert warnings == ()
    for share in (0.9, 0.6):
        cut(path, share)
        assert_cut_off_is_told(path)


@pytest.mark.parametrize(("declared", "is_cut"), [(5000, False), (5001, True), (100 << 20, False)])
def test_a_flash_file_declares_its_size(tmp_path: Path, declared: int, is_cut: bool) -> None:
    """FFmpeg declares 100 MiB if the size is not known."""
    path = tmp_path / "a"
    path.write_bytes(b"FWS\x06" + declared.to_bytes(4, "little") + bytes(4992))
    assert missing_end(as_source_file(path)).startswith("cut off") == is_cut


@pytest.mark.parametrize("name", FILMS)
def test_video_that_is_longer_than_the_sound_is_no_damage(tmp_path: Path, name: str) -> None:
    media, path = FILMS[name], tmp_path / "a"
    signal = tones.encode(WORDS, media.rate, duration_s=LENGTH_S)
    write_media(path, signal, media, video=True, video_s=LENGTH_S + 4)
    length_s, warnings = heard(path)
    assert length_s == pytest.approx(LENGTH_S, abs=0.15)
    assert warnings == ()
    cut(path, 0.5)
    if name == "mp4":  # its index is at the end
        with pytest.raises(DamagedSource, match="is cut off or damaged"):
            heard(path)
        return
    assert_cut_off_is_told(path)


@pytest.mark.parametrize("coding", [audiofiles.MP3, audiofiles.FLAC, audiofiles.VORBIS, audiofiles.OPUS], ids=str)
@pytest.mark.parametrize("rate", [16000, 48000])
def test_a_truncated_libsndfile_format_is_reported(tmp_path: Path, coding: audiofiles.Coding, rate: int) -> None:
    path = write_words(tmp_path / "a", WORDS, rate, coding, duration_s=LENGTH_S)
    assert heard(path) == (LENGTH_S, ())
    cut(path, 0.6)
    assert_cut_off_is_told(path)


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100])
@pytest.mark.parametrize("length_s", [1.0, 3.017, 7.333])
@pytest.mark.gate_sample(3)
def test_a_complete_file_with_an_estimated_length_gives_no_warning(tmp_path: Path, rate: int, length_s: float) -> None:
    signal = tones.encode(WORDS, rate, duration_s=length_s)
    for name, container, codec in (("a", "mp3", "libmp3lame"), ("b", "adts", "aac"), ("c", "wav", "libmp3lame")):
        path = write_media(tmp_path / name, signal, Media("", "", container, codec, rate))
        found_s, warnings = heard(path)
        assert found_s == pytest.approx(length_s, abs=0.4 if rate == 8000 else 0.15)
        assert warnings == ()
    soundfile.write(tmp_path / "d", signal, rate, format="MP3")
    (tmp_path / "d").write_bytes(audiofiles.without_first_mp3_frame((tmp_path / "d").read_bytes()))
    assert heard(tmp_path / "d")[1] == ()


def test_frames_are_recognized_only_where_several_follow_each_other() -> None:
    assert raw_stream(b"\xff\xfb\x90\x00" * 3) is None
    assert raw_stream(b"\x0b\x77" + bytes(5000)) is None
    assert raw_stream(b"\xd0" + bytes(32)) is None
    assert raw_stream(b"") is None
