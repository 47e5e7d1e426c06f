"""Files appended to other files: all are read, although readers stop at the end that the first header declares."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile

from tests.support import tones
from tests.support.timedmedia import write_timed
from worker.audio.decoding.decode import open_source
from worker.audio.file_formats import appended_files
from worker.audio.pcm_frames import wire_frames

LENGTH_S = 3.0
WORDS = [list(tones.speech(LENGTH_S - 0.3, seed=seed)) for seed in (1, 2, 4)]
_APE_ENDS = [b"APETAGEX" + b"".join(n.to_bytes(4, "little") for n in (2000, 32, 0, flags)) + bytes(8)
             for flags in (0xA0000000, 0x80000000)]  # fmt: skip
_APE_TAG = b"".join(_APE_ENDS)
_ID3_TAG = b"TAG" + bytes(125)
_FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "frag_duration": "500000"}
_LIVE = {"live": "1"}

SNDFILE = [("WAV", "PCM_16"), ("WAVEX", "PCM_24"), ("RF64", "PCM_16"), ("W64", "PCM_16"), ("AIFF", "PCM_16"),
           ("AIFF", "ULAW"), ("AU", "PCM_16"), ("CAF", "ALAC_16")]  # fmt: skip
MEDIA: list[tuple[str, str, dict[str, str]]] = [
    ("mp4", "aac", {}), ("mp4", "aac", {"movflags": "faststart"}), ("mp4", "aac", _FRAGMENTED),
    ("mov", "pcm_s16le", {}), ("matroska", "aac", {}), ("matroska", "flac", _LIVE), ("webm", "libopus", {}),
    ("webm", "libopus", _LIVE), ("asf", "wmav2", {}), ("flv", "aac", {}), ("wv", "wavpack", {}), ("tta", "tta", {}),
    ("nut", "pcm_s16le", {}),
]  # fmt: skip


def sndfile(path: Path, number: int, kind: tuple[str, str], rate: int = 16000) -> bytes:
    signal = tones.encode(WORDS[number], rate, duration_s=LENGTH_S)
    soundfile.write(path, signal, rate, format=kind[0], subtype=kind[1])
    return path.read_bytes()


def media(path: Path, number: int, kind: tuple[str, str, dict[str, str]], rate: int = 48000) -> bytes:
    signal = tones.encode(WORDS[number], rate, duration_s=LENGTH_S)
    write_timed(path, signal, container=kind[0], codec=kind[1], rate=rate, options=kind[2])
    return path.read_bytes()


def assert_all_said(path: Path, *numbers: int, tolerance_s: float = 0.03) -> None:
    """Asserts that the words of all files are heard in order."""
    with open_source(path) as source:
        found = tones.decode_pcm16(b"".join(wire_frames(source, 16000, 4000)))
        assert source.frames_decoded / source.info.sample_rate == pytest.approx(LENGTH_S * len(numbers), abs=0.25)
        assert (source.warnings, source.undecoded) == ((), ())
    words = [
        replace(word, start=word.start + place * LENGTH_S)
        for place, number in enumerate(numbers)
        for word in WORDS[number]
    ]
    assert [w.number for w in found] == [w.number for w in words]
    assert max(abs(a.start - b.start) for a, b in zip(found, words, strict=True)) < tolerance_s


@pytest.mark.parametrize("kind", SNDFILE, ids="-".join)
def test_appended_files_for_libsndfile_are_all_read(tmp_path: Path, kind: tuple[str, str]) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"".join(sndfile(tmp_path / "one", number, kind) for number in range(3)))
    assert_all_said(path, 0, 1, 2)


@pytest.mark.parametrize("kind", MEDIA, ids=lambda kind: "-".join([*kind[:2], *kind[2]]))
@pytest.mark.gate_sample(3)
def test_appended_files_for_ffmpeg_are_all_read(tmp_path: Path, kind: tuple[str, str, dict[str, str]]) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"".join(media(tmp_path / "one", number, kind) for number in range(3)))
    # Each file may begin with up to 60 ms of encoder silence, which some containers do not declare.
    assert_all_said(path, 0, 1, 2, tolerance_s=0.2)


@pytest.mark.parametrize("tag", [_APE_TAG, _ID3_TAG, _APE_TAG + _ID3_TAG], ids=["ape", "id3", "both"])
def test_files_with_tags_between_them_are_all_read(tmp_path: Path, tag: bytes) -> None:
    path = tmp_path / "a.wav"
    files = [sndfile(tmp_path / "one", number, ("WAV", "PCM_16")) for number in range(2)]
    path.write_bytes(tag.join(files))
    assert_all_said(path, 0, 1)


def test_appended_files_may_differ_in_rate_channels_and_format(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    wav = sndfile(tmp_path / "one", 0, ("WAV", "PCM_16"), 8000)
    m4a = media(tmp_path / "two", 1, ("mp4", "aac", {}), 44100)
    flac = sndfile(tmp_path / "three", 2, ("FLAC", "PCM_16"), 22050)
    path.write_bytes(wav + m4a + flac)
    assert_all_said(path, 0, 1, 2, tolerance_s=0.06)


def test_an_unclosed_first_file_is_read_with_the_files_after_it(tmp_path: Path) -> None:
    """The header of an unclosed file declares a size of 0."""
    path = tmp_path / "a.wav"
    wav = sndfile(tmp_path / "one", 0, ("WAV", "PCM_16"))
    at = wav.index(b"data") + 4
    path.write_bytes(wav[:at] + bytes(4) + wav[at + 4 :] + sndfile(tmp_path / "two", 1, ("WAV", "PCM_16")))
    with open_source(path) as source:
        found = tones.decode_pcm16(b"".join(wire_frames(source, 16000, 4000)))
        assert [w.number for w in found] == [w.number for w in WORDS[0] + WORDS[1]]
        assert "gives no length" in source.warnings[0]


def test_a_repeated_index_of_live_fragments_begins_no_file(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    data = media(path, 0, ("mp4", "aac", _FRAGMENTED))
    boxes: list[bytes] = []
    while data:
        length = int.from_bytes(data[:4], "big")
        boxes.append(data[:length])
        data = data[length:]
    names: list[Any] = [box[4:8] for box in boxes]
    middle = [at for at, name in enumerate(names) if name == b"moof"][2]
    head = boxes[: names.index(b"moov") + 1]
    path.write_bytes(b"".join([*boxes[:middle], *head, *boxes[middle:]]))
    with path.open("rb") as file:
        assert appended_files.files(file) == ()
    assert_all_said(path, 0, tolerance_s=0.06)


@pytest.mark.parametrize("kind", [*SNDFILE[:3], *MEDIA[:6]], ids=str)
def test_bytes_of_a_file_inside_the_audio_begin_no_file(tmp_path: Path, kind: Any) -> None:
    path = tmp_path / "one"
    data = (sndfile if len(kind) == 2 else media)(path, 0, kind)
    path.write_bytes(data + b"some bytes" + data)
    with path.open("rb") as file:
        assert appended_files.files(file) == () or "live" in kind[-1]
