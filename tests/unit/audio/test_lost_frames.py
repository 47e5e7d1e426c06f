"""Lost frames inside a file: silence replaces them, later words keep their times, and the range is reported."""

from __future__ import annotations

import io
import re
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from tests.support import audiofiles, tones
from tests.support.mediafiles import Media, write_media
from tests.support.tones import ToneWord
from worker.audio.decoding.decode import open_source
from worker.audio.decoding.ffmpeg_container import reason_of_fault
from worker.audio.file_formats import mp3_frames
from worker.audio.file_formats.mp3_scan import Mp3Scanner
from worker.audio.file_formats.raw_stream_gaps import raw_gaps
from worker.audio.file_formats.wavpack_gaps import wavpack_gaps
from worker.audio.pcm_frames import wire_frames
from worker.audio.undecoded_ranges import UndecodedRange

LENGTH_S = 12.0
WORDS = list(tones.speech(LENGTH_S - 1, 3))
ZEROS, NOISE = b"\0", np.random.default_rng(2).bytes(1 << 16)
AAC = Media("aac", "aac", "adts", "aac", 16000)
AC3 = Media("ac3", "ac3", "ac3", "ac3", 48000)
MP3_IN_WAV = Media("wav-mp3", "wav", "wav", "libmp3lame", 44100)
TTA = Media("tta", "tta", "tta", "tta", 16000)
WAVPACK_44 = Media("wavpack-44", "wv", "wv", "wavpack", 44100)
WAVPACK = Media("wavpack", "wv", "wv", "wavpack", 16000)
TTA_IN_MATROSKA = Media("mka-tta", "mka", "matroska", "tta", 16000)


def written(path: Path, media: Media, words: list[ToneWord] = WORDS) -> Path:
    """Write the words, the same in every channel. Returns the path."""
    return write_media(path, tones.encode(words, media.rate, duration_s=LENGTH_S), media)


def read(path: Path) -> tuple[list[ToneWord], tuple[str, ...], tuple[UndecodedRange, ...], float]:
    """Return the words of a file, its warnings, its undecoded ranges, and its decoded length in seconds."""
    with open_source(path) as source:
        words = tones.decode_pcm16(b"".join(wire_frames(source, 16000, 4000)))
        return words, source.warnings, source.undecoded, source.frames_decoded / source.info.sample_rate


def damage(path: Path, first: float, last: float, fill: bytes = b"\0") -> None:
    """Overwrite the bytes from the share `first` to the share `last` of the file with `fill`, repeated."""
    data = bytearray(path.read_bytes())
    start, end = int(len(data) * first), int(len(data) * last)
    data[start:end] = (fill * -(-(end - start) // len(fill)))[: end - start]
    path.write_bytes(data)


def assert_times(found: list[ToneWord], undecoded: tuple[UndecodedRange, ...], within_s: float) -> None:
    """Check that the words outside of the undecoded ranges are found at their times, and no other words."""
    said = {w.number: w.start for w in WORDS}
    assert {w.number for w in found} <= said.keys()
    assert all(abs(w.start - said[w.number]) < within_s for w in found)
    lost = [w for w in WORDS if not any(r.start - 0.5 < w.start < r.end + 0.1 for r in undecoded)]
    assert {w.number for w in lost} <= {w.number for w in found}


def mp3(path: Path, words: list[ToneWord] = WORDS, mode: str = "CONSTANT", *, tag: bool = True) -> bytes:
    """Write an MP3 of 44.1 kHz, with constant or variable bit rate, with or without a length tag. Returns its bytes."""
    signal = tones.encode(words, 44100, duration_s=LENGTH_S)
    soundfile.write(path, signal, 44100, format="MP3", bitrate_mode=mode, compression_level=0.5)
    if not tag:
        path.write_bytes(audiofiles.without_first_mp3_frame(path.read_bytes()))
    return path.read_bytes()


def id3_picture(size: int) -> bytes:
    """Return an ID3 tag with a picture of random bytes, which contain bytes like those of frames."""
    content = b"APIC" + (size - 10).to_bytes(4, "big") + bytes(2) + np.random.default_rng(1).bytes(size - 10)
    return b"ID3\x03\0\0" + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0)) + content


# -- MP3 ---------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("mode", "tag", "fill"),
    [("CONSTANT", True, ZEROS), ("CONSTANT", False, NOISE), ("VARIABLE", True, NOISE), ("VARIABLE", False, ZEROS)],
)
def test_words_after_a_hole_in_an_mp3_keep_their_times(tmp_path: Path, mode: str, tag: bool, fill: bytes) -> None:
    path = tmp_path / "a.mp3"
    mp3(path, mode=mode, tag=tag)
    damage(path, 0.4, 0.6, fill)
    found, warnings, undecoded, duration_s = read(path)
    # Without a tag, only the mean size of the frames tells how many were lost.
    within_s = 0.5 if mode == "VARIABLE" and not tag else 0.03
    assert duration_s == pytest.approx(LENGTH_S, abs=within_s + 0.03)
    assert any("damaged at about" in text for text in warnings)
    assert [r.is_measured for r in undecoded] == [True]
    assert undecoded[0].end - undecoded[0].start == pytest.approx(0.2 * LENGTH_S, abs=0.6)
    assert_times(found, undecoded, within_s)


@pytest.mark.parametrize("fill", [ZEROS, NOISE], ids=["zeros", "noise"])
def test_words_after_a_hole_in_a_wav_file_with_mp3_keep_their_times(tmp_path: Path, fill: bytes) -> None:
    path = written(tmp_path / "a.wav", MP3_IN_WAV)
    assert read(path)[1:3] == ((), ())
    damage(path, 0.4, 0.6, fill)
    found, warnings, undecoded, duration_s = read(path)
    assert duration_s == pytest.approx(LENGTH_S, abs=0.1)
    assert any("damaged at about" in text for text in warnings)
    assert sum(r.end - r.start for r in undecoded) == pytest.approx(0.2 * LENGTH_S, abs=0.1)
    assert_times(found, undecoded, 0.06)


def test_several_holes_in_an_mp3_are_each_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    mp3(path)
    for first in (0.2, 0.5, 0.8):
        damage(path, first, first + 0.05)
    found, _, undecoded, duration_s = read(path)
    assert duration_s == LENGTH_S
    assert [round(r.start / LENGTH_S, 1) for r in undecoded] == [0.2, 0.5, 0.8]
    assert_times(found, undecoded, 0.03)


@pytest.mark.parametrize("count", [4, 40])
def test_the_loss_of_one_frame_moves_no_words(tmp_path: Path, count: int) -> None:
    path = tmp_path / "a.mp3"
    data = bytearray(mp3(path))
    with open_source(path) as source:
        assert source.info.format.startswith("MP3/")
    header = data[:2]
    at = data.index(header, len(data) // 2)
    data[at : at + count] = bytes(count)
    path.write_bytes(data)
    found, _, undecoded, duration_s = read(path)
    assert duration_s == LENGTH_S
    assert undecoded == ()
    said = {w.number: w.start for w in WORDS}
    assert len(found) >= len(WORDS) - 1
    assert all(abs(w.start - said[w.number]) < 0.03 for w in found)


@pytest.mark.parametrize("cut", [0, 1300])
def test_other_bytes_between_the_frames_of_an_mp3_are_not_lost_audio(tmp_path: Path, cut: int) -> None:
    """Not even if the end is cut off, so that the length tag declares a few frames more than there are."""
    data = mp3(tmp_path / "a.mp3")
    at = 0
    while at < len(data) // 2:
        frame = mp3_frames.parse(data[at : at + 4])
        assert frame is not None
        at += frame.length
    (tmp_path / "a.mp3").write_bytes(data[:at] + bytes(20_000) + data[at : len(data) - cut])
    found, _, undecoded, duration_s = read(tmp_path / "a.mp3")
    assert duration_s == pytest.approx(LENGTH_S, abs=0.2 if cut else 0.03)
    assert sum(r.end - r.start for r in undecoded) < 0.2
    assert_times(found, (), 0.2 if cut else 0.03)


def test_chunks_after_the_audio_of_a_wav_file_with_mp3_are_not_read_as_audio(tmp_path: Path) -> None:
    path = written(tmp_path / "a.wav", MP3_IN_WAV)
    frames = mp3(tmp_path / "a.mp3")[2000:8000]
    chunks = b"".join(name + len(frames).to_bytes(4, "little") + frames for name in (b"LIST", b"_PMX"))
    data = path.read_bytes() + chunks
    path.write_bytes(data[:4] + (len(data) - 8).to_bytes(4, "little") + data[8:])
    found, _, undecoded, duration_s = read(path)
    assert undecoded == ()
    assert duration_s == pytest.approx(LENGTH_S, abs=0.1)
    assert_times(found, (), 0.06)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("fill", [b"\xff", b"\xff\xf1", b"\xff\xfb", b"ID3"])
def test_a_megabyte_of_bytes_like_the_starts_of_frames_is_scanned_quickly(tmp_path: Path, fill: bytes) -> None:
    """Erased flash memory reads as 0xFF. The search took minutes for a megabyte of it."""
    between = fill * (1_000_000 // len(fill))
    aac = written(tmp_path / "a.aac", AAC).read_bytes()
    (gap,) = raw_gaps(io.BytesIO(aac + between + aac))
    assert gap.start == len(aac)
    data = mp3(tmp_path / "a.mp3")
    scanned = data + between + data
    assert list(Mp3Scanner(io.BytesIO(scanned), 0, len(scanned)).recordings())


@pytest.mark.parametrize("start", [0, 30_000])
def test_a_damaged_mp3_is_the_same_from_each_start(tmp_path: Path, start: int) -> None:
    path = tmp_path / "a.mp3"
    mp3(path)
    damage(path, 0.4, 0.6)
    with open_source(path) as source:
        complete = np.concatenate(list(source.blocks()))
        np.testing.assert_array_equal(np.concatenate(list(source.blocks(start))), complete[start:])
        assert len(source.undecoded) == 1


@pytest.mark.parametrize("tag", [True, False])
def test_several_pictures_before_joined_mp3_files_are_skipped(tmp_path: Path, tag: bool) -> None:
    later = list(tones.speech(LENGTH_S - 1, 4))
    one, two = mp3(tmp_path / "1.mp3", tag=tag), mp3(tmp_path / "2.mp3", later)
    picture = id3_picture(100_000)
    (tmp_path / "a.mp3").write_bytes(picture + picture + one + two)
    found, warnings, undecoded, duration_s = read(tmp_path / "a.mp3")
    assert [w.number for w in found] == [w.number for w in WORDS + later]
    assert all(abs(a.start - LENGTH_S - b.start) < 0.06 for a, b in zip(found[len(WORDS) :], later, strict=True))
    assert (warnings, undecoded) == ((), ())
    assert duration_s == pytest.approx(2 * LENGTH_S, abs=0.06)


@pytest.mark.parametrize(("tag", "missing"), [(True, 1), (True, 200), (False, 200)])
def test_a_picture_after_a_frame_that_is_cut_off_is_not_decoded(tmp_path: Path, tag: bool, missing: int) -> None:
    later = list(tones.speech(LENGTH_S - 1, 4))
    one, two = mp3(tmp_path / "1.mp3", tag=tag), mp3(tmp_path / "2.mp3", later, tag=tag)
    (tmp_path / "a.mp3").write_bytes(one[:-missing] + id3_picture(500_000) + two)
    found, _, undecoded, _ = read(tmp_path / "a.mp3")
    assert [w.number for w in found] == [w.number for w in WORDS + later]
    assert all(abs(a.start - LENGTH_S - b.start) < 0.06 for a, b in zip(found[len(WORDS) :], later, strict=True))
    assert undecoded == ()


@pytest.mark.parametrize(
    "between",
    [
        b"TAG" + bytes(125),
        b"APETAGEX"
        + bytes(4)
        + (9000).to_bytes(4, "little")
        + bytes(4)
        + (0xA0000000).to_bytes(4, "little")
        + bytes(8 + 9000),
    ],
    ids=["id3v1", "apev2"],
)
def test_tags_between_mp3_files_are_not_lost_audio(tmp_path: Path, between: bytes) -> None:
    later = list(tones.speech(LENGTH_S - 1, 4))
    one, two = mp3(tmp_path / "1.mp3", tag=False), mp3(tmp_path / "2.mp3", later, tag=False)
    (tmp_path / "a.mp3").write_bytes(one + between + two)
    found, warnings, undecoded, duration_s = read(tmp_path / "a.mp3")
    assert [w.number for w in found] == [w.number for w in WORDS + later]
    assert (warnings, undecoded) == ((), ())
    assert duration_s == pytest.approx(2 * LENGTH_S, abs=0.1)


def test_id3_tags_between_the_segments_of_a_stream_cut_no_audio(tmp_path: Path) -> None:
    data = mp3(tmp_path / "a.mp3", tag=False)
    whole_s = read(tmp_path / "a.mp3")[3]
    frames, at = [], 0
    while (frame := mp3_frames.parse(data[at : at + 4])) is not None:
        frames.append(data[at : at + frame.length])
        at += frame.length
    tag = b"ID3\x04\0\0\0\0\0\x3f" + b"PRIV" + bytes(59)
    (tmp_path / "a.mp3").write_bytes(b"".join(tag + b"".join(frames[k : k + 50]) for k in range(0, len(frames), 50)))
    found, warnings, undecoded, duration_s = read(tmp_path / "a.mp3")
    assert [w.number for w in found] == [w.number for w in WORDS]
    assert (warnings, undecoded, duration_s) == ((), (), whole_s)


def test_a_length_tag_with_too_few_frames_hides_no_audio(tmp_path: Path) -> None:
    data = bytearray(mp3(tmp_path / "a.mp3"))
    at = data.index(b"Info")
    data[at + 8 : at + 12] = (300).to_bytes(4, "big")
    (tmp_path / "a.mp3").write_bytes(data)
    found, _, undecoded, duration_s = read(tmp_path / "a.mp3")
    assert [w.number for w in found] == [w.number for w in WORDS]
    assert undecoded == ()
    assert duration_s == pytest.approx(LENGTH_S, abs=0.03)


# -- raw streams -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("media", "fill", "within_s"), [(AC3, ZEROS, 0.04), (AC3, NOISE, 0.04), (AAC, ZEROS, 0.8)])
def test_words_after_a_hole_in_a_raw_stream_keep_their_times(
    tmp_path: Path, media: Media, fill: bytes, within_s: float
) -> None:
    """The frames of AAC differ in size, so the length of the hole is only estimated."""
    path = written(tmp_path / f"a.{media.ending}", media)
    damage(path, 0.4, 0.6, fill)
    found, warnings, undecoded, duration_s = read(path)
    assert duration_s == pytest.approx(LENGTH_S, abs=within_s + 0.1)
    assert any("could not be decoded: damaged frames" in text for text in warnings)
    assert sum(r.end - r.start for r in undecoded) == pytest.approx(0.2 * LENGTH_S, abs=within_s + 0.1)
    assert_times(found, undecoded, within_s)


@pytest.mark.parametrize("fill", [ZEROS, NOISE], ids=["zeros", "noise"])
def test_wavpack_is_read_after_a_hole(tmp_path: Path, fill: bytes) -> None:
    path = written(tmp_path / "a.wv", WAVPACK_44)
    assert wavpack_gaps(io.BytesIO(path.read_bytes())) == []
    damage(path, 0.4, 0.6, fill)
    found, warnings, undecoded, duration_s = read(path)
    assert duration_s == pytest.approx(LENGTH_S, abs=0.1)
    assert any("could not be decoded: damaged frames" in text for text in warnings)
    assert 0.19 * LENGTH_S <= sum(r.end - r.start for r in undecoded) < 0.4 * LENGTH_S
    assert_times(found, undecoded, 0.01)


def test_a_damaged_position_of_a_wavpack_block_is_no_gap_of_years(tmp_path: Path) -> None:
    data = bytearray(written(tmp_path / "a.wv", WAVPACK_44).read_bytes())
    blocks = [match.start() for match in re.finditer(b"wvpk", data)]
    data[blocks[3] : blocks[3] + 4] = b"xxxx"
    data[blocks[4] + 10] = 0xFF
    assert wavpack_gaps(io.BytesIO(data)) == []


@pytest.mark.parametrize("media", [AC3, AAC], ids=str)
def test_tags_in_a_raw_stream_are_not_lost_audio(tmp_path: Path, media: Media) -> None:
    path = written(tmp_path / f"a.{media.ending}", media)
    data, tag = path.read_bytes(), b"ID3\x04\0\0\0\0\x10\0" + bytes(2048)
    assert raw_gaps(io.BytesIO(data)) == []
    assert raw_gaps(io.BytesIO(tag + data + tag + data + b"TAG" + bytes(125))) == []
    (gap,) = raw_gaps(io.BytesIO(tag + data + bytes(len(data)) + data))
    assert (gap.start, gap.end) == (len(tag + data), len(tag + data + data))
    assert gap.length_s == pytest.approx(LENGTH_S, abs=0.1)


@pytest.mark.parametrize("data", [b"", b"\xff", bytes(9000), b"\x0b\x77" * 4000, b"ID3\x03\0\0\0\0\x7f\x7f", NOISE])
def test_other_bytes_have_no_gaps_of_a_raw_stream(data: bytes) -> None:
    assert raw_gaps(io.BytesIO(data)) == []


# -- checksums ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("media", [TTA, WAVPACK, TTA_IN_MATROSKA], ids=str)
def test_a_frame_with_a_wrong_checksum_is_reported(tmp_path: Path, media: Media) -> None:
    path = written(tmp_path / f"a.{media.ending}", media)
    found, warnings, undecoded, _ = read(path)
    assert [w.number for w in found] == [w.number for w in WORDS]
    assert (warnings, undecoded) == ((), ())
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)
    found, warnings, undecoded, duration_s = read(path)
    assert duration_s == pytest.approx(LENGTH_S, abs=0.01)
    assert any("damaged at about" in text for text in warnings)
    assert 0.5 < sum(r.end - r.start for r in undecoded) < 5
    assert_times(found, undecoded, 0.01)


@pytest.mark.parametrize(("kind", "channels"), [("u8p", 1), ("s16p", 2), ("s32p", 1), ("fltp", 2)])
def test_undamaged_wavpack_passes_the_check_of_its_checksums(tmp_path: Path, kind: str, channels: int) -> None:
    signal = tones.encode(WORDS[:5], 16000, duration_s=4)
    shape = {"u8p": (np.uint8, 127, 128), "s16p": (np.int16, 32767, 0), "s32p": (np.int32, 2**31 - 1, 0)}
    dtype, scale, zero = shape.get(kind, (np.float32, 1, 0))
    values = np.tile((signal.astype(np.float64) * scale + zero).astype(dtype), (channels, 1))
    with av.open(str(tmp_path / "a.wv"), "w", format="wv") as output:
        stream = output.add_stream("wavpack", rate=16000, layout="stereo" if channels == 2 else "mono", format=kind)
        frame = av.AudioFrame.from_ndarray(values, format=kind, layout=stream.layout.name)
        frame.sample_rate = 16000
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    found, warnings, undecoded, _ = read(tmp_path / "a.wv")
    assert [w.number for w in found] == [w.number for w in WORDS[:5]]
    assert (warnings, undecoded) == ((), ())


# -- reasons -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("code", [-1, -11, -22, -16976906])
def test_error_numbers_of_a_decoder_are_not_shown_as_errors_of_the_system(code: int) -> None:
    with pytest.raises(av.error.FFmpegError) as caught:
        av.error.err_check(code)
    assert reason_of_fault(caught.value) == "the decoder refuses this data"


def test_reasons_that_describe_the_file_or_a_disk_error_are_kept() -> None:
    with pytest.raises(av.error.InvalidDataError) as caught:
        av.error.err_check(-0x41444E49)
    assert reason_of_fault(caught.value) == "Invalid data found when processing input"
    assert reason_of_fault(OSError(5, "Input/output error")) == "Input/output error"
