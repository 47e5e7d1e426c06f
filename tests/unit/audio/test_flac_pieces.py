"""FLAC that was cut or joined without decoding: the frames keep the numbers that they had in their old files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import audiofiles, tones
from tests.support.audiofiles import Coding, write_signal, write_words
from tests.support.flacfiles import declaring, numbered_by_samples, split_flac
from tests.support.tones import ToneWord
from worker.audio.decoding.decode import open_source
from worker.audio.decoding.libsndfile_faults import read_plan
from worker.audio.file_formats import flac
from worker.audio.file_formats.flac_frames import is_whole_frame, parse_frame
from worker.audio.opened_file import as_source_file
from worker.audio.pcm_frames import wire_frames

LENGTH_S = 12.0
RATE = 16000
BLOCK = 4096  # samples in a frame that libsndfile writes
WORDS = list(tones.speech(LENGTH_S - 0.3, seed=3))


class Encoded:
    """Words as FLAC, in its frames."""

    def __init__(
        self,
        folder: Path,
        words: Sequence[ToneWord],
        rate: int = RATE,
        channels: int = 1,
        kind: Coding = audiofiles.FLAC,
    ) -> None:
        path = write_words(folder / "whole.flac", words, rate, kind, channels, duration_s=LENGTH_S)
        self.words, self.samples, self.frame_s = words, round(LENGTH_S * rate), BLOCK / rate
        self.head, self.frames = split_flac(path.read_bytes())


def heard(path: Path) -> tuple[list[ToneWord], float, tuple[str, ...], int]:
    """Return the words, the length in seconds, the warnings, and the number of undecoded ranges."""
    with open_source(path) as source:
        found = tones.decode_pcm16(b"".join(wire_frames(source, 16000, 4000)))
        return found, source.frames_decoded / source.info.sample_rate, source.warnings, len(source.undecoded)


def assert_said(path: Path, expected: Sequence[ToneWord], length_s: float) -> None:
    """Asserts that the words are heard once, in order and at their times, without a warning."""
    found, found_s, warnings, undecoded = heard(path)
    assert [w.number for w in found] == [w.number for w in expected]
    assert all(abs(a.start - b.start) < 0.03 for a, b in zip(found, expected, strict=True))
    assert found_s == pytest.approx(length_s, abs=0.01)
    assert (warnings, undecoded) == ((), 0)


def later(words: Sequence[ToneWord], shift_s: float) -> list[ToneWord]:
    """Return the words at other times, without those that begin before 0."""
    return [ToneWord(w.number, w.start + shift_s) for w in words if w.start + shift_s >= 0]


# -- pieces of a longer file -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("by_samples", [False, True], ids=["frame-numbers", "sample-numbers"])
@pytest.mark.parametrize("declared", [round(LENGTH_S * RATE), 0, 1000], ids=["whole", "unknown", "too-short"])
@pytest.mark.parametrize("end", [None, 30], ids=["to-the-end", "from-the-middle"])
def test_a_piece_of_a_longer_file_starts_at_zero(
    tmp_path: Path, declared: int, end: int | None, by_samples: bool
) -> None:
    whole = Encoded(tmp_path, WORDS)
    frames = numbered_by_samples(whole.frames, BLOCK) if by_samples else whole.frames
    path = tmp_path / "a.flac"
    path.write_bytes(declaring(whole.head, declared) + b"".join(frames[16:end]))
    length_s = LENGTH_S - 16 * whole.frame_s if end is None else (end - 16) * whole.frame_s
    expected = [w for w in later(WORDS, -16 * whole.frame_s) if w.end < length_s]
    assert_said(path, expected, length_s)
    with open_source(path) as source:
        assert source.info.frames == round(length_s * RATE)


@pytest.mark.parametrize("coding", [audiofiles.FLAC, audiofiles.FLAC_24], ids=str)
def test_a_section_of_a_piece_is_exact(tmp_path: Path, coding: Coding) -> None:
    whole = Encoded(tmp_path, WORDS, kind=coding)
    path = tmp_path / "a.flac"
    path.write_bytes(whole.head + b"".join(whole.frames[16:]))
    with open_source(path) as source:
        samples = np.concatenate(list(source.blocks()))
        for start in (1, BLOCK, BLOCK + 1, 3 * RATE + 5, len(samples) - 1):
            np.testing.assert_array_equal(np.concatenate(list(source.blocks(start, 0.3))), samples[start:])


def test_audio_after_damage_in_a_piece_keeps_its_time(tmp_path: Path) -> None:
    whole = Encoded(tmp_path, WORDS)
    data = bytearray(whole.head + b"".join(whole.frames[10:]))
    middle = len(data) // 2
    data[middle : middle + 3000] = bytes(3000)
    path = tmp_path / "a.flac"
    path.write_bytes(data)
    found, length_s, warnings, undecoded = heard(path)
    times = {w.number: w.start - 10 * whole.frame_s for w in WORDS}
    assert len(found) == len({w.number for w in found}) >= len(later(WORDS, -10 * whole.frame_s)) - 4
    assert all(abs(w.start - times[w.number]) < 0.03 for w in found)
    assert length_s == pytest.approx(LENGTH_S - 10 * whole.frame_s)
    assert any("damaged at about" in text for text in warnings)
    assert undecoded == 1


def test_a_piece_that_ends_within_a_frame_is_reported_as_cut_off(tmp_path: Path) -> None:
    whole = Encoded(tmp_path, WORDS)
    path = tmp_path / "a.flac"
    path.write_bytes(whole.head + b"".join(whole.frames[10:30]) + whole.frames[30][: len(whole.frames[30]) // 2])
    found, length_s, warnings, _ = heard(path)
    assert length_s == pytest.approx(20 * whole.frame_s, abs=0.02)
    assert len(found) == len({w.number for w in found})
    assert any("cut off or damaged" in text for text in warnings)


def test_a_file_without_its_last_frames_is_reported_as_cut_off(tmp_path: Path) -> None:
    """The numbers of the frames begin at 0, so the declared length is that of the file."""
    whole = Encoded(tmp_path, WORDS)
    path = tmp_path / "a.flac"
    path.write_bytes(whole.head + b"".join(whole.frames[:20]))
    found, length_s, warnings, _ = heard(path)
    assert length_s == pytest.approx(20 * whole.frame_s, abs=0.02)
    assert len(found) == len({w.number for w in found})
    assert any(f"declares {LENGTH_S:.1f} s" in text for text in warnings)


def test_a_file_whose_first_frames_are_damaged_keeps_its_times(tmp_path: Path) -> None:
    """It is no piece: the audio before the first intact frame was lost, and silence replaces it."""
    whole = Encoded(tmp_path, WORDS)
    path = tmp_path / "a.flac"
    path.write_bytes(whole.head + bytes(3000) + b"".join(whole.frames[8:]))
    found, length_s, _, undecoded = heard(path)
    times = {w.number: w.start for w in WORDS}
    assert all(abs(w.start - times[w.number]) < 0.03 for w in found)
    assert (found[-1].number, length_s, undecoded) == (WORDS[-1].number, LENGTH_S, 1)


# -- joined files ------------------------------------------------------------------------------------------------------
FORMS = {"equal": [(RATE, 1)] * 3, "rates": [(RATE, 1), (44100, 1), (8000, 1)], "channels": [(RATE, 2), (RATE, 1)]}


@pytest.mark.parametrize("forms", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("by_samples", [False, True], ids=["frame-numbers", "sample-numbers"])
def test_files_joined_without_their_headers_are_all_read(
    tmp_path: Path, forms: list[tuple[int, int]], by_samples: bool
) -> None:
    files = [Encoded(tmp_path, list(tones.speech(11.5, seed)), *form) for seed, form in enumerate(forms, 20)]
    frames = [numbered_by_samples(one.frames, BLOCK) if by_samples else one.frames for one in files]
    path = tmp_path / "a.flac"
    path.write_bytes(files[0].head + b"".join(b"".join(one) for one in frames))
    expected = [word for place, one in enumerate(files) for word in later(one.words, place * LENGTH_S)]
    assert_said(path, expected, LENGTH_S * len(files))


def test_pieces_may_be_joined_in_any_order(tmp_path: Path) -> None:
    whole = Encoded(tmp_path, WORDS)
    path = tmp_path / "a.flac"
    path.write_bytes(whole.head + b"".join([*whole.frames[24:], *whole.frames[:8], *whole.frames[16:24]]))
    samples = np.concatenate([*(_decoded(tmp_path, whole)[at : at + length] for at, length in
                                ((24 * BLOCK, whole.samples), (0, 8 * BLOCK), (16 * BLOCK, 8 * BLOCK)))])  # fmt: skip
    with open_source(path) as source:
        np.testing.assert_allclose(np.concatenate(list(source.blocks())), samples, atol=1e-4)
        assert source.warnings == ()


def _decoded(folder: Path, whole: Encoded) -> np.ndarray:
    (folder / "b.flac").write_bytes(whole.head + b"".join(whole.frames))
    with open_source(folder / "b.flac") as source:
        return np.concatenate(list(source.blocks()))


def test_a_missing_frame_repeats_no_audio(tmp_path: Path) -> None:
    whole = Encoded(tmp_path, WORDS)
    path = tmp_path / "a.flac"
    path.write_bytes(whole.head + b"".join([*whole.frames[:20], *whole.frames[21:]]))
    found, length_s, _, _ = heard(path)
    assert len(found) == len({w.number for w in found}) >= len(WORDS) - 2
    assert length_s == pytest.approx(LENGTH_S - whole.frame_s)


def test_audio_after_damage_in_a_joined_file_keeps_its_time(tmp_path: Path) -> None:
    one, two = (Encoded(tmp_path, list(tones.speech(11.5, seed))) for seed in (20, 21))
    frames = [*one.frames, *two.frames]
    for number in (20, len(one.frames) + 20):
        frames[number] = bytes(len(frames[number]))
    path = tmp_path / "a.flac"
    path.write_bytes(one.head + b"".join(frames))
    found, length_s, _, undecoded = heard(path)
    times = {w.number: w.start for w in [*one.words, *later(two.words, LENGTH_S)]}
    assert all(abs(w.start - times[w.number]) < 0.03 for w in found)
    assert len(found) == len({w.number for w in found}) >= len(times) - 4
    assert (length_s, undecoded) == (2 * LENGTH_S, 2)


@pytest.mark.parametrize("is_declared", [False, True], ids=["unknown-length", "declared"])
@pytest.mark.parametrize("sizes", [(40, 40), (3, 200), (200, 3), (60, 200, 60)], ids=str)
def test_a_large_joined_file_is_noticed_at_the_checked_positions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sizes: tuple[int, ...], is_declared: bool
) -> None:
    """Some positions are checked before the whole file is searched. `sizes`: number of frames of each file."""
    monkeypatch.setattr(flac, "_LARGE_BYTES", 0)
    noise = (np.random.default_rng(1).standard_normal(200 * BLOCK) * 0.1).astype(np.float32)
    head, frames = split_flac(write_signal(tmp_path / "b.flac", noise, RATE, audiofiles.FLAC).read_bytes())
    path = tmp_path / "a.flac"
    joined = b"".join(b"".join(frames[:count]) for count in sizes)
    path.write_bytes(declaring(head, sizes[0] * BLOCK if is_declared else 0) + joined)
    parts = read_plan(as_source_file(path)).parts
    assert [part.length_s for part in parts] == [pytest.approx(count * BLOCK / RATE) for count in sizes]


@pytest.mark.parametrize("damage", [lambda f: bytes(len(f)), lambda f: b"\xff\xf8" + f[3:], lambda _: b"damaged"],
                         ids=["zeros", "header", "shorter"])  # fmt: skip
def test_a_damaged_file_is_not_taken_for_a_joined_one(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    whole = Encoded(tmp_path, WORDS)
    path = tmp_path / "a.flac"
    for number in range(len(whole.frames) - 1):
        frames = [*whole.frames[:number], damage(whole.frames[number]), *whole.frames[number + 1 :]]
        path.write_bytes(whole.head + b"".join(frames))
        assert flac.streams(as_source_file(path)) == []


# -- frames ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("by_samples", [False, True], ids=["frame-numbers", "sample-numbers"])
def test_the_headers_of_frames_are_understood(tmp_path: Path, by_samples: bool) -> None:
    whole = Encoded(tmp_path, WORDS, 44100, 2)
    frames = numbered_by_samples(whole.frames, BLOCK) if by_samples else whole.frames
    parsed = [parse_frame(frame[:16]) for frame in frames]
    assert [frame.number for frame in parsed if frame] == [k * (BLOCK if by_samples else 1) for k in range(len(frames))]
    assert {(f.rate, f.channels, f.bits) for f in parsed if f} == {(44100, 2, 16)}
    assert sum(frame.size for frame in parsed if frame) == whole.samples
    assert all(map(is_whole_frame, frames))
    assert not any(is_whole_frame(frame[:-2]) for frame in frames)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=20))
def test_any_bytes_are_parsed_without_an_error(data: bytes) -> None:
    parse_frame(b"\xff\xf8" + data)
    parse_frame(data)
