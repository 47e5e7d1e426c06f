from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import audiofiles, tones
from tests.support.audiofiles import Coding, write_signal
from worker.audio.decoding import ffmpeg_container
from worker.audio.decoding.decode import SndfileSource, open_source
from worker.audio.decoding.ffmpeg_reader import MediaSource
from worker.audio.file_formats.coding_names import fits_int16
from worker.errors import DamagedSource, SourceError, SourceNotFound, UnsupportedSource


def noise(samples: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    signal = np.random.default_rng(seed).standard_normal((samples, channels)) * 0.1
    return signal.astype(np.float32)


def decoded(source: SndfileSource, start_frame: int = 0, block_s: float = 1.0) -> np.ndarray:
    blocks = list(source.blocks(start_frame, block_s))
    assert all(block.dtype == np.float32 and block.ndim == 1 and len(block) for block in blocks)
    return np.concatenate([np.zeros(0, np.float32), *blocks])


def reference(path: Path) -> np.ndarray:
    """The mono signal that libsndfile returns in one call."""
    return soundfile.read(path, dtype="float32", always_2d=True)[0].mean(axis=1)


@pytest.mark.parametrize(
    ("coding", "channels"),
    [(coding, n) for coding in audiofiles.CODINGS for n in (1, 2, 3, 6) if n <= coding.max_channels],
    ids=str,
)
@pytest.mark.gate_sample(4)
def test_each_coding_decodes_to_the_expected_mono_signal(tmp_path: Path, coding: Coding, channels: int) -> None:
    rate = coding.rates[-1]
    path = write_signal(tmp_path / f"a.{coding.ending}", noise(rate + 321, channels), rate, coding)
    with open_source(path) as source:
        assert (source.info.sample_rate, source.info.channels) == (rate, channels)
        assert source.info.format == f"{coding.format}/{coding.subtype}" or coding.format == "WAV"
        signal = decoded(source, block_s=0.1)
        assert source.frames_decoded == len(signal) == source.info.frames
        assert source.warnings == ()
    # FFmpeg decodes Opus of 48 kHz; the reference is libsndfile, whose last samples differ.
    np.testing.assert_allclose(signal, reference(path), atol=1e-3 if coding.subtype == "OPUS" else 2e-6)


@pytest.mark.parametrize(
    ("coding", "channels"), [(coding, n) for coding in audiofiles.CODINGS for n in (1, 2) if n <= coding.max_channels],
    ids=str,
)  # fmt: skip
@pytest.mark.gate_sample(3)
def test_stored_blocks_equal_blocks_without_conversion(tmp_path: Path, coding: Coding, channels: int) -> None:
    rate = coding.rates[0]
    path = write_signal(tmp_path / f"a.{coding.ending}", noise(rate + 321, channels), rate, coding)
    with open_source(path) as source:
        stored = [block.copy() for block in source.stored_blocks(1000, 0.1)]
        plain = decoded(source, 1000, 0.1)
    kind = np.int16 if channels == 1 and fits_int16(source.info.format.rsplit("/")[-1]) else np.float32
    assert {block.dtype for block in stored} == {np.dtype(kind)}
    joined = np.concatenate(stored)
    np.testing.assert_array_equal(joined * np.float32(2**-15) if kind is np.int16 else joined, plain)


def test_headerless_gsm_is_recognized_by_its_extension(tmp_path: Path) -> None:
    raw = Coding("gsm-raw", "gsm", "RAW", "GSM610")
    path = write_signal(tmp_path / "call.gsm", noise(8000)[:, 0], 8000, raw)
    with open_source(path) as source:
        assert len(decoded(source)) == 8000
        assert source.info.sample_rate == 8000


@settings(max_examples=40, deadline=None)
@given(start=st.integers(0, 12_000), block_s=st.sampled_from([0.01, 0.1, 0.37, 1.0, 60.0]), data=st.data())
def test_a_start_is_exact_in_every_coding(
    tmp_path_factory: pytest.TempPathFactory, start: int, block_s: float, data: st.DataObject
) -> None:
    coding = data.draw(st.sampled_from(audiofiles.CODINGS))
    path = tmp_path_factory.getbasetemp() / f"start-{coding.name}.{coding.ending}"
    if not path.exists():
        write_signal(path, noise(11_111, 2), 16000, coding)
    with open_source(path) as source:
        whole = decoded(source)
        part = decoded(source, start, block_s)
        assert source.frames_decoded == len(whole)
    np.testing.assert_array_equal(part, whole[start:])


def test_blocks_have_the_requested_length(tmp_path: Path) -> None:
    path = write_signal(tmp_path / "a.wav", noise(10_000)[:, 0], 8000)
    with open_source(path) as source:
        assert [len(b) for b in source.blocks(block_s=0.5)] == [4000, 4000, 2000]
        assert [len(b) for b in source.blocks(start_frame=9_999)] == [1]
        assert list(source.blocks(start_frame=20_000)) == []
        assert source.frames_decoded == 10_000


def test_blocks_of_many_channels_have_a_bounded_size(tmp_path: Path) -> None:
    path = write_signal(tmp_path / "a.wav", noise(20_000, 100), 96000)
    with open_source(path) as source:
        blocks = list(source.blocks(block_s=1.0))
    assert max(map(len, blocks)) * 100 <= 1 << 20
    np.testing.assert_allclose(np.concatenate(blocks), reference(path), atol=1e-6)


def test_samples_that_are_not_numbers_become_silence(tmp_path: Path) -> None:
    signal = noise(8000, 2)
    signal[100] = np.nan
    signal[200, 1] = np.inf
    signal[300] = -np.inf
    path = write_signal(tmp_path / "a.wav", signal, 8000, audiofiles.WAV_FLOAT)
    with open_source(path) as source:
        out = decoded(source)
        assert any("not numbers" in w for w in source.warnings)
    assert out[100] == out[200] == out[300] == 0
    assert np.isfinite(out).all()
    np.testing.assert_allclose(out[301:], signal[301:].mean(axis=1), atol=1e-7)


def test_samples_far_over_full_scale_are_clipped_with_a_warning(tmp_path: Path) -> None:
    path = write_signal(tmp_path / "a.wav", np.array([0.5, 1e30, -1e30, 1.5], np.float32), 8000, audiofiles.WAV_FLOAT)
    with open_source(path) as source:
        np.testing.assert_array_equal(decoded(source), np.array([0.5, 16, -16, 1.5], np.float32))
        assert any("1e+30 times full scale" in w for w in source.warnings)


# -- files that cannot be opened
# ---------------------------------------------------------------------------------------------
def test_a_missing_file_raises_source_not_found(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match=r"nowhere\.wav: no such file"):
        open_source(tmp_path / "nowhere.wav")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is a folder"):
        open_source(tmp_path)


def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(SourceError, match="not a regular file"):
        open_source(tmp_path / "pipe.wav")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_read_permission_is_refused(tmp_path: Path) -> None:
    path = write_signal(tmp_path / "a.wav", noise(100)[:, 0], 8000)
    path.chmod(stat.S_IWUSR)
    with pytest.raises(SourceError, match="Permission denied"):
        open_source(path)


def test_an_empty_file_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    with pytest.raises(DamagedSource, match="empty"):
        open_source(tmp_path / "a.wav")


def test_a_header_without_audio_is_damaged(tmp_path: Path) -> None:
    path = write_signal(tmp_path / "a.wav", np.zeros(0, np.float32), 8000)
    with pytest.raises(DamagedSource, match="contains no audio"):
        open_source(path)


@pytest.mark.parametrize("content", [b"hello " * 500, bytes(2000), b"ID4" + bytes(500)])
def test_unknown_content_is_refused_with_a_remedy(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "talk.m4a"
    path.write_bytes(content)
    with pytest.raises(UnsupportedSource, match=r"talk\.m4a: .*Format not recognised.*ffmpeg -i talk\.m4a"):
        open_source(path)


def test_headerless_audio_is_refused_because_its_rate_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(bytes(1000))
    with pytest.raises(UnsupportedSource, match="it has no header"):
        open_source(tmp_path / "a.raw")


@pytest.mark.parametrize("name", ["a.au", "a.snd"])
@pytest.mark.parametrize("content", [bytes(4000), b"not audio but text " * 200], ids=["zeros", "text"])
def test_au_without_a_header_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    """libsndfile would decode a file without a header as mu-law at 8 kHz."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnsupportedSource, match="it has no header"):
        open_source(tmp_path / name)


def test_a_broken_header_is_damaged(tmp_path: Path) -> None:
    path = write_signal(tmp_path / "a.ogg", noise(8000)[:, 0], 8000, audiofiles.VORBIS)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DamagedSource, match="malformed"):
        open_source(path)


@pytest.mark.parametrize(
    "name", ["with space.wav", "粵語 錄音.flac", 'ümläut\'s "q".mp3', "-dash.ogg", "new\nline.wav"]
)
def test_file_names_may_contain_any_character(tmp_path: Path, name: str) -> None:
    coding = next(c for c in audiofiles.CODINGS if name.endswith(c.ending))
    path = write_signal(tmp_path / name, noise(16000)[:, 0], 16000, coding)
    with open_source(path) as source:
        assert len(decoded(source)) == 16000


def test_file_names_need_not_be_utf8(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav"))
    path.write_bytes(write_signal(tmp_path / "a.wav", noise(500)[:, 0], 8000).read_bytes())
    with open_source(path) as source:
        assert len(decoded(source)) == 500


def test_use_after_close(tmp_path: Path) -> None:
    source = open_source(write_signal(tmp_path / "a.wav", noise(500)[:, 0], 8000))
    source.close()
    source.close()
    with pytest.raises(ValueError, match="closed"):
        next(source.blocks())


@pytest.mark.parametrize(("start", "block_s"), [(-1, 1.0), (0, 0.0)])
def test_invalid_arguments_raise_value_error(tmp_path: Path, start: int, block_s: float) -> None:
    with (
        open_source(write_signal(tmp_path / "a.wav", noise(500)[:, 0], 8000)) as source,
        pytest.raises(ValueError, match="negative"),
    ):
        next(source.blocks(start, block_s))


def test_a_new_iteration_may_begin_after_an_abandoned_one(tmp_path: Path) -> None:
    path = write_signal(tmp_path / "a.flac", noise(50_000, 2), 16000, audiofiles.FLAC)
    with open_source(path) as source:
        next(source.blocks())
        np.testing.assert_allclose(decoded(source), reference(path), atol=1e-6)


@pytest.mark.parametrize("channels", [1, 2])
def test_opus_of_48_khz_has_the_same_length_and_samples_in_both_libraries(
    tmp_path: Path, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_signal(tmp_path / "a.opus", noise(4 * 48000 + 321, channels), 48000, audiofiles.OPUS)
    with open_source(path) as source:
        assert isinstance(source, MediaSource)
        fast, fast_info = decoded(source, block_s=0.5), source.info
        from_second = decoded(source, 48000, block_s=0.5)
    monkeypatch.setattr(ffmpeg_container, "av", None)
    with open_source(path) as source:
        assert isinstance(source, SndfileSource)
        slow, slow_info = decoded(source, block_s=0.5), source.info
    assert fast_info == slow_info
    assert len(fast) == len(slow) == fast_info.frames
    np.testing.assert_allclose(fast, slow, atol=1e-3)
    np.testing.assert_array_equal(from_second, fast[48000:])


@pytest.mark.parametrize("bits_per_s", [16_000, 32_000])
def test_speech_in_opus_has_the_same_words_in_both_libraries(
    tmp_path: Path, bits_per_s: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Voice notes use another part of the codec (SILK) than music."""
    words = list(tones.speech(8.0, seed=5))
    path = tmp_path / "a.opus"
    write_opus(path, tones.encode(words, 48000, duration_s=8.0), application="voip", b=str(bits_per_s))
    for kind in (MediaSource, SndfileSource):
        with open_source(path) as source:
            assert isinstance(source, kind)
            found = tones.decode(soxr.resample(decoded(source), 48000, tones.DECODE_RATE))
        assert [word.number for word in found] == [word.number for word in words]
        assert max(abs(f.start - w.start) for f, w in zip(found, words, strict=True)) < 0.01
        monkeypatch.setattr(ffmpeg_container, "av", None)


def write_opus(path: Path, signal: np.ndarray, **options: str) -> None:
    with av.open(str(path), "w", format="ogg") as file:
        stream = file.add_stream("libopus", rate=48000, options=options)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(signal[None].astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48000
        for part in (frame, None):
            file.mux(stream.encode(part))


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut in the middle": lambda content: content[: len(content) // 2],
    "cut at the end": lambda content: content[:-20],
    "other bytes between two pages": lambda content: (b"noise" * 999 + b"OggS").join(content.rsplit(b"OggS", 1)),
    "other bytes after the end": lambda content: content + b"noise" * 999,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_opus_is_read_by_libsndfile(tmp_path: Path, damage: str) -> None:
    path = write_signal(tmp_path / "a.opus", noise(4 * 48000), 48000, audiofiles.OPUS)
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    with open_source(path) as source:
        assert not isinstance(source, MediaSource)
        assert len(decoded(source, block_s=0.5)) > 30_000
