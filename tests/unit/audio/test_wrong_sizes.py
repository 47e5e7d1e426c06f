"""Headers with a length of 0, -1, overflowed, odd, too small or too large: exactly the audio is read."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support import tones
from tests.support.tones import ToneWord
from worker.audio.decoding.decode import open_source
from worker.audio.pcm_frames import wire_frames
from worker.errors import SourceError

RATE = 16000
LENGTH_S = 6.0
WORDS = [ToneWord(n, start) for n, start in enumerate((0.2, 0.6, 1.0, 2.5, 3.0, 4.0, 4.5, 5.5))]
PAUSE = 1.6  # seconds: digital silence until the next word


@dataclass(frozen=True)
class Family:
    """A container. `find` returns the fields with its size: (offset, struct format, counted bytes besides the
    audio)."""

    name: str
    format: str
    find: Callable[[bytes], list[tuple[int, str, int]]]
    chunk: Callable[[bytes, bytes], bytes] | None
    """A chunk after the audio."""
    subtype: str = "PCM_16"
    endian: str = "FILE"
    unknown: int = 0xFFFFFFFF

    def __str__(self) -> str:
        return self.name


def wav_chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def big_chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack(">I", len(content)) + content + bytes(len(content) % 2)


def w64_chunk(name: bytes, content: bytes) -> bytes:
    size = 24 + len(content)
    name = name.lower() + bytes.fromhex("f3acd3118cd100c04f8edb8a")
    return name + struct.pack("<Q", size) + content + bytes(-size % 8)


def caf_chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack(">Q", len(content)) + content


def ds64(data: bytes) -> int:
    return data.index(b"ds64") + 16


FAMILIES = [
    Family("wav", "WAV", lambda d: [(d.index(b"data") + 4, "<I", 0)], wav_chunk),
    Family("rifx", "WAV", lambda d: [(d.index(b"data") + 4, ">I", 0)], big_chunk, endian="BIG"),
    Family("wavex", "WAVEX", lambda d: [(d.index(b"data") + 4, "<I", 0)], wav_chunk, subtype="PCM_24"),
    Family("rf64", "RF64", lambda d: [(ds64(d), "<Q", 0)], wav_chunk, unknown=(1 << 64) - 1),
    Family("w64", "W64", lambda d: [(d.index(b"data") + 16, "<Q", 24)], w64_chunk, unknown=(1 << 64) - 1),
    Family("aiff", "AIFF", lambda d: [(d.index(b"SSND") + 4, ">I", 8)], big_chunk),
    Family("aifc", "AIFF", lambda d: [(d.index(b"SSND") + 4, ">I", 8)], big_chunk, subtype="ULAW"),
    Family("aifc-sowt", "AIFF", lambda d: [(d.index(b"SSND") + 4, ">I", 8)], big_chunk, endian="LITTLE"),
    Family("au", "AU", lambda _: [(8, ">I", 0)], None),
    Family("au-little", "AU", lambda _: [(8, "<I", 0)], None, endian="LITTLE"),
    Family("caf", "CAF", lambda d: [(d.index(b"data") + 4, ">Q", 4)], caf_chunk, unknown=(1 << 64) - 1),
]


def make(path: Path, family: Family, said: Callable[[int], int] | None = None, behind: bytes = b"") -> bytes:
    """Writes the words, then `behind`. `said` changes the declared size. Returns the audio of the file."""
    signal = tones.encode(WORDS, RATE, duration_s=LENGTH_S)
    soundfile.write(path, signal, RATE, format=family.format, subtype=family.subtype, endian=family.endian)
    data = bytearray(path.read_bytes())
    audio_bytes = round(LENGTH_S * RATE) * {"PCM_16": 2, "PCM_24": 3, "ULAW": 1}[family.subtype]
    if said is not None:
        for at, layout, besides in family.find(bytes(data)):
            size = said(audio_bytes)
            value = size if size in (0, family.unknown) else size + besides
            data[at : at + struct.calcsize(layout)] = struct.pack(layout, value)
    path.write_bytes(bytes(data) + behind)
    return bytes(data)


def read(path: Path) -> tuple[list[ToneWord], float, tuple[str, ...]]:
    with open_source(path) as source:
        words = tones.decode_pcm16(b"".join(wire_frames(source, 16000, 4000)))
        return words, source.frames_decoded / source.info.sample_rate, source.warnings


def assert_whole(path: Path, warning: str = "", length_s: float = LENGTH_S) -> None:
    words, duration_s, warnings = read(path)
    assert [w.number for w in words] == [w.number for w in WORDS]
    assert all(abs(a.start - b.start) < 0.03 for a, b in zip(words, WORDS, strict=True))
    assert duration_s == pytest.approx(length_s, abs=0.002)
    assert [w for w in warnings if warning not in w] == []
    assert bool(warnings) == bool(warning)


CHUNKS = pytest.mark.parametrize("behind", [False, True], ids=["", "chunks-behind"])
EACH = pytest.mark.parametrize("family", FAMILIES, ids=str)


def trailing(family: Family, wanted: bool) -> bytes:
    if not wanted or family.chunk is None:
        return b""
    noise = np.random.default_rng(1).bytes(30_001)  # would be heard
    return family.chunk(b"LIST", b"INFOISFT" + noise) + family.chunk(b"bext", noise + b"\0")


@EACH
@CHUNKS
@pytest.mark.gate_sample(2)
def test_a_correct_size_gives_no_warning(tmp_path: Path, family: Family, behind: bool) -> None:
    make(tmp_path / "a", family, behind=trailing(family, behind))
    assert_whole(tmp_path / "a")


@EACH
@CHUNKS
@pytest.mark.gate_sample(2)
def test_a_declared_size_of_0_is_corrected(tmp_path: Path, family: Family, behind: bool) -> None:
    make(tmp_path / "a", family, lambda _: 0, trailing(family, behind))
    assert_whole(tmp_path / "a", "the header gives no length (the recording was not closed)")


@EACH
@CHUNKS
@pytest.mark.gate_sample(2)
def test_an_unknown_declared_size_is_accepted(tmp_path: Path, family: Family, behind: bool) -> None:
    make(tmp_path / "a", family, lambda _: family.unknown, trailing(family, behind))
    assert_whole(tmp_path / "a")


@EACH
@CHUNKS
@pytest.mark.parametrize("ends_s", [PAUSE, 2.6, 0.05], ids=["in-silence", "in-a-word", "at-once"])
@pytest.mark.gate_sample(3)
def test_a_declared_size_that_is_too_small_is_corrected(
    tmp_path: Path, family: Family, behind: bool, ends_s: float
) -> None:
    make(tmp_path / "a", family, lambda size: int(size * ends_s / LENGTH_S) // 6 * 6, trailing(family, behind))
    assert_whole(tmp_path / "a", "the header declares less audio than the file has")


@EACH
def test_an_odd_declared_size_is_accepted(tmp_path: Path, family: Family) -> None:
    make(tmp_path / "a", family, lambda size: size - 1)
    assert_whole(tmp_path / "a")
    make(tmp_path / "a", family, lambda size: size // 2 + 1)
    assert_whole(tmp_path / "a", "the header declares less audio than the file has")


@EACH
def test_a_pcm_container_that_is_cut_off_is_reported(tmp_path: Path, family: Family) -> None:
    make(tmp_path / "a", family)
    path = tmp_path / "a"
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    words, duration_s, warnings = read(path)
    assert [w.number for w in words] == [0, 1, 2, 3, 4][: len(words)]
    assert len(words) >= 4
    assert duration_s == pytest.approx(4.0, abs=0.05)
    assert len(warnings) == 1
    assert "cut off: the header declares" in warnings[0]


@EACH
def test_only_zeros_count_as_padding(tmp_path: Path, family: Family) -> None:
    make(tmp_path / "a", family, behind=bytes(50_000))
    assert_whole(tmp_path / "a")


@EACH
def test_an_empty_recording_is_empty(tmp_path: Path, family: Family) -> None:
    from worker.errors import DamagedSource

    soundfile.write(tmp_path / "a", np.zeros(0, np.float32), RATE, format=family.format, subtype=family.subtype)
    with pytest.raises(DamagedSource, match="no audio"):
        open_source(tmp_path / "a")


@pytest.mark.parametrize("size", [0, 4000, 0xFFFFFFFF, None])
@pytest.mark.parametrize("before", [b"bext", b"iXML", b"JUNK", b"id3 ", b"LIST"])
def test_a_long_header_is_skipped(tmp_path: Path, size: int | None, before: bytes) -> None:
    data = make(tmp_path / "a", FAMILIES[0], None if size is None else lambda _: size)
    at = data.index(b"fmt ")
    long = wav_chunk(before, np.random.default_rng(2).bytes(70_001))
    (tmp_path / "a").write_bytes(data[:at] + long + data[at:] + long)
    expected = {0: "the header gives no length", 4000: "the header declares less"}
    assert_whole(tmp_path / "a", expected.get(size or -1 if size is None else size, ""))


@pytest.mark.parametrize("between", [b"", wav_chunk(b"LIST", b"INFO")], ids=["", "chunk-between"])
@pytest.mark.parametrize("listed", [False, True], ids=["", "wavl"])
def test_several_chunks_of_audio_are_joined(tmp_path: Path, between: bytes, listed: bool) -> None:
    """Some recorders begin a new chunk after each pause."""
    data = make(tmp_path / "a", FAMILIES[0])
    head, audio = data[: data.index(b"data")], data[data.index(b"data") + 8 :]
    half = len(audio) // 4 * 2
    pieces = wav_chunk(b"data", audio[:half]) + between + wav_chunk(b"data", audio[half:])
    (tmp_path / "a").write_bytes(head + (wav_chunk(b"LIST", b"wavl" + pieces) if listed else pieces))
    assert_whole(tmp_path / "a")


@pytest.mark.parametrize("silence", [False, True], ids=["", "slnt"])
def test_audio_chunks_may_differ_in_format(tmp_path: Path, silence: bool) -> None:
    """Each chunk follows the `fmt ` chunk before it. Some chunks declare silence."""
    data = make(tmp_path / "a", FAMILIES[0])
    head, audio = data[: data.index(b"data")], data[data.index(b"data") + 8 :]
    split = round(PAUSE * RATE)
    rest = tones.encode(WORDS, 8000, duration_s=LENGTH_S)[round((PAUSE + 0.5 * silence) * 8000) :]
    form = wav_chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 8000, 16000, 2, 16))
    pieces = wav_chunk(b"data", audio[: 2 * split])
    if silence:
        pieces += wav_chunk(b"slnt", struct.pack("<I", RATE // 2))
    pieces += form + wav_chunk(b"data", (rest * 32767).astype("<i2").tobytes())
    (tmp_path / "a").write_bytes(head + pieces)
    assert_whole(tmp_path / "a")


@pytest.mark.parametrize("said", ["right", "zero"])
def test_chunks_without_a_pad_byte_are_found(tmp_path: Path, said: str) -> None:
    data = make(tmp_path / "a", FAMILIES[0], None if said == "right" else lambda _: 0)
    at = data.index(b"data")
    odd = b"note" + struct.pack("<I", 101) + b"x" * 101
    (tmp_path / "a").write_bytes(data[:at] + odd + data[at:] + odd + wav_chunk(b"LIST", b"y" * 200))
    assert_whole(tmp_path / "a", "" if said == "right" else "the header gives no length")


@pytest.mark.parametrize("size", [0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFF000 + 0xFD0])
def test_a_saved_stream_is_not_reported_as_cut_off(tmp_path: Path, size: int) -> None:
    """Sizes that sox, arecord, FFmpeg, mpg123 and text-to-speech services write to a pipe."""
    make(tmp_path / "a", FAMILIES[0], lambda _: size)
    assert_whole(tmp_path / "a")


def test_rf64_without_a_64_bit_size_is_read(tmp_path: Path) -> None:
    data = make(tmp_path / "a", FAMILIES[3])
    at = data.index(b"ds64")
    (tmp_path / "a").write_bytes(data[:at] + b"JUNK" + data[at + 4 :])
    assert_whole(tmp_path / "a")


def test_rf64_with_an_unset_32_bit_size_is_read(tmp_path: Path) -> None:
    data = bytearray(make(tmp_path / "a", FAMILIES[3]))
    at = data.index(b"data") + 4
    data[at : at + 4] = bytes(4)
    (tmp_path / "a").write_bytes(data)
    assert_whole(tmp_path / "a")


@pytest.mark.parametrize("subtype", ["IMA_ADPCM", "MS_ADPCM", "ULAW", "ALAW", "FLOAT", "PCM_U8", "PCM_32"])
@pytest.mark.parametrize("size", [0, 2048, 0xFFFFFFFF])
def test_wrong_sizes_are_corrected_in_each_wav_coding(tmp_path: Path, subtype: str, size: int) -> None:
    path = tmp_path / "a"
    soundfile.write(path, tones.encode(WORDS, RATE, duration_s=LENGTH_S), RATE, format="WAV", subtype=subtype)
    data = bytearray(path.read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = struct.pack("<I", size)
    path.write_bytes(bytes(data) + trailing(FAMILIES[0], True))
    words, duration_s, _ = read(path)
    assert [w.number for w in words] == [w.number for w in WORDS]
    assert duration_s == pytest.approx(LENGTH_S, abs=0.13)


@pytest.mark.parametrize("samples", [1000, 0])
def test_flac_after_an_id3_tag_is_read(tmp_path: Path, samples: int) -> None:
    path = tmp_path / "a"
    soundfile.write(path, tones.encode(WORDS, RATE, duration_s=LENGTH_S), RATE, format="FLAC")
    data = bytearray(path.read_bytes())
    data[22:26] = samples.to_bytes(4, "big")
    path.write_bytes(b"ID3\x03\0\0\0\0\x10\0" + bytes(2048) + bytes(data))
    assert_whole(path, "the header declares less" if samples else "")


@pytest.mark.parametrize("family", [f for f in FAMILIES if f.unknown == 0xFFFFFFFF], ids=str)
def test_a_size_that_overflowed_at_4_gib_is_corrected(tmp_path: Path, family: Family) -> None:
    """A sparse file with words at its start and end, and a hole between them."""
    path = tmp_path / "a"
    head = make(path, family)
    width = {"PCM_16": 2, "PCM_24": 3, "ULAW": 1}[family.subtype]
    audio = head[len(head) - round(LENGTH_S * RATE) * width :]
    start = len(head) - len(audio)
    total = (5 << 30) // len(audio) * len(audio)
    data = bytearray(head[:start])
    for at, layout, besides in family.find(head):
        data[at : at + 4] = struct.pack(layout, (total + besides) % (1 << 32))
    with path.open("wb") as file:
        file.write(data + audio)
        file.seek(start + total - len(audio))
        file.write(audio)
        file.write(trailing(family, True))
    frames = total // width
    began = time.process_time()
    with open_source(path) as source:
        assert source.info.frames == frames
        assert any("declares less audio" in text for text in source.warnings)
        last = frames - round(LENGTH_S * RATE)
        words = tones.decode_pcm16(b"".join(wire_frames(source, 16000, 4000, last / RATE)))
    assert [w.number for w in words] == [w.number for w in WORDS]
    assert time.process_time() - began < 20
    os.truncate(path, 0)


def test_the_search_for_more_audio_is_bounded(tmp_path: Path) -> None:
    """A sparse file with 8 GiB of zeros after the declared end."""
    path = tmp_path / "a"
    make(path, FAMILIES[0])
    os.truncate(path, 8 << 30)
    began = time.process_time()
    assert_whole(path)
    with path.open("r+b") as file:
        file.seek(7 << 30)
        file.write(b"\x10\x20" * 500)
    with open_source(path) as source:
        assert any("declares less audio" in text for text in source.warnings)
    assert time.process_time() - began < 20


@pytest.mark.parametrize("said", [0, 16000, 0xFFFFFFFF])
@pytest.mark.parametrize("left", [1, 2, 3, 4, 7, 8])
def test_a_file_that_ends_within_the_head_of_its_data_chunk_is_refused(tmp_path: Path, said: int, left: int) -> None:
    """The start of the audio is after the end of the file."""
    fmt = b"fmt " + (16).to_bytes(4, "little") + bytes.fromhex("01000100401f0000803e000002001000")
    path = tmp_path / "cut.wav"
    path.write_bytes(
        b"RIFF" + (100).to_bytes(4, "little") + b"WAVE" + fmt + (b"data" + said.to_bytes(4, "little"))[:left]
    )
    with pytest.raises(SourceError, match=r"cut\.wav"), open_source(path) as source:
        for _ in source.blocks():
            pass
