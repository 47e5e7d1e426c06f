"""Files for FFmpeg: signal and length of each container, from any start position."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.support import tones
from tests.support.mediafiles import MEDIA, Media, write_media
from tests.support.tones import ToneWord
from worker.audio.decoding import ffmpeg_container
from worker.audio.decoding.decode import open_source
from worker.audio.resample import resample_blocks
from worker.audio.source import Audio
from worker.errors import DamagedSource, UnsupportedSource

BY_NAME = {media.name: media for media in MEDIA}


def spoken(count: int) -> list[ToneWord]:
    return [ToneWord(n, 0.5 + 0.9 * n) for n in range(count)]


def whole(source: Audio, start: int = 0, block_s: float = 1.0) -> np.ndarray:
    blocks = list(source.blocks(start, block_s))
    assert all(
        b.dtype == np.float32 and b.ndim == 1 and 0 < len(b) <= block_s * source.info.sample_rate for b in blocks
    )
    return np.concatenate([np.zeros(0, np.float32), *blocks])


def _late_s(media: Media) -> float:
    """Seconds of encoder silence that remain at the start, because the container does not declare them."""
    return 0.07 if media.container in ("adts", "asf") else 0.03


def heard(signal: np.ndarray, rate: int) -> list[ToneWord]:
    return tones.decode(np.concatenate(list(resample_blocks([signal], rate, 16000))))


@pytest.mark.parametrize("media", MEDIA, ids=str)
@pytest.mark.gate_sample(3)
def test_words_have_their_times_in_every_container(tmp_path: Path, media: Media) -> None:
    words = spoken(6)
    signal = tones.encode(words, media.rate, duration_s=6.5)
    path = write_media(tmp_path / f"a.{media.ending}", signal, media)
    with open_source(path) as source:
        assert (source.info.sample_rate, source.info.channels) == (media.rate, media.channels)
        decoded = whole(source)
        assert source.frames_decoded == len(decoded)
        assert source.warnings == ()
        if media.container not in ("adts", "amr"):  # they have no header for the whole
            assert source.info.duration_s is not None
            assert abs(source.info.duration_s - 6.5) < 0.15
    assert abs(len(decoded) / media.rate - 6.5) < 0.15
    if not media.speech_only:
        found = heard(decoded, media.rate)
        assert [w.number for w in found] == [w.number for w in words]
        assert max(abs(f.start - w.start) for f, w in zip(found, words, strict=True)) < _late_s(media)


@pytest.mark.parametrize("media", MEDIA, ids=str)
@pytest.mark.gate_sample(3)
def test_a_start_in_the_middle_is_exact_in_every_container(tmp_path: Path, media: Media) -> None:
    rng = np.random.default_rng(3)
    path = write_media(
        tmp_path / f"a.{media.ending}", (rng.standard_normal(3 * media.rate) * 0.1).astype(np.float32), media
    )
    with open_source(path) as source:
        signal = whole(source)
        for start in (0, 1, 1023, media.rate + 7, len(signal) - 1, len(signal), len(signal) + 5):
            # The mix of many channels is rounded differently if the blocks begin elsewhere.
            np.testing.assert_allclose(whole(source, start, 0.1), signal[start:], rtol=0, atol=2**-24)
            assert source.frames_decoded == len(signal)
        next(source.blocks())  # left in the middle: the next one starts anew
        np.testing.assert_array_equal(whole(source), signal)


def test_the_sound_of_a_video_is_read_at_its_times(tmp_path: Path) -> None:
    """The words of a video have the right times."""
    words = spoken(5)
    media = BY_NAME["mp4-aac"]
    path = write_media(tmp_path / "a.mp4", tones.encode(words, media.rate, duration_s=5), media, video=True)
    with open_source(path) as source:
        found = heard(whole(source), media.rate)
        assert source.info.format == "MOV/AAC"
    assert [w.number for w in found] == [w.number for w in words]


@pytest.mark.parametrize("name", ["webm-opus", "mkv-flac"])
def test_a_gap_in_the_timestamps_becomes_silence(tmp_path: Path, name: str) -> None:
    """Browsers record a call like this: they write no packets during silence."""
    media, words = BY_NAME[name], [ToneWord(1, 0.5), ToneWord(2, 5.0)]
    signal = tones.encode(words, media.rate, duration_s=6)
    path = write_media(tmp_path / "a.bin", signal, media, skip=(2 * media.rate, 2 * media.rate))
    with open_source(path) as source:
        decoded = whole(source)
        assert any("gaps in its timestamps" in w for w in source.warnings)
    found = heard(decoded, media.rate)
    assert [(w.number, round(w.start, 1)) for w in found] == [(1, 0.5), (2, 5.0)]
    assert abs(len(decoded) / media.rate - 6) < 0.1


@pytest.mark.parametrize("name", ["m4a-aac", "mkv-flac", "wma", "aac", "amr", "ts-aac"])
@pytest.mark.gate_sample(2)
def test_a_media_file_that_is_cut_off_is_reported(tmp_path: Path, name: str) -> None:
    media, words = BY_NAME[name], spoken(10)
    path = write_media(tmp_path / f"a.{media.ending}", tones.encode(words, media.rate, duration_s=10), media)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    if media.container == "ipod":  # its index is at the end
        with pytest.raises(DamagedSource, match=r"a\.m4a: is cut off or damaged: it cannot be opened as audio"):
            open_source(path)
        return
    with open_source(path) as source:
        decoded = whole(source)
    if not media.speech_only:
        found = heard(decoded, media.rate)
        assert [w.number for w in found] == [w.number for w in words][: len(found)]
        assert len(found) >= 3


def test_damage_in_the_middle_is_skipped(tmp_path: Path) -> None:
    media, words = BY_NAME["mp4-aac"], spoken(10)
    path = write_media(tmp_path / "a.mp4", tones.encode(words, media.rate, duration_s=10), media)
    data = bytearray(path.read_bytes())
    at = len(data) // 2
    data[at : at + 800] = np.random.default_rng(0).bytes(800)
    path.write_bytes(data)
    with open_source(path) as source:
        decoded = whole(source)
        assert any("damaged at about" in w for w in source.warnings)
    found = {w.number for w in heard(decoded, media.rate)}
    assert len(found & set(range(10))) >= 7


def test_a_video_without_sound_is_refused(tmp_path: Path) -> None:
    media = BY_NAME["mp4-aac"]
    path = write_media(tmp_path / "a.mp4", np.zeros(48000, np.float32), media, video=True, sound=False)
    with pytest.raises(UnsupportedSource, match=r"a\.mp4: has no audio, only video"):
        open_source(path)


def test_playlists_are_not_followed(tmp_path: Path) -> None:
    """FFmpeg would open the files that a playlist names."""
    media = BY_NAME["aac"]
    write_media(tmp_path / "secret.aac", np.zeros(16000, np.float32), media)
    playlist = tmp_path / "a.m3u8"
    playlist.write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://{tmp_path}/secret.aac\n#EXT-X-ENDLIST\n"
    )
    with pytest.raises(UnsupportedSource, match=r"a\.m3u8: neither libsndfile nor FFmpeg recognizes its content"):
        open_source(playlist)
    concat = tmp_path / "a.ffconcat"
    concat.write_text(f"ffconcat version 1.0\nfile {tmp_path}/secret.aac\n")
    with pytest.raises(UnsupportedSource):
        open_source(concat)


def test_without_the_extra_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_media(tmp_path / "a.m4a", np.zeros(16000, np.float32), BY_NAME["m4a-aac"])
    monkeypatch.setattr(ffmpeg_container, "av", None)
    with pytest.raises(UnsupportedSource, match=r"a\.m4a: .*ffmpeg -i .*pip install 'stt-batch\[media\]'"):
        open_source(path)


@pytest.mark.parametrize("name", ["m4a-aac", "webm-opus", "wma", "amr", "ts-aac"])
def test_opening_decodes_one_frame(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    media = BY_NAME[name]
    path = write_media(tmp_path / f"a.{media.ending}", tones.encode(spoken(6), media.rate, duration_s=6), media)
    decoded: list[int] = []
    decode = ffmpeg_container.MediaContainer._decoded

    def counted(container: ffmpeg_container.MediaContainer, packet: Any, *, sparse: bool) -> Any:
        found = decode(container, packet, sparse=sparse)
        decoded.append(len(found))
        return found

    monkeypatch.setattr(ffmpeg_container.MediaContainer, "_decoded", counted)
    with open_source(path) as source:
        first = next(number for number, frames in enumerate(decoded) if frames)
        assert len(decoded) == first + 1
        whole(source)
    assert len(decoded) > 20


@pytest.mark.parametrize("damaged", [1, 3, 20])
def test_a_damaged_start_is_skipped(tmp_path: Path, damaged: int) -> None:
    media, words = BY_NAME["mkv-flac"], spoken(10)
    path = write_media(tmp_path / "a.mkv", tones.encode(words, media.rate, duration_s=10), media)
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(audio=0) if p.size][:damaged]
    data = bytearray(path.read_bytes())
    for packet in packets:
        at = data.index(bytes(packet))
        data[at : at + packet.size] = bytes(packet.size)
    path.write_bytes(data)
    with open_source(path) as source:
        decoded = whole(source)
        assert any("damaged at about 0.0 s" in w for w in source.warnings)
    assert abs(len(decoded) / media.rate - 10) < 0.1
    found = heard(decoded, media.rate)
    assert {w.number for w in found} >= {w.number for w in words if w.start > 0.12 * damaged}
    assert max(abs(f.start - words[f.number].start) for f in found) < 0.03


def test_use_after_close(tmp_path: Path) -> None:
    source = open_source(write_media(tmp_path / "a.mka", np.zeros(96000, np.float32), BY_NAME["mka-pcm24"]))
    source.close()
    source.close()
    with pytest.raises(ValueError, match="closed"):
        next(source.blocks())
    with pytest.raises(ValueError, match="negative"):
        next(source.blocks(-1))
