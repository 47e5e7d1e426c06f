"""Writes files that cannot be transcribed, each for a different reason, and lists the error that each must cause."""

from __future__ import annotations

import gzip
import io
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import soundfile

NO_FORMAT: Final = r"neither libsndfile nor FFmpeg recognizes its content as audio .*convert it first"
NOT_AUDIO: Final = r"is (an? )?[^,]+, not audio; give an audio file"
BOTH_FAIL: Final = r"is cut off or damaged: it cannot be opened as audio \(.*; libsndfile: .*; FFmpeg: "


@dataclass(frozen=True, slots=True)
class Broken:
    """A broken file. `write` creates it at a path. `codes`: accepted error codes. `reason`: regular expression that
    must match a part of the error message."""

    name: str
    write: Callable[[Path], object]
    codes: tuple[str, ...]
    reason: str


def _encoded(container: str, subtype: str, samples: int = 16000) -> bytes:
    file = io.BytesIO()
    tone = np.sin(np.arange(samples) / 8).astype(np.float32) * 0.3
    soundfile.write(file, tone, 16000, format=container, subtype=subtype)
    return file.getvalue()


def _wav(**fields: int) -> bytes:
    """Return a WAV file with wrong values in its header. `fields`: `tag` (the codec), `channels` or `rate`."""
    data = bytearray(_encoded("WAV", "PCM_16"))
    for name, value in fields.items():
        at, size = {"tag": (20, 2), "channels": (22, 2), "rate": (24, 4)}[name]
        data[at : at + size] = value.to_bytes(size, "little")
    return bytes(data)


def _zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("readme.txt", "no sound" * 100)
    return file.getvalue()


def _bytes(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


_DAMAGED, _UNSUPPORTED = "source_damaged", "source_unsupported"
_NOISE: Final = np.random.default_rng(7).integers(0, 256, 4000, dtype=np.uint8).tobytes()

BROKEN: Final = (
    Broken("empty.wav", _bytes(b""), (_DAMAGED,), r"the file is empty \(0 bytes\)"),
    Broken("one-byte.mp3", _bytes(b"\0"), (_UNSUPPORTED,), NO_FORMAT),
    Broken("text.wav", _bytes(b"This is a note, not a recording.\n" * 30), (_UNSUPPORTED,), NO_FORMAT),
    Broken("web-page.mp3", _bytes(b"<!doctype html><title>404</title><p>Not found" * 9), (_UNSUPPORTED,), NOT_AUDIO),
    Broken("picture.flac", _bytes(b"\x89PNG\r\n\x1a\n" + bytes(500)), (_UNSUPPORTED,), NOT_AUDIO),
    Broken("archive.ogg", _bytes(_zip()), (_UNSUPPORTED,), NOT_AUDIO),
    Broken("packed.opus", _bytes(gzip.compress(b"x" * 5000)), (_UNSUPPORTED,), NOT_AUDIO),
    Broken("noise.aiff", _bytes(_NOISE), (_UNSUPPORTED,), NO_FORMAT),
    Broken("zeros.caf", _bytes(bytes(5000)), (_UNSUPPORTED,), NO_FORMAT),
    Broken("junk-riff.wav", _bytes(b"RIFF\x10\0\0\0WAVEjunk"), (_DAMAGED,), "No 'data' chunk"),
    Broken("no-samples.wav", _bytes(_encoded("WAV", "PCM_16", 0)), (_DAMAGED,), "it contains no audio"),
    Broken("no-frames.flac", _bytes(_encoded("FLAC", "PCM_16")[:60]), (_DAMAGED,), "unknown error in flac decoder"),
    Broken("no-samples.au", _bytes(_encoded("AU", "ULAW", 0)), (_DAMAGED,), "it contains no audio"),
    Broken("rate-0.wav", _bytes(_wav(rate=0)), (_DAMAGED,), "cannot be opened as audio"),
    Broken("channels-0.wav", _bytes(_wav(channels=0)), (_DAMAGED,), "Channel count is zero"),
    Broken("codec.wav", _bytes(_wav(tag=0x9999)), (_UNSUPPORTED,), "codec 0x9999 in WAV"),
    Broken("cut-head.flac", _bytes(_encoded("FLAC", "PCM_16")[:20]), (_DAMAGED,), "cannot be opened as audio"),
    Broken("cut-head.ogg", _bytes(_encoded("OGG", "VORBIS")[:40]), (_DAMAGED,), "cannot be opened as audio"),
    Broken("gone.wav", lambda path: path.symlink_to("nowhere.wav"), ("source_not_found",), "nowhere.wav: no such file"),
    Broken("pipe.wav", os.mkfifo, ("source",), "not a regular file"),
)
