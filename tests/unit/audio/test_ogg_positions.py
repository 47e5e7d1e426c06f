"""Granule positions of Ogg streams: gaps, jumps back, starts above zero, lost and damaged pages."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import audiofiles, tones
from tests.support.audiofiles import write_words
from tests.support.timedmedia import ogg_checksum, ogg_pages, ogg_shifted, write_timed
from tests.support.tones import ToneWord
from worker.audio.decoding.decode import open_source
from worker.audio.file_formats import ogg
from worker.audio.file_formats.ogg_granules import FIRST, LAST, OggPage, checksum
from worker.audio.pcm_frames import wire_frames

WORDS = list(tones.speech(14, seed=9))
LENGTH_S = 15.0
RATE = 48000
OGG = {"opus": audiofiles.OPUS, "vorbis": audiofiles.VORBIS}
KINDS = ["opus", "vorbis", "flac"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("ogg")
    made = {}
    for kind in KINDS:
        path = folder / f"a.{kind}.ogg"
        if (coding := OGG.get(kind)) is not None:
            write_words(path, WORDS, RATE, coding, duration_s=LENGTH_S)
        else:
            signal = tones.encode(WORDS, RATE, duration_s=LENGTH_S)
            write_timed(path, signal, container="ogg", codec=kind, rate=RATE)
        made[kind] = path.read_bytes()
    return made


def speex_pages(seconds: int) -> list[bytes]:
    """Pages of an Ogg stream of Speex at 16 kHz: two with headers, then one for each second with 50 packets."""
    fields = (1, 80, 16000, 1, 4, 1, 0, 320, 1, 1, 0, 0, 0)
    head = b"Speex   " + b"1.2".ljust(20, b"\0") + struct.pack("<13i", *fields)
    bodies = [(0, [head]), (0, [bytes(8)]), *((16000 * (n + 1), [bytes(60)] * 50) for n in range(seconds))]
    pages = []
    for number, (granule, packets) in enumerate(bodies):
        flags = FIRST if number == 0 else LAST if number == seconds + 1 else 0
        start = struct.pack("<4sBBqIIIB", b"OggS", 0, flags, granule, 7, number, 0, len(packets))
        page = start + bytes(map(len, packets)) + b"".join(packets)
        pages.append(page[:22] + ogg_checksum(page) + page[26:])
    return pages


def read(path: Path) -> tuple[list[ToneWord], float, tuple[str, ...]]:
    with open_source(path) as source:
        found = tones.decode_pcm16(b"".join(wire_frames(source, 16000, 4000)))
        return found, source.frames_decoded / source.info.sample_rate, source.warnings


def audio_pages(data: bytes) -> list[int]:
    """Granule positions at the ends of all audio pages but the last."""
    granules = [int.from_bytes(page[6:14], "little", signed=True) for page in ogg_pages(data)]
    return [granule for granule in granules if granule > 0][:-1]


def assert_gap(path: Path, at_s: float, gap_s: float) -> None:
    """Asserts that words after the gap are later by its length. The gap may cut one word in two."""
    found, length_s, warnings = read(path)
    times = {w.number: w.start + (gap_s if w.start > at_s - 0.03 else 0.0) for w in WORDS}
    cut = {w.number for w in WORDS if w.start - 0.04 < at_s < w.end + 0.04}
    assert {w.number for w in WORDS} - {w.number for w in found} <= cut
    assert all(abs(w.start - times[w.number]) < 0.03 for w in found if w.number not in cut)
    assert abs(length_s - LENGTH_S - gap_s) < 0.05
    assert any("gaps in its timestamps" in w for w in warnings)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gap_s", [0.02, 6.0])
@pytest.mark.gate_sample(2)
def test_a_gap_becomes_silence_at_its_position(
    tmp_path: Path, files: dict[str, bytes], kind: str, gap_s: float
) -> None:
    data = files[kind]
    ends = audio_pages(data)
    number = len(ends) // 2
    path = tmp_path / "a.ogg"
    path.write_bytes(ogg_shifted(data, lambda n, _: round(gap_s * RATE) if n >= number else 0))
    assert_gap(path, ends[number - 1] / RATE, gap_s)


@settings(max_examples=5, deadline=None)
@given(kind=st.sampled_from(["opus", "vorbis"]), gap_s=st.floats(0.02, 4.0), data=st.data())
def test_a_gap_may_be_at_any_position(
    tmp_path_factory: pytest.TempPathFactory,
    files: dict[str, bytes],
    kind: str,
    gap_s: float,
    data: st.DataObject,
) -> None:
    ends = audio_pages(files[kind])
    number = data.draw(st.integers(1, len(ends) - 1))
    path = tmp_path_factory.getbasetemp() / "gap.ogg"
    path.write_bytes(ogg_shifted(files[kind], lambda n, _: round(gap_s * RATE) if n >= number else 0))
    assert_gap(path, ends[number - 1] / RATE, gap_s)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("start_s", [0.5, 5000.0, -0.5, -0.96, -1.5])
def test_a_stream_that_was_cut_out_of_a_longer_one_starts_at_zero(
    tmp_path: Path, files: dict[str, bytes], kind: str, start_s: float
) -> None:
    """RFC 7845, section 4.3: times count from the first sample. `ffmpeg -ss 7 -i a.ogg -c copy b.ogg` copies whole
    pages, and counts from the position 7 s, so positions begin below 0."""
    path = tmp_path / "a.ogg"
    path.write_bytes(ogg_shifted(files[kind], lambda _n, _g: round(start_s * RATE)))
    found, length_s, warnings = read(path)
    assert [w.number for w in found] == [w.number for w in WORDS]
    assert all(abs(f.start - w.start) < 0.03 for f, w in zip(found, WORDS, strict=True))
    assert (round(length_s, 2), warnings) == (LENGTH_S, ())


def marked(page: bytes, flags: int) -> bytes:
    """Return an Ogg page with other flags."""
    page = page[:5] + bytes((flags,)) + page[6:]
    return page[:22] + ogg_checksum(page) + page[26:]


def numbered(page: bytes, number: int) -> bytes:
    page = page[:18] + number.to_bytes(4, "little") + page[22:]
    return page[:22] + ogg_checksum(page) + page[26:]


@pytest.mark.parametrize("first", [1, 6, -1], ids=["most", "middle", "last-page"])
def test_a_piece_of_flac_in_ogg_starts_at_zero(tmp_path: Path, files: dict[str, bytes], first: int) -> None:
    """The positions of its pages are those of the longer file, and no page has an end mark."""
    pages = ogg_pages(files["flac"])
    heads = [page for page in pages if int.from_bytes(page[6:14], "little", signed=True) <= 0]
    audio = pages[len(heads) :]
    start_s = int.from_bytes(audio[first - 1][6:14], "little") / RATE
    piece = [numbered(marked(page, 0), len(heads) + place) for place, page in enumerate(audio[first:])]
    path = tmp_path / "a.ogg"
    path.write_bytes(b"".join([*heads, *piece]))
    found, length_s, warnings = read(path)
    expected = [w for w in WORDS if w.start >= start_s]
    assert [w.number for w in found] == [w.number for w in expected]
    assert all(abs(f.start - (w.start - start_s)) < 0.03 for f, w in zip(found, expected, strict=True))
    assert length_s == pytest.approx(LENGTH_S - start_s, abs=0.001)
    assert len(warnings) == 1
    assert "no end mark" in warnings[0]
    with open_source(path) as source:
        assert source.info.duration_s == pytest.approx(length_s)


def test_an_empty_packet_of_flac_in_ogg_has_no_samples(tmp_path: Path, files: dict[str, bytes]) -> None:
    *pages, last = ogg_pages(files["flac"])
    count = last[26]
    last = marked(last[:26] + bytes((count + 1,)) + last[27 : 27 + count] + bytes(1) + last[27 + count :], 0)
    path = tmp_path / "a.ogg"
    path.write_bytes(b"".join([*pages, last]))
    found, length_s, _ = read(path)
    assert [w.number for w in found] == [w.number for w in WORDS]
    assert round(length_s, 3) == LENGTH_S
    (link,), _, _ = ogg.links(path)
    assert link.only is not None
    assert (link.only.patches, link.only.shifts) == ([], [])


def test_a_stream_below_zero_may_have_one_position(tmp_path: Path) -> None:
    """The only page with a position is the last page, which may also declare that its end is padding."""
    path = tmp_path / "a.ogg"
    words = [word for word in WORDS if word.end < 0.8]
    write_words(path, words, RATE, audiofiles.VORBIS, duration_s=0.9)
    path.write_bytes(ogg_shifted(path.read_bytes(), lambda _n, _g: -RATE // 2))
    found, length_s, _ = read(path)
    assert words
    assert [w.number for w in found] == [w.number for w in words]
    assert length_s == pytest.approx(0.9, abs=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_positions_that_jump_back_lose_no_audio(tmp_path: Path, files: dict[str, bytes], kind: str) -> None:
    path = tmp_path / "a.ogg"
    path.write_bytes(ogg_shifted(files[kind], lambda n, _: -4 * RATE if n >= 6 else 0))
    found, length_s, _ = read(path)
    assert [w.number for w in found] == [w.number for w in WORDS]
    assert round(length_s, 2) == LENGTH_S


@pytest.mark.parametrize("is_damaged", [False, True], ids=["lost", "damaged"])
@pytest.mark.parametrize("kind", ["opus", "vorbis"])
@pytest.mark.gate_sample(2)
def test_a_missing_page_becomes_silence_of_its_length(
    tmp_path: Path, files: dict[str, bytes], kind: str, is_damaged: bool
) -> None:
    pages = ogg_pages(files[kind])
    gone = len(pages) // 2
    damaged = pages[gone][:100] + bytes(20) + pages[gone][120:]
    pages[gone : gone + 1] = [damaged] if is_damaged else []
    path = tmp_path / "a.ogg"
    path.write_bytes(b"".join(pages))
    found, length_s, _ = read(path)
    times = {w.number: w.start for w in WORDS}
    assert all(abs(w.start - times[w.number]) < 0.03 for w in found)
    assert found[-1].number == WORDS[-1].number
    assert round(length_s, 2) == LENGTH_S
    with open_source(path) as source:
        list(source.blocks())
        assert bool(source.undecoded) == is_damaged


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("repeats", ["one_page", "several_pages", "end", "each_page"])
def test_repeated_pages_are_read_once(tmp_path: Path, files: dict[str, bytes], kind: str, repeats: str) -> None:
    """A recorder that reconnects, or a damaged copy, writes some pages again, with the same numbers."""
    pages = ogg_pages(files[kind])
    middle = len(pages) // 2
    written = {
        "one_page": [*pages[:middle], *pages[middle - 1 :]],
        "several_pages": [*pages[:middle], *pages[max(2, middle - 5) :]],
        "end": [*pages, *pages[-2:]],
        "each_page": [page for page in pages for _ in range(2)],
    }
    path = tmp_path / "a.ogg"
    path.write_bytes(b"".join(written[repeats]))
    found, length_s, warnings = read(path)
    assert [w.number for w in found] == [w.number for w in WORDS]
    assert all(abs(f.start - w.start) < 0.03 for f, w in zip(found, WORDS, strict=True))
    assert (round(length_s, 2), warnings) == (LENGTH_S, ())


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_joined_to_itself_is_read_twice(tmp_path: Path, files: dict[str, bytes], kind: str) -> None:
    """All its pages occur twice, but the second copy has its own start."""
    path = tmp_path / "a.ogg"
    path.write_bytes(2 * files[kind])
    found, length_s, _ = read(path)
    assert [w.number for w in found] == 2 * [w.number for w in WORDS]
    assert length_s == pytest.approx(2 * LENGTH_S, abs=0.1)


@pytest.mark.parametrize("kind", ["opus", "vorbis"])
def test_pages_with_equal_numbers_and_other_content_are_kept(
    tmp_path: Path, files: dict[str, bytes], kind: str
) -> None:
    path = tmp_path / "a.ogg"
    pages = [
        page if n < 3 else page[:18] + bytes([3, 0, 0, 0]) + page[22:] for n, page in enumerate(ogg_pages(files[kind]))
    ]
    path.write_bytes(b"".join(page[:22] + ogg_checksum(page) + page[26:] for page in pages))
    (link,), _, _ = ogg.links(path)
    assert link.only is not None
    assert link.only.repeats == []


def test_a_damaged_page_of_speex_is_a_gap_at_its_position(tmp_path: Path) -> None:
    """The first page of audio follows the comments at once, and counts like all others."""
    path = tmp_path / "a.ogg"
    pages = speex_pages(seconds=6)
    pages[4] = pages[4][:40] + b"damage" + pages[4][46:]
    path.write_bytes(b"".join(pages))
    stream = ogg.links(path).links[0].only
    assert stream is not None
    assert stream.shifts == [(2.0, 1.0, "damaged Ogg pages")]
    assert stream.length_s == 6.0


@pytest.mark.parametrize("kind", KINDS)
def test_a_complete_stream_is_not_patched(tmp_path: Path, files: dict[str, bytes], kind: str) -> None:
    path = tmp_path / "a.ogg"
    path.write_bytes(files[kind])
    (link,), is_ended, _ = ogg.links(path)
    stream = link.only
    assert stream is not None
    assert (stream.patches, stream.shifts, is_ended) == ([], [], True)
    assert stream.length_s == pytest.approx(LENGTH_S, abs=0.05)


@pytest.mark.parametrize("kind", ["opus", "flac"])
def test_a_start_after_a_gap_is_exact(tmp_path: Path, files: dict[str, bytes], kind: str) -> None:
    path = tmp_path / "a.ogg"
    path.write_bytes(ogg_shifted(files[kind], lambda n, _: 2 * RATE if n >= 5 else 0))
    with open_source(path) as source:
        whole = np.concatenate(list(source.blocks()))
        for start in (1, 3 * RATE + 5, 10 * RATE, len(whole) - 1):
            np.testing.assert_array_equal(np.concatenate(list(source.blocks(start, 0.3))), whole[start:])


@given(st.binary(min_size=28, max_size=300))
def test_the_checksum_is_that_of_the_specification(data: bytes) -> None:
    page = b"OggS" + data
    assert checksum(page) == ogg_checksum(page)
    assert OggPage(0, page[:22] + ogg_checksum(page) + page[26:]).is_intact
