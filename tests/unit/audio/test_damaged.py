"""Damaged files and wrong headers: all decodable audio is read at its times, and `warnings` report the rest."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import numpy as np
import pytest

from tests.support import audiofiles, tones
from tests.support.audiofiles import Coding, write_blocks, write_words
from tests.support.tones import ToneWord
from worker.audio.decoding.decode import open_source
from worker.audio.file_formats import mp3, ogg
from worker.audio.pcm_frames import wire_frames
from worker.errors import DamagedSource, UnsupportedSource

RATES = [8000, 16000, 44100]


def heard(path: Path) -> tuple[list[ToneWord], tuple[str, ...], float]:
    """Return the tone words of a file, its warnings, and its decoded length in seconds."""
    with open_source(path) as source:
        words = tones.decode_pcm16(b"".join(wire_frames(source, 16000, 4000)))
        return words, source.warnings, source.frames_decoded / source.info.sample_rate


def assert_heard(found: list[ToneWord], expected: list[ToneWord], within_s: float = 0.03) -> None:
    assert [w.number for w in found] == [w.number for w in expected]
    assert all(abs(a.start - b.start) < within_s for a, b in zip(found, expected, strict=True))


def spoken(seconds: float, seed: int = 1) -> list[ToneWord]:
    return list(tones.speech(seconds, seed))


def variable_rate_mp3(path: Path, words: list[ToneWord], rate: int, duration_s: float) -> Path:
    """A variable-rate MP3 that is first quiet, then loud, so that its first frames are far from the mean size."""
    import soundfile

    signal = tones.encode(words, rate, duration_s=duration_s)
    noise = np.random.default_rng(0).standard_normal(len(signal)) * 0.02
    noise[: len(noise) // 3] = 0
    soundfile.write(path, signal + noise, rate, format="MP3", bitrate_mode="VARIABLE", compression_level=0.2)
    return path


def with_noise(path: Path, count: int, seed: int) -> None:
    data = bytearray(path.read_bytes())
    at = len(data) // 2
    data[at : at + count] = np.random.default_rng(seed).bytes(count)
    path.write_bytes(data)


# -- MP3 -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("rate", RATES)
def test_an_mp3_without_a_length_tag_is_decoded_completely_at_the_right_times(tmp_path: Path, rate: int) -> None:
    words = spoken(11)
    path = variable_rate_mp3(tmp_path / "a.mp3", words, rate, 12)
    path.write_bytes(audiofiles.without_first_mp3_frame(path.read_bytes()))
    found, warnings, duration_s = heard(path)
    assert_heard(found, words)
    assert duration_s == pytest.approx(12, abs=0.2)
    assert warnings == ()


@pytest.mark.parametrize("rate", RATES)
def test_joined_mp3s_are_decoded_completely(tmp_path: Path, rate: int) -> None:
    first, second = spoken(6, 1), spoken(6, 2)
    one = write_words(tmp_path / "1.mp3", first, rate, audiofiles.MP3, duration_s=7).read_bytes()
    two = write_words(tmp_path / "2.mp3", second, rate, audiofiles.MP3, duration_s=7).read_bytes()
    (tmp_path / "both.mp3").write_bytes(one + two)
    found, _, duration_s = heard(tmp_path / "both.mp3")
    assert_heard(found[: len(first)], first)
    assert [w.number for w in found[len(first) :]] == [w.number for w in second]
    assert duration_s == pytest.approx(14, abs=0.4)


def test_tags_around_an_mp3_are_skipped(tmp_path: Path) -> None:
    words = spoken(5)
    data = write_words(tmp_path / "a.mp3", words, 44100, audiofiles.MP3, duration_s=6).read_bytes()
    picture = b"APIC" + (300_000).to_bytes(4, "big") + bytes(2) + b"\xff\xfb\x90\x00" * 75_000
    size = len(picture)
    id3 = b"ID3\x03\0\0" + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    (tmp_path / "a.mp3").write_bytes(id3 + picture + data + b"TAG" + bytes(125))
    found, warnings, duration_s = heard(tmp_path / "a.mp3")
    assert_heard(found, words)
    assert (warnings, duration_s) == ((), 6.0)


def test_a_damaged_range_in_an_mp3_is_replaced_by_silence_with_a_warning(tmp_path: Path) -> None:
    words = spoken(30)
    path = write_words(tmp_path / "a.mp3", words, 16000, audiofiles.MP3, duration_s=31)
    data = bytearray(path.read_bytes())
    hole = len(data) // 2
    data[hole : hole + 3000] = bytes(3000)
    path.write_bytes(data)
    found, warnings, duration_s = heard(path)
    numbers, expected = [w.number for w in found], [w.number for w in words]
    assert set(numbers) <= set(expected)
    assert len(numbers) >= len(expected) - 5
    assert numbers[-1] == expected[-1]
    assert any(re.search(r"damaged.* at (about )?1\d\.", w) for w in warnings)
    assert duration_s == 31


def test_an_mp3_that_is_cut_off_is_reported(tmp_path: Path) -> None:
    words = spoken(10)
    path = write_words(tmp_path / "a.mp3", words, 16000, audiofiles.MP3, duration_s=11)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found, warnings, _ = heard(path)
    assert_heard(found, words[: len(found)])
    assert len(found) >= len(words) // 2 - 2
    assert any("declares 11.0 s, 4" in w for w in warnings)


def test_the_frames_of_an_mp3_are_counted(tmp_path: Path) -> None:
    path = write_words(tmp_path / "a.mp3", spoken(5), 44100, audiofiles.MP3, channels=2, duration_s=6)
    (tagged,) = mp3.scan_recordings(path)
    assert tagged.trusted
    path.write_bytes(audiofiles.without_first_mp3_frame(path.read_bytes()))
    (bare,) = mp3.scan_recordings(path)
    assert not bare.trusted
    assert bare.frames == tagged.frames
    assert mp3.is_header(bare.length_frame()[:4])


@pytest.mark.parametrize("data", [b"", b"\xff", b"\xff\xfb", b"\xff" * 5000, b"\xff\xfb\x90\x00" * 2000, bytes(5000)])
def test_bytes_that_look_like_mp3_frames_are_not_mp3(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(data)
    assert mp3.scan_recordings(path) == []


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("rate", [16000, 48000])
@pytest.mark.gate_sample(2)
def test_mp3_after_noise_keeps_its_time(tmp_path: Path, rate: int, seed: int) -> None:
    """Noise contains bytes that look like frames, where libsndfile stops."""
    words = spoken(20)
    path = write_words(tmp_path / "a.mp3", words, rate, audiofiles.MP3, duration_s=21)
    with_noise(path, 3000, seed)
    found, warnings, duration_s = heard(path)
    assert set(numbers := [w.number for w in found]) <= {w.number for w in words}
    assert len(numbers) >= len(words) - 4
    said = {w.number: w.start for w in words}
    assert all(abs(w.start - said[w.number]) < 0.03 for w in found)
    assert numbers[-1] == words[-1].number
    assert duration_s == 21
    assert any("damaged at about" in text for text in warnings)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rate", [16000, 48000])
def test_audio_after_damage_in_flac_keeps_its_time(tmp_path: Path, rate: int, seed: int) -> None:
    words = spoken(20)
    path = write_words(tmp_path / "a.flac", words, rate, audiofiles.FLAC, duration_s=21)
    with_noise(path, 3000, seed)
    found, warnings, duration_s = heard(path)
    said = {w.number: w.start for w in words}
    assert len(found) >= len(words) - 6
    assert all(abs(w.start - said[w.number]) < 0.01 for w in found)
    assert duration_s == 21
    assert any("damaged at about" in text for text in warnings)
    with open_source(path) as source:
        list(source.blocks())
        assert sum(s.end - s.start for s in source.undecoded) < 2.5


# -- Ogg -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("coding", [audiofiles.VORBIS, audiofiles.OPUS], ids=str)
def test_chained_ogg_streams_are_decoded_completely(tmp_path: Path, coding: Coding) -> None:
    first, second = spoken(6, 1), spoken(6, 2)
    one = write_words(tmp_path / "1.ogg", first, 16000, coding, duration_s=7).read_bytes()
    two = write_words(tmp_path / "2.ogg", second, 16000, coding, duration_s=7).read_bytes()
    path = tmp_path / "both.ogg"
    path.write_bytes(one + two)
    found, warnings, duration_s = heard(path)
    assert_heard(found, first + [ToneWord(w.number, w.start + 7) for w in second])
    assert (warnings, duration_s) == ((), 14)
    with open_source(path) as source:
        assert source.info.frames is None
        whole = np.concatenate(list(source.blocks()))
        for start in (0, 5, 100_000, 112_000, 150_000):
            np.testing.assert_array_equal(np.concatenate(list(source.blocks(start))), whole[start:])


def test_a_further_ogg_stream_of_another_rate_is_read_too(tmp_path: Path) -> None:
    one = write_words(tmp_path / "1.ogg", spoken(3), 16000, audiofiles.VORBIS, duration_s=4).read_bytes()
    two = write_words(tmp_path / "2.ogg", spoken(3), 44100, audiofiles.VORBIS, duration_s=4).read_bytes()
    (tmp_path / "both.ogg").write_bytes(one + two)
    found, warnings, duration_s = heard(tmp_path / "both.ogg")
    assert_heard(found, [*spoken(3), *(ToneWord(w.number, w.start + 4) for w in spoken(3))])
    assert (warnings, duration_s) == ((), 8.0)


@pytest.mark.parametrize("coding", [audiofiles.VORBIS, audiofiles.OPUS], ids=str)
def test_an_ogg_file_that_is_cut_off_is_reported(tmp_path: Path, coding: Coding) -> None:
    words = spoken(10)
    path = write_words(tmp_path / "a.ogg", words, 16000, coding, duration_s=11)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found, warnings, _ = heard(path)
    assert_heard(found, words[: len(found)])
    assert any("no end mark" in w for w in warnings)


def test_damage_does_not_hide_later_ogg_links(tmp_path: Path) -> None:
    path = write_words(tmp_path / "a.ogg", spoken(10), 16000, audiofiles.VORBIS, duration_s=11)
    data = bytearray(path.read_bytes())
    assert _ogg_ranges(path) == ([(0, len(data))], True)
    data[len(data) // 2 : len(data) // 2 + 5000] = bytes(5000)
    path.write_bytes(data)
    assert _ogg_ranges(path) == ([(0, len(data))], True)
    path.write_bytes(b"OggS" + bytes(3))
    assert _ogg_ranges(path) == ([], False)


def _ogg_ranges(path: Path) -> tuple[list[tuple[int, int]], bool]:
    links, is_ended, _ = ogg.links(path)
    return [(link.start, link.end) for link in links], is_ended


# -- FLAC and WAV ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("coding", [audiofiles.FLAC, audiofiles.FLAC_24], ids=str)
def test_audio_after_a_damaged_range_in_flac_keeps_its_time(tmp_path: Path, coding: Coding) -> None:
    words = spoken(30)
    path = write_words(tmp_path / "a.flac", words, 16000, coding, duration_s=31)
    data = bytearray(path.read_bytes())
    hole = len(data) // 2
    data[hole : hole + 3000] = bytes(3000)
    path.write_bytes(data)
    found, warnings, duration_s = heard(path)
    kept = {w.number for w in found}
    assert_heard(found, [w for w in words if w.number in kept])
    assert len(found) >= len(words) - 5
    assert duration_s == 31
    assert any("damaged at about 1" in w for w in warnings)


def test_a_flac_file_that_is_cut_off_is_reported(tmp_path: Path) -> None:
    words = spoken(10)
    path = write_words(tmp_path / "a.flac", words, 16000, audiofiles.FLAC, duration_s=11)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found, warnings, _ = heard(path)
    assert_heard(found, words[: len(found)])
    assert len(found) >= len(words) // 2 - 3
    assert any("declares 11.0 s" in w for w in warnings)


@pytest.mark.parametrize(("total", "frames"), [(0, None), (10_000_000, 10_000_000)])
def test_a_missing_or_wrong_length_in_a_flac_header_is_corrected(
    tmp_path: Path, total: int, frames: int | None
) -> None:
    words = spoken(5)
    path = write_words(tmp_path / "a.flac", words, 16000, audiofiles.FLAC, duration_s=6)
    data = bytearray(path.read_bytes())
    data[22:26] = total.to_bytes(4, "big")  # STREAMINFO: total samples, the low 32 of 36 bits
    path.write_bytes(data)
    with open_source(path) as source:
        assert source.info.frames == frames
        assert source.info.duration_s == (None if frames is None else frames / 16000)
    found, warnings, duration_s = heard(path)
    assert_heard(found, words)
    assert duration_s == 6
    assert bool(warnings) == bool(frames)
    with open_source(path) as source:
        assert sum(map(len, source.blocks(start_frame=50_000))) == 6 * 16000 - 50_000


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF])
def test_a_wav_file_that_was_never_closed_is_read_completely(tmp_path: Path, size: int) -> None:
    words = spoken(5)
    path = write_words(tmp_path / "a.wav", words, 16000, duration_s=6)
    data = bytearray(path.read_bytes())
    at = data.index(b"data")
    data[at + 4 : at + 8] = size.to_bytes(4, "little")
    path.write_bytes(data)
    found, warnings, duration_s = heard(path)
    assert_heard(found, words)
    assert duration_s == 6
    assert any("not closed" in w for w in warnings) == (size == 0)


@pytest.mark.parametrize("coding", [audiofiles.WAV, audiofiles.MULAW, audiofiles.AIFF], ids=str)
def test_a_pcm_file_that_is_cut_off_is_reported(tmp_path: Path, coding: Coding) -> None:
    words = spoken(10)
    path = write_words(tmp_path / f"a.{coding.ending}", words, 16000, coding, duration_s=11)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found, warnings, _ = heard(path)
    assert_heard(found, words[: len(found)])
    assert any("cut off" in w for w in warnings)


def test_a_completely_undecodable_file_is_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).standard_normal(50_000).astype(np.float32) * 0.1
    path = write_blocks(tmp_path / "a.flac", [noise], 16000, audiofiles.FLAC)
    path.write_bytes(path.read_bytes()[:1000])
    with (
        open_source(path) as source,
        pytest.raises(DamagedSource, match=r"a\.flac: no part of its audio could be decoded"),
    ):
        list(source.blocks())


@pytest.mark.parametrize("coding", [c for c in audiofiles.CODINGS if c.max_channels > 1], ids=str)
@pytest.mark.gate_sample(3)
def test_random_damage_never_hangs_or_escapes_as_another_error(tmp_path: Path, coding: Coding) -> None:
    path = write_blocks(tmp_path / f"a.{coding.ending}", [tones.encode(spoken(3))], 16000, coding, 2)
    whole = path.read_bytes()
    rng = np.random.default_rng(7)
    for _ in range(12):
        data = bytearray(whole)
        for _ in range(int(rng.integers(1, 6))):
            at, length = int(rng.integers(0, len(data))), int(rng.integers(1, 400))
            data[at : at + length] = rng.bytes(min(length, len(data) - at))
        path.write_bytes(data[: int(rng.integers(1, len(data)))])
        with contextlib.suppress(DamagedSource, UnsupportedSource), open_source(path) as source:
            signal = np.concatenate([np.zeros(0, np.float32), *source.blocks()])
            assert np.isfinite(signal).all()
            assert len(signal) == source.frames_decoded
