"""The content of a file decides which reader opens it. Error messages name the codec."""

from __future__ import annotations

import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support import tones
from tests.support.audiofiles import GSM, write_signal
from tests.support.mediafiles import MEDIA, Media, write_dv, write_media
from tests.support.tones import ToneWord
from worker.audio.decoding import ffmpeg_container as container_module
from worker.audio.decoding.decode import open_source
from worker.audio.file_formats.detect_format import detect_format
from worker.audio.pcm_frames import wire_frames
from worker.errors import DamagedSource, UnsupportedSource

WORDS = [ToneWord(n, 0.5 + 0.9 * n) for n in range(5)]
LENGTH_S = 5.0
BY_NAME = {media.name: media for media in MEDIA}
REFUSED_BY_LIBSNDFILE = (
    # Names of container and codec in messages, and how FFmpeg writes such files.
    ("G.722 in WAV", Media("", "wav", "wav", "g722", 16000)),
    ("G.726 in WAV", Media("", "wav", "wav", "g726", 8000)),
    ("MP2 in WAV", Media("", "wav", "wav", "mp2", 48000)),
    ("MP3 in WAV", Media("", "wav", "wav", "libmp3lame", 44100)),
    ("WMA 2 in WAV", Media("", "wav", "wav", "wmav2", 44100)),
    ("AC-3 in WAV", Media("", "wav", "wav", "ac3", 48000)),
    ("Yamaha ADPCM in WAV", Media("", "wav", "wav", "adpcm_yamaha", 16000)),
    ("FLAC in WAV", Media("", "wav", "wav", "flac", 16000)),
    ("MP2 in W64", Media("", "w64", "w64", "mp2", 48000)),
    ("AC-3 in W64", Media("", "w64", "w64", "ac3", 48000)),
    ("FLAC in Ogg", Media("", "ogg", "ogg", "flac", 16000)),
    ("Speex in Ogg", Media("", "ogg", "ogg", "libspeex", 16000)),
    ("AC-3 in CAF", Media("", "caf", "caf", "ac3", 48000)),
    ("FLAC in CAF", Media("", "caf", "caf", "flac", 48000)),
    ("IMA ADPCM in CAF", Media("", "caf", "caf", "adpcm_ima_qt", 48000)),
    ("VOC", Media("", "voc", "voc", "pcm_s16le", 16000)),
    ("TTA", Media("", "tta", "tta", "tta", 16000)),
    ("WavPack", Media("", "wv", "wv", "wavpack", 16000)),
    ("AAC in MP4", Media("", "mp4", "mp4", "aac", 48000)),
    ("ALAC in MP4", Media("", "m4a", "ipod", "alac", 16000)),
    ("AAC in QuickTime", Media("", "mov", "mov", "aac", 48000)),
    ("Opus in WebM", Media("", "webm", "webm", "libopus", 48000)),
    ("FLAC in Matroska", Media("", "mkv", "matroska", "flac", 16000)),
    ("AAC (ADTS)", Media("", "aac", "adts", "aac", 48000)),
    ("AC-3", Media("", "ac3", "ac3", "ac3", 48000)),
    ("E-AC-3", Media("", "eac3", "eac3", "eac3", 48000)),
    ("MP2", Media("", "mp2", "mp2", "mp2", 48000)),
    ("WMA 2 in ASF", Media("", "wma", "asf", "wmav2", 44100)),
    ("MP3 in FLV", Media("", "flv", "flv", "libmp3lame", 44100)),
    ("PCM in AVI", Media("", "avi", "avi", "pcm_s16le", 48000)),
    ("MPEG transport stream", Media("", "ts", "mpegts", "aac", 48000)),
    ("MPEG program stream", Media("", "mpg", "mpeg", "mp2", 48000)),
    ("NUT", Media("", "nut", "nut", "libmp3lame", 48000)),
    ("SoX", Media("", "sox", "sox", "pcm_s32le", 16000)),
    ("Flash (SWF)", Media("", "swf", "swf", "libmp3lame", 44100)),
)
KINDS = pytest.mark.parametrize(("kind", "media"), REFUSED_BY_LIBSNDFILE, ids=lambda v: str(v).replace(" ", "-"))


def signal(rate: int) -> np.ndarray:
    return tones.encode(WORDS, rate, duration_s=LENGTH_S)


def write(path: Path, media: Media) -> Path:
    try:
        return write_media(path, signal(media.rate), media)
    except (ValueError, OSError) as exc:
        pytest.skip(f"this FFmpeg writes no {media.container} with {media.codec}: {exc}")


def assert_read(path: Path) -> None:
    with open_source(path) as source:
        words = tones.decode_pcm16(b"".join(wire_frames(source, 16000, 4000)))
        assert [w.number for w in words] == [w.number for w in WORDS]
        assert all(abs(a.start - b.start) < 0.09 for a, b in zip(words, WORDS, strict=True))
        assert source.frames_decoded / source.info.sample_rate == pytest.approx(LENGTH_S, abs=0.2)
        assert source.warnings == ()


@KINDS
@pytest.mark.parametrize("name", ["a.mp3", "noname"])
@pytest.mark.gate_sample(6)
def test_the_name_of_a_file_does_not_matter(tmp_path: Path, kind: str, media: Media, name: str) -> None:
    path = write(tmp_path / name, media)
    assert str(detect_format(path)) == kind
    assert_read(path)


@pytest.mark.parametrize("name", ["a.gsm", "a.vox", "a.au", "a.snd", "a.al", "a.raw", "a.sd2", "a.mp3", "a.txt"])
@pytest.mark.parametrize("made", ["mp4", "ogg", "wav"])
@pytest.mark.gate_sample(3)
def test_an_extension_of_headerless_audio_does_not_decide_the_format(tmp_path: Path, name: str, made: str) -> None:
    path = tmp_path / name
    if made == "mp4":
        write_media(path, signal(48000), BY_NAME["mp4-aac"])
    else:
        soundfile.write(path, signal(16000), 16000, format=made.upper())
    assert_read(path)


def test_the_audio_of_dv_video_is_read(tmp_path: Path) -> None:
    path = write_dv(tmp_path / "a", signal(48000))
    assert str(detect_format(path)) == "DV"
    assert_read(path)
    path.write_bytes(path.read_bytes()[:-5000])
    with open_source(path) as source:
        assert sum(map(len, source.blocks())) / source.info.sample_rate == pytest.approx(LENGTH_S, abs=0.1)
        assert source.warnings == ("the file ends in the middle of a frame: it is cut off, or a live stream was saved",)


def test_a_compressed_flash_file_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a", Media("", "swf", "swf", "libmp3lame", 44100))
    data = path.read_bytes()
    path.write_bytes(b"CWS" + data[3:8] + zlib.compress(data[8:]))
    assert str(detect_format(path)) == "Flash (SWF)"
    assert_read(path)
    path.write_bytes(path.read_bytes()[:-9000])
    with open_source(path) as source:
        assert source.warnings == ("the file ends in the middle of its compressed data: it is cut off",)


@KINDS
@pytest.mark.gate_sample(3)
def test_without_the_extra_the_message_names_the_coding_and_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, media: Media
) -> None:
    path = write(tmp_path / "a.bin", media)
    monkeypatch.setattr(container_module, "av", None)
    if kind == "MP2":  # libsndfile reads it, although it only guesses the length
        assert_read(path)
        return
    if kind == "MP3 in WAV":
        with open_source(path) as source:
            assert source.info.frames is None
        return
    with pytest.raises(UnsupportedSource) as caught:
        open_source(path)
    text = str(caught.value)
    assert f"libsndfile cannot read this format: {kind} (" in text
    assert "ffmpeg -i" in text
    assert text.endswith("pip install 'stt-batch[media]'")


@pytest.mark.parametrize("kind", ["AAC in MP4", "G.722 in WAV", "FLAC in Ogg", "Opus in WebM", "TTA", "WMA 2 in ASF"])
def test_a_file_that_both_readers_refuse_is_damaged(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / "a.mp3", dict(REFUSED_BY_LIBSNDFILE)[kind])
    data = path.read_bytes()
    head = {"AAC in MP4": 60, "TTA": 30, "WMA 2 in ASF": 300, "G.722 in WAV": 50, "Opus in WebM": 400}.get(kind, 100)
    path.write_bytes(data[:head] if kind != "AAC in MP4" else data[: data.index(b"moov") - 4])
    with pytest.raises(DamagedSource, match=r"a\.mp3: is cut off or damaged: .*libsndfile: .*; FFmpeg: ") as caught:
        open_source(path)
    assert kind.rpartition(" in ")[2] in str(caught.value)


@pytest.mark.parametrize("extra", [True, False])
def test_damaged_files_of_a_libsndfile_format_name_the_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extra: bool
) -> None:
    soundfile.write(tmp_path / "a.flac", signal(16000), 16000, format="FLAC")
    (tmp_path / "a.flac").write_bytes((tmp_path / "a.flac").read_bytes()[:60])
    if not extra:
        monkeypatch.setattr(container_module, "av", None)
    with pytest.raises(DamagedSource, match=r"a\.flac: .*cannot be opened as audio.*FLAC"):
        open_source(tmp_path / "a.flac")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"<!DOCTYPE html><html><body>404", "a web page"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"PK\3\4\x14\0", "a ZIP archive"),
        (b"\x89PNG\r\n\x1a\n", "a picture"),
    ],
)
@pytest.mark.parametrize("extra", [True, False])
def test_files_without_audio_are_refused_by_their_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, named: str, extra: bool
) -> None:
    if not extra:
        monkeypatch.setattr(container_module, "av", None)
    (tmp_path / "a.mp3").write_bytes(content + bytes(3000))
    with pytest.raises(UnsupportedSource, match=rf"a\.mp3: is {named}.*, not audio"):
        open_source(tmp_path / "a.mp3")


@pytest.mark.parametrize("seed", range(6))
def test_random_bytes_are_not_an_audio_file(tmp_path: Path, seed: int) -> None:
    """FFmpeg finds MPEG and ADTS frames in random bytes and would decode them to sound."""
    (tmp_path / "a.mp3").write_bytes(np.random.default_rng(seed).bytes(200_000))
    with pytest.raises(UnsupportedSource, match="neither libsndfile nor FFmpeg recognizes its content as audio"):
        open_source(tmp_path / "a.mp3")


def test_headerless_telephone_audio_is_recognized_by_its_name_only_as_a_last_resort(tmp_path: Path) -> None:
    write_signal(tmp_path / "a.wav", signal(8000), 8000, GSM)
    soundfile.write(tmp_path / "a.gsm", signal(8000), 8000, format="RAW", subtype="GSM610")
    soundfile.write(tmp_path / "a.vox", signal(8000), 8000, format="RAW", subtype="VOX_ADPCM")
    for name, form in (("a.gsm", "GSM/GSM"), ("a.vox", "RAW/VOX_ADPCM")):
        with open_source(tmp_path / name) as source:
            assert (source.info.sample_rate, source.info.format) == (8000, form)
            assert sum(map(len, source.blocks())) == pytest.approx(8000 * LENGTH_S, abs=400)
    shutil.copy(tmp_path / "a.gsm", tmp_path / "gsm.wav")
    with open_source(tmp_path / "gsm.wav") as source:
        assert source.info.format == "GSM/GSM"


def test_coded_audio_in_a_wav_declared_as_pcm_is_decoded(tmp_path: Path) -> None:
    """Files of this kind are copied from DTS discs. Read as PCM, they would be noise."""
    path = write(tmp_path / "a.dts", Media("", "dts", "dts", "dca", 48000, 2))
    frames = path.read_bytes()
    soundfile.write(tmp_path / "a.wav", np.frombuffer(frames[: len(frames) // 4 * 4], "<i2").reshape(-1, 2), 48000)
    assert str(detect_format(tmp_path / "a.wav")) == "DTS (as PCM) in WAV"
    assert_read(tmp_path / "a.wav")


def test_ffmpeg_reads_all_audio_chunks_of_a_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", Media("", "wav", "wav", "g722", 16000))
    data = path.read_bytes()
    head, audio = data[: data.index(b"data")], data[data.index(b"data") + 8 :]
    chunks = [b"data" + len(piece).to_bytes(4, "little") + piece for piece in (audio[:16000], audio[16000:])]
    path.write_bytes(head + b"".join(chunks))
    assert_read(path)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 4000])
def test_ffmpeg_reads_all_audio_after_a_wrong_declared_length(tmp_path: Path, size: int) -> None:
    path = write(tmp_path / "a.wav", Media("", "wav", "wav", "g722", 16000))
    data = bytearray(path.read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = size.to_bytes(4, "little")
    noise = np.random.default_rng(1).bytes(3000)
    path.write_bytes(bytes(data) + b"LIST" + len(noise).to_bytes(4, "little") + noise)
    with open_source(path) as source:
        words = tones.decode_pcm16(b"".join(wire_frames(source, 16000, 4000)))
        assert [w.number for w in words] == [w.number for w in WORDS]
        assert source.frames_decoded == 16000 * LENGTH_S
        assert len(source.warnings) == (0 if size == 0xFFFFFFFF else 1)
