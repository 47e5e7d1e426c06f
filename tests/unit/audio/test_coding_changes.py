"""Files whose rate, channels or codec change in the middle: all parts are read, mixed and resampled to one rate."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.support import audiofiles, tones
from tests.support.audiofiles import Coding, write_words
from tests.support.timedmedia import mp4_of_two, ogg_checksum, ogg_pages, write_timed
from tests.support.tones import ToneWord
from worker.audio.decoding import ffmpeg_container
from worker.audio.decoding.decode import open_source
from worker.audio.decoding.stream_succession import SUCCESSION_PACKETS, FirstStream, Succession
from worker.audio.pcm_frames import wire_frames
from worker.audio.source import Audio

PART_S = 3.0
FIRST = [ToneWord(n, 0.4 + 0.5 * n) for n in range(5)]
SECOND = [ToneWord(100 + n, 0.4 + 0.5 * n) for n in range(5)]


def encoded(folder: Path, words: list[ToneWord], container: str, codec: str, rate: int, channels: int) -> bytes:
    signal = tones.encode(words, rate, duration_s=PART_S)
    path = folder / "part.bin"
    write_timed(path, signal, container=container, codec=codec, rate=rate, channels=channels)
    return path.read_bytes()


def stored(folder: Path, words: list[ToneWord], coding: Coding, rate: int, channels: int = 1) -> bytes:
    return write_words(folder / f"part.{coding.ending}", words, rate, coding, channels, duration_s=PART_S).read_bytes()


def heard(source: Audio) -> list[ToneWord]:
    return tones.decode_pcm16(b"".join(wire_frames(source, 16000, 4000)))


def assert_both(source: Audio, within_s: float, parts: int = 2) -> None:
    found = heard(source)
    words = [*FIRST, *SECOND] if parts == 2 else FIRST
    assert [w.number for w in found] == [w.number for w in words]
    expected = [w.start for w in FIRST] + [w.start + PART_S for w in SECOND]
    late = [f.start - at for f, at in zip(found, expected[: len(found)], strict=True)]
    assert max(map(abs, late)) < within_s, late
    assert source.undecoded == ()


def assert_exact_starts(source: Audio) -> None:
    whole = np.concatenate(list(source.blocks()))
    for start in (1, len(whole) // 2 - 5, 3 * len(whole) // 4, len(whole) - 1):
        np.testing.assert_array_equal(np.concatenate(list(source.blocks(start, 0.3))), whole[start:])


# -- read by FFmpeg --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("muxer", "first", "second"),
    [
        ("adts", ("aac", 48000, 2), ("aac", 22050, 1)),
        ("adts", ("aac", 44100, 1), ("aac", 44100, 2)),
        ("ac3", ("ac3", 48000, 2), ("ac3", 48000, 6)),
        ("mpegts", ("aac", 48000, 2), ("aac", 22050, 1)),
        ("mpegts", ("aac", 48000, 2), ("aac", 48000, 6)),
        ("mpegts", ("ac3", 48000, 2), ("ac3", 48000, 6)),
        ("mpegts", ("mp2", 48000, 2), ("mp2", 24000, 1)),
        ("mpegts", ("aac", 48000, 1), ("mp2", 44100, 2)),
        ("mpegts", ("mp2", 44100, 2), ("ac3", 48000, 6)),
        ("mp2", ("mp2", 48000, 2), ("mp2", 24000, 1)),
    ],
    ids=str,
)
@pytest.mark.gate_sample(3)
def test_joined_streams_of_different_formats_are_read_completely(
    tmp_path: Path, muxer: str, first: tuple[str, int, int], second: tuple[str, int, int]
) -> None:
    parts = [encoded(tmp_path, words, muxer, *form) for words, form in ((FIRST, first), (SECOND, second))]
    path = tmp_path / "a.bin"
    path.write_bytes(b"".join(parts))
    with open_source(path) as source:
        assert_both(source, 0.1)  # none of these says how much silence an encoder put in front: each adds its own
        assert source.info.sample_rate == first[1]
        assert_exact_starts(source)


def test_a_transport_stream_is_followed_to_its_next_elementary_stream(tmp_path: Path) -> None:
    one, two = tmp_path / "1.ts", tmp_path / "2.ts"
    for path, words, stream_id, rate in ((one, FIRST, 256, 48000), (two, SECOND, 300, 44100)):
        signal = tones.encode(words, rate, duration_s=PART_S)
        write_timed(path, signal, container="mpegts", codec="mp2", rate=rate, stream_id=stream_id)
    path = tmp_path / "a.ts"
    path.write_bytes(one.read_bytes() + two.read_bytes())
    with open_source(path) as source:
        assert_both(source, 0.1)
    path.write_bytes(two.read_bytes() + one.read_bytes() + two.read_bytes())
    with open_source(path) as source:
        numbers = [w.number for w in SECOND]
        assert [w.number for w in heard(source)] == [*numbers, *(w.number for w in FIRST), *numbers]
        assert_exact_starts(source)


def test_parallel_streams_are_not_a_change() -> None:
    succession = Succession(0)
    for _ in range(20):
        succession.own()
        assert all(succession.other(1, 500) is None for _ in range(SUCCESSION_PACKETS // 2))
    succession.own()
    assert all(succession.other(1, 900) is None for _ in range(5 * SUCCESSION_PACKETS))  # 0 has ended, 1 goes on
    assert [succession.other(2, 1000 + n) for n in range(SUCCESSION_PACKETS)][-1] == 1000


def test_streams_that_are_known_to_be_parallel_are_not_a_change() -> None:
    succession = Succession(0, [1])
    assert all(succession.other(1, 500) is None for _ in range(2 * SUCCESSION_PACKETS))


def first_stream(packets: list[int]) -> FirstStream:
    """The result for the packets of some streams, if stream 0 is the default."""
    first = FirstStream(0)
    for stream in packets:
        if first.add(stream):
            break
    return first


LONG = 2 * SUCCESSION_PACKETS


@pytest.mark.parametrize(
    ("packets", "continued", "parallel"),
    [
        ([0] * LONG + [1] * LONG, None, set()),
        ([1] * (SUCCESSION_PACKETS - 1) + [0] * LONG, None, set()),
        ([1] * LONG + [0] * LONG, 1, set()),
        ([1] * LONG + [0, 1, 0, 0, 1] + [0] * LONG, 1, set()),  # two late packets at the change
        ([1] * LONG + [0, 1] * LONG, None, {1}),
        ([1] * LONG + [0, 0, 0, 0, 0, 1] * LONG, None, {1}),  # packets of different length
        ([1] * LONG + [0, 1] * 10, None, {1}),
        ([1] * LONG + [0] * 10, 1, set()),
        ([1] * LONG, 1, set()),
        ([1, 2] * LONG + [0, 2] * LONG, 1, {2}),
        ([1] * 500 * LONG + [0, 1] * LONG, 1, set()),
    ],
)
def test_the_default_stream_is_read_unless_it_continues_another_stream(
    packets: list[int], continued: int | None, parallel: set[int]
) -> None:
    first = first_stream(packets)
    assert (first.continued, first.parallel) == (continued, parallel)


@pytest.mark.parametrize(("first", "second"), [((48000, 2), (24000, 1)), ((16000, 1), (48000, 2))], ids=str)
def test_an_mp4_with_two_sample_descriptions_is_read_completely(
    tmp_path: Path, first: tuple[int, int], second: tuple[int, int]
) -> None:
    parts = [encoded(tmp_path, words, "mp4", "aac", *form) for words, form in ((FIRST, first), (SECOND, second))]
    path = tmp_path / "a.mp4"
    path.write_bytes(mp4_of_two(*parts, (first[0], second[0])))
    with open_source(path) as source:
        assert_both(source, 0.15)  # no edit list, so that the priming of both is heard: 1024 samples each
        assert_exact_starts(source)


def test_a_missing_channel_is_silent(tmp_path: Path) -> None:
    parts = [encoded(tmp_path, w, "adts", "aac", 48000, n) for w, n in ((FIRST, 2), (SECOND, 1))]
    path = tmp_path / "a.aac"
    path.write_bytes(b"".join(parts))
    with open_source(path, 0) as source:
        assert_both(source, 0.1)
    with open_source(path, 1) as source:
        assert_both(source, 0.1, parts=1)
        assert any("channel 2 is silent there" in w for w in source.warnings)


# -- read part by part -----------------------------------------------------------------------------------------------
ID3 = b"ID3\x03\0\0" + bytes([0, 0, 8, 0]) + b"\xff\xfb\x90\x00" * 256
COVER = b"ID3\x03\0\0" + bytes([0, 2, 0, 0]) + np.random.default_rng(5).bytes(32768)
GARBAGE = np.random.default_rng(6).bytes(5000)


@pytest.mark.parametrize(
    ("first", "second", "between"),
    [
        ((44100, 2), (22050, 1), b""),
        ((48000, 1), (48000, 2), b""),
        ((8000, 1), (44100, 1), ID3),
        ((44100, 2), (22050, 1), COVER),
        ((48000, 1), (48000, 2), GARBAGE),
        ((44100, 2), (22050, 1), bytes(3000)),
        ((24000, 1), (48000, 2), b"TAG" + bytes(125) + ID3),
    ],
)
@pytest.mark.gate_sample(2)
def test_joined_mp3s_of_different_rates_and_channels_are_read_completely(
    tmp_path: Path, first: tuple[int, int], second: tuple[int, int], between: bytes
) -> None:
    one, two = (stored(tmp_path, w, audiofiles.MP3, *form) for w, form in ((FIRST, first), (SECOND, second)))
    path = tmp_path / "a.mp3"
    path.write_bytes(one + between + two)
    with open_source(path) as source:
        assert (source.info.sample_rate, source.info.channels) == (max(first[0], second[0]), max(first[1], second[1]))
        assert_both(source, 0.03)
        assert source.warnings == ()
        assert source.frames_decoded == 2 * PART_S * source.info.sample_rate
        if not between:
            assert_exact_starts(source)


def test_joined_mp3s_without_length_tags_are_read_completely(tmp_path: Path) -> None:
    one, two = (stored(tmp_path, w, audiofiles.MP3, *f) for w, f in ((FIRST, (44100, 2)), (SECOND, (16000, 1))))
    path = tmp_path / "a.mp3"
    path.write_bytes(audiofiles.without_first_mp3_frame(one) + audiofiles.without_first_mp3_frame(two))
    with open_source(path) as source:
        assert_both(source, 0.06)


ADVERT_S = 0.8


def test_a_short_advert_after_a_long_mp3_is_read(tmp_path: Path) -> None:
    """The advert is less than 2 % of the file, the tolerance for length tags."""
    words = list(tones.speech(50, seed=4))
    long = write_words(tmp_path / "1.mp3", words, 44100, audiofiles.MP3, 2, duration_s=60).read_bytes()
    advert = write_words(tmp_path / "2.mp3", SECOND[:1], 24000, audiofiles.MP3, duration_s=ADVERT_S).read_bytes()
    path = tmp_path / "a.mp3"
    path.write_bytes(long + advert)
    assert len(advert) < 0.02 * len(long)
    with open_source(path) as source:
        tail = np.concatenate(list(source.blocks(60 * source.info.sample_rate)))
        assert len(tail) == ADVERT_S * source.info.sample_rate


def test_an_advert_inside_an_mp3_with_a_corrected_length_tag_is_read(tmp_path: Path) -> None:
    one = stored(tmp_path, FIRST, audiofiles.MP3, 44100, 2)
    two = stored(tmp_path, SECOND, audiofiles.MP3, 22050)
    data = bytearray(one + two)
    at = data.find(b"Xing") if data.find(b"Xing") >= 0 else data.find(b"Info")
    data[at + 12 : at + 16] = len(data).to_bytes(4, "big")
    path = tmp_path / "a.mp3"
    path.write_bytes(data)
    with open_source(path) as source:
        assert_both(source, 0.03)


@pytest.mark.parametrize("second", [(48000, 2), (44100, 2), (22050, 1)], ids=str)
def test_joined_flac_files_are_read_completely(tmp_path: Path, second: tuple[int, int]) -> None:
    """Also with equal length and format, where the header of the first file is correct."""
    one, two = (stored(tmp_path, w, audiofiles.FLAC, *f) for w, f in ((FIRST, (48000, 2)), (SECOND, second)))
    path = tmp_path / "a.flac"
    path.write_bytes(one + two)
    with open_source(path) as source:
        assert_both(source, 0.01)
        assert source.warnings == ()
        assert_exact_starts(source)
    path.write_bytes(one)
    with open_source(path) as source:
        assert source.info.frames == PART_S * 48000


def test_joined_wav_files_are_read_completely(tmp_path: Path) -> None:
    one, two = (stored(tmp_path, w, audiofiles.WAV, *f) for w, f in ((FIRST, (48000, 2)), (SECOND, (8000, 1))))
    path = tmp_path / "a.wav"
    path.write_bytes(one + two)
    with open_source(path) as source:
        assert_both(source, 0.01)
        assert_exact_starts(source)


LINKS: list[tuple[Coding, int, int]] = [
    (audiofiles.OPUS, 48000, 2),
    (audiofiles.OPUS, 48000, 1),
    (audiofiles.VORBIS, 44100, 2),
    (audiofiles.VORBIS, 22050, 1),
]


@pytest.mark.parametrize(("first", "second"), [*pairwise([*LINKS, LINKS[0]]), LINKS[2:0:-1]], ids=str)
@pytest.mark.gate_sample(2)
def test_chained_ogg_streams_are_read_completely(
    tmp_path: Path, first: tuple[Coding, int, int], second: tuple[Coding, int, int]
) -> None:
    path = tmp_path / "a.ogg"
    path.write_bytes(stored(tmp_path, FIRST, *first) + stored(tmp_path, SECOND, *second))
    with open_source(path) as source:
        assert_both(source, 0.03)
        assert source.warnings == ()
        assert source.frames_decoded == 2 * PART_S * source.info.sample_rate
        assert_exact_starts(source)


def test_an_ogg_chain_of_vorbis_and_flac_is_read_completely(tmp_path: Path) -> None:
    flac = encoded(tmp_path, SECOND, "ogg", "flac", 16000, 1)
    path = tmp_path / "a.ogg"
    path.write_bytes(stored(tmp_path, FIRST, audiofiles.VORBIS, 44100, 2) + flac)
    with open_source(path) as source:
        assert_both(source, 0.03)


def _unreadable(data: bytes) -> bytes:
    """An Opus stream with an unknown version number."""
    pages = ogg_pages(data)
    at = pages[0].index(b"OpusHead") + 8
    head = pages[0][:at] + b"\xf0" + pages[0][at + 1 :]
    return b"".join([head[:22] + ogg_checksum(head) + head[26:], *pages[1:]])


def test_an_undecodable_part_becomes_silence_of_its_length_and_is_reported(tmp_path: Path) -> None:
    first, last = stored(tmp_path, FIRST, audiofiles.VORBIS, 44100), stored(tmp_path, SECOND, audiofiles.VORBIS, 22050)
    path = tmp_path / "a.ogg"
    path.write_bytes(first + _unreadable(stored(tmp_path, FIRST, audiofiles.OPUS, 48000)) + last)
    with open_source(path) as source:
        found = heard(source)
        assert [w.number for w in found] == [w.number for w in (*FIRST, *SECOND)]
        assert all(
            abs(f.start - w.start - 2 * PART_S) < 0.03 for f, w in zip(found[-len(SECOND) :], SECOND, strict=True)
        )
        (stretch,) = source.undecoded
        assert (round(stretch.start, 2), round(stretch.end, 2)) == (PART_S, 2 * PART_S)
        assert any(f"from {PART_S} s on could not be decoded" in w for w in source.warnings)


def test_undecodable_packets_become_silence_and_are_listed(tmp_path: Path) -> None:
    words = [*FIRST, *(ToneWord(w.number, w.start + PART_S) for w in SECOND)]
    signal = tones.encode(words, 48000, duration_s=2 * PART_S)
    path = write_timed(tmp_path / "a.mp4", signal, container="mp4", codec="aac", rate=48000)
    data = bytearray(path.read_bytes())
    at = data.index(b"mdat")
    size = int.from_bytes(data[at - 4 : at], "big")
    first, last = at + size // 2, at + size * 2 // 3
    data[first:last] = np.random.default_rng(8).bytes(last - first)
    path.write_bytes(data)
    with open_source(path) as source:
        found = [w for w in heard(source) if w.number in {*(v.number for v in FIRST), *(v.number for v in SECOND)}]
        times = {w.number: w.start for w in FIRST} | {w.number: w.start + PART_S for w in SECOND}
        assert all(abs(w.start - times[w.number]) < 0.03 for w in found)
        assert [w.number for w in found][-3:] == [w.number for w in SECOND[-3:]]
        assert sum(s.end - s.start for s in source.undecoded) > 0.3
        assert any("damaged at about" in w for w in source.warnings)


@pytest.mark.parametrize("make", ["mp3", "ogg"])
def test_joined_files_are_read_without_the_extra(tmp_path: Path, make: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = (_mp3 if make == "mp3" else _ogg)(tmp_path)
    monkeypatch.setattr(ffmpeg_container, "av", None)
    with open_source(path) as source:
        assert_both(source, 0.03)


def _mp3(folder: Path) -> Path:
    path = folder / "a.mp3"
    path.write_bytes(stored(folder, FIRST, audiofiles.MP3, 44100, 2) + stored(folder, SECOND, audiofiles.MP3, 16000))
    return path


def _ogg(folder: Path) -> Path:
    path = folder / "a.ogg"
    path.write_bytes(
        stored(folder, FIRST, audiofiles.VORBIS, 44100, 2) + stored(folder, SECOND, audiofiles.OPUS, 48000)
    )
    return path
