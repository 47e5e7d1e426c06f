"""Lost frames inside a file: silence replaces them, later words keep their times, and the range is reported."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from tests.support import tones
from tests.support.mediafiles import Media, write_media
from tests.support.tones import ToneWord
from worker.audio.decoding.decode import open_source
from worker.audio.decoding.ffmpeg_container import reason_of_fault
from worker.audio.pcm_frames import wire_frames
from worker.audio.undecoded_ranges import UndecodedRange

LENGTH_S = 20.0
WORDS = list(tones.speech(LENGTH_S - 1, 3))
TTA = Media("tta", "tta", "tta", "tta", 16000)
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
    data[start:end] = (fill * (end - start))[: end - start]
    path.write_bytes(data)


def assert_times(found: list[ToneWord], undecoded: tuple[UndecodedRange, ...], within_s: float) -> None:
    """Check that the words outside of the undecoded ranges are found at their times, and no other words."""
    said = {w.number: w.start for w in WORDS}
    assert {w.number for w in found} <= said.keys()
    assert all(abs(w.start - said[w.number]) < within_s for w in found)
    lost = [w for w in WORDS if not any(r.start - 0.5 < w.start < r.end + 0.1 for r in undecoded)]
    assert {w.number for w in lost} <= {w.number for w in found}


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


@pytest.mark.parametrize("kind", ["u8p", "s16p", "s32p", "fltp"])
@pytest.mark.parametrize("channels", [1, 2])
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
