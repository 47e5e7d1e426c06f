"""Identifies the container and the codec of a file by its content, never by its name.

The detected format appears in messages and decides which reader opens a file. Sources of the signatures: the
specifications of the containers, and the probes of FFmpeg's libavformat.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import BinaryIO, Final

from worker.audio.file_formats.aiff import read_aiff
from worker.audio.file_formats.au import read_au
from worker.audio.file_formats.caf import read_caf
from worker.audio.file_formats.coding_names import AIFF_CODINGS, AU_CODINGS, CAF_CODINGS, MATROSKA_CODINGS, wav_coding
from worker.audio.file_formats.mp4 import audio_codings
from worker.audio.file_formats.raw_streams import raw_stream
from worker.audio.file_formats.wav import read_riff
from worker.audio.opened_file import SourceFile
from worker.transient_os_errors import source_error

_HEAD_BYTES: Final = 256 << 10
_FLV_CODINGS: Final = {0: "PCM", 1: "ADPCM", 2: "MP3", 4: "Nellymoser", 5: "Nellymoser", 6: "Nellymoser", 7: "A-law",
                       8: "mu-law", 10: "AAC", 11: "Speex", 14: "MP3"}  # fmt: skip
_OGG_CODINGS: Final = ((b"\x01vorbis", "Vorbis"), (b"OpusHead", "Opus"), (b"\x7fFLAC", "FLAC"), (b"Speex   ", "Speex"))
_OGG_FIRST_PAGE: Final = 2
_ASF_AUDIO: Final = bytes.fromhex("409e69f84d5bcf11a8fd00805f5c442b")
_MAX_FLASH_VERSION: Final = b"\x32"
_MXF_KEY: Final = bytes.fromhex("060e2b34020501010d0102")
_MP4_BOXES: Final = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_MLP_SYNC: Final = b"\xf8\x72\x6f"
_MLP_CODINGS: Final = {b"\xba": "TrueHD", b"\xbb": "MLP"}
_MPEG: Final = ("MP3", "MP2", "MP1")
_NATIVE_OGG: Final = ("Vorbis", "Opus")

_SIGNATURES: Final = (
    # Containers that have only one codec, or whose codec only a reader of the container can determine.
    (b"TTA1", "TTA"), (b"TTA2", "TTA"), (b"wvpk", "WavPack"), (b"MAC ", "Monkey's Audio"), (b"MP+", "Musepack"),
    (b"MPCK", "Musepack"), (b"DSD ", "DSD in DSF"), (b"FRM8", "DSD in DSDIFF"), (b".RMF", "RealMedia"),
    (b".ra\xfd", "RealAudio"), (b"#!AMR-WB", "AMR-WB"), (b"#!AMR", "AMR"), (b"nut/multimedia container", "NUT"),
    (b".SoX", "SoX"), (b"XoS.", "SoX"), (b"tBaK", "TAK"), (b"OFR ", "OptimFROG"), (b"ajkg", "Shorten"),
    (b"ea3", "ATRAC in OMA"), (b"EA3", "ATRAC in OMA"), (b"\x00\x00\x00\x00\x01\xbc", "GXF"), (b"MThd", "MIDI notes"),
    (b"\x00\x00\x01\xba", "MPEG program stream"), (b"LA0", "Lossless Audio"), (b"DVDVIDEO", "DVD"),
    (b"\xb7\xd8\x00\x20\x37\x49\xda\x11\xa6\x4e", "WTV"), (b"#!QCELP", "QCELP"),
    (b"\x1f\x07\x00\x3f", "DV"), (b"\x1f\x07\x00\xbf", "DV"),
    (b"SOUND SAMPLE DATA", "SampleVision"), (b"SOUND\x1a", "Sndtool"), (b"2BIT", "AVR"), (b"AUDIO", "Psion"),
)  # fmt: skip
_NATIVE: Final = (
    # Formats that libsndfile reads.
    (b"fLaC", "FLAC"), (b"NIST_1A", "NIST SPHERE"), (b"Creative Voice File", "VOC"), (b"\x64\xa3", "IRCAM"),
    (b"\xa3\x64", "IRCAM"), (b"MATLAB", "MATLAB"), (b"Extended Instrument", "XI"), (b"ALawSoundFile**", "Psion WVE"),
)  # fmt: skip
_OTHER: Final = (
    # Files that are not audio.
    (b"%PDF", "a PDF document"), (b"PK\3\4", "a ZIP archive"), (b"\x89PNG", "a picture"), (b"GIF8", "a picture"),
    (b"\xff\xd8\xff", "a picture"), (b"\x1f\x8b", "gzip data"), (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x7fELF", "a program"), (b"{\\rtf", "a document"), (b"\xd0\xcf\x11\xe0", "an Office document"),
    (b"SQLite format 3", "a database"), (b"BZh", "bzip2 data"), (b"\xfd7zXZ", "xz data"),
)  # fmt: skip
_HTML: Final = re.compile(rb"^\s*(?:\xef\xbb\xbf)?\s*(?:<!--.*?-->\s*)*<(?:!doctype html|html|head|body)", re.I | re.S)


@dataclass(frozen=True, slots=True)
class FileFormat:
    """Container and codec of a file according to its content. `str()` returns both for messages."""

    container: str
    coding: str = ""
    """The codec; empty if it is unknown or follows from the container."""
    native: bool = False
    """Whether libsndfile reads this format."""
    misread: bool = False
    """Whether libsndfile opens this file, but decodes other data as audio."""
    estimated: bool = False
    """Whether libsndfile estimates the length from the bit rate, and stops at the estimated end."""
    is_audio: bool = True

    def __str__(self) -> str:
        return f"{self.coding} in {self.container}" if self.coding else self.container


def detect_format(path: SourceFile) -> FileFormat | None:
    """Detect the format of a file. Returns None for unknown content. Raises WorkerShortage if the disk fails."""
    try:
        with path.open("rb") as file:
            return _kind(file)
    except OSError as exc:
        raise source_error(exc, str(path)) from exc


def _kind(file: BinaryIO) -> FileFormat | None:
    head = file.read(_HEAD_BYTES)
    if head[:3] == b"ID3" and len(head) >= 10:
        return _after_id3(file, head)
    return _sized(file, head) or _multimedia(file, head) or _signed(file, head) or _stream(head)


def _after_id3(file: BinaryIO, head: bytes) -> FileFormat | None:
    size = 0
    for byte in head[6:10]:
        size = size << 7 | byte & 0x7F
    file.seek(10 + size)
    rest = file.read(_HEAD_BYTES).lstrip(b"\0")
    return _signed(file, rest) or _stream(rest) or FileFormat("MP3", native=True)


def _sized(file: BinaryIO, head: bytes) -> FileFormat | None:
    """Detect WAV and similar formats whose header names the codec."""
    if riff := read_riff(file):
        file.seek(riff.start)
        coding, native = wav_coding(riff.tag, riff.form, file.read(16 << 10))
        misread = not native and riff.tag == 1
        container = "W64" if head[:4] == b"riff" else "WAV"
        return FileFormat(container, coding, native, misread, estimated=coding == "MP3")
    if aiff := read_aiff(file):
        return _by_code(aiff.coding, AIFF_CODINGS, "AIFF")
    if caf := read_caf(file):
        return _by_code(caf.coding, CAF_CODINGS, "CAF")
    if au := read_au(file):
        coding, native = AU_CODINGS.get(au.coding, (f"codec {au.coding}", False))
        return FileFormat("AU", coding, native)
    for mark, container in ((b"RIFF", "WAV"), (b"RF64", "WAV"), (b"riff", "W64"), (b"FORM", "IFF"), (b"caff", "CAF"),
                            (b".snd", "AU"), (b"dns.", "AU")):  # fmt: skip
        if head.startswith(mark) and (mark != b"RIFF" or head[8:12] == b"WAVE"):
            return FileFormat(container, native=True)
    return None


def _by_code(code: bytes, known: dict[bytes, tuple[str, bool]], container: str) -> FileFormat:
    coding, native = known.get(code, (f"codec {code.decode('ascii', 'replace').strip()!r}", False))
    return FileFormat(container, coding, native)


def _multimedia(file: BinaryIO, head: bytes) -> FileFormat | None:
    """Detect containers for several streams, including video."""
    return _mp4(file, head) or _ebml(head) or _ogg(head) or _asf(head) or _other_riff(head) or _broadcast(head)


def _mp4(file: BinaryIO, head: bytes) -> FileFormat | None:
    if head[4:8] not in _MP4_BOXES or len(head) < 16:
        return None
    container = {b"qt  ": "QuickTime"}.get(head[8:12], "3GP" if head[8:11] == b"3gp" else "MP4")
    return FileFormat(container, _listed(audio_codings(file)))


def _ebml(head: bytes) -> FileFormat | None:
    if not head.startswith(b"\x1a\x45\xdf\xa3"):
        return None
    codes = dict.fromkeys(re.findall(rb"A_[A-Z0-9_]+(?:/[A-Z0-9]+)*", head))
    container = "WebM" if b"webm" in head[:64] else "Matroska"
    return FileFormat(container, _listed([_matroska(code) for code in codes]))


def _ogg(head: bytes) -> FileFormat | None:
    if not head.startswith(b"OggS"):
        return None
    codings = [name for mark, name in _OGG_CODINGS if mark in head[:4096]]
    # libsndfile reads only the first of several parallel streams.
    return FileFormat(
        "Ogg", _listed(codings), native=not codings or codings[0] in _NATIVE_OGG, misread=_ogg_audio_streams(head) > 1
    )


def _ogg_audio_streams(head: bytes) -> int:
    """Return the number of parallel audio streams. An Ogg file begins with the first page of each stream (RFC 3533)."""
    at = count = 0
    while head[at : at + 4] == b"OggS" and len(head) > at + 27 and head[at + 5] & _OGG_FIRST_PAGE:
        content = at + 27 + head[at + 26]
        count += any(mark in head[content : content + 8] for mark, _ in _OGG_CODINGS)
        at = content + sum(head[at + 27 : content])
    return count


def _asf(head: bytes) -> FileFormat | None:
    if not head.startswith(b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"):
        return None
    at = head.find(_ASF_AUDIO)
    return FileFormat("ASF", wav_coding(int.from_bytes(head[at + 54 : at + 56], "little"))[0] if at >= 0 else "")


def _broadcast(head: bytes) -> FileFormat | None:
    if head.startswith(b"FLV"):
        return FileFormat("FLV", _flv_coding(head))
    if head[:3] in (b"FWS", b"CWS") and head[3:4] <= _MAX_FLASH_VERSION:
        return FileFormat("Flash (SWF)")
    if _MXF_KEY in head[: 64 << 10]:
        return FileFormat("MXF")
    for size, offset in ((188, 0), (192, 4), (204, 0)):
        if len(head) > 3 * size and all(head[offset + k * size] == 0x47 for k in range(4)):
            return FileFormat("MPEG transport stream")
    return None


def _matroska(code: bytes) -> str:
    name = code.decode("ascii")[2:]
    return next((coding for start, coding in MATROSKA_CODINGS if name.startswith(start)), name)


def _other_riff(head: bytes) -> FileFormat | None:
    if not head.startswith(b"RIFF") or head[8:12] not in (b"AVI ", b"QLCM", b"XWMA", b"CDDA"):
        return None
    if head[8:12] != b"AVI ":
        return FileFormat({b"QLCM": "QCP", b"XWMA": "xWMA", b"CDDA": "a CD track reference"}[head[8:12]])
    audio = head.find(b"auds")
    form = head.find(b"strf", audio) if audio >= 0 else -1
    return FileFormat("AVI", wav_coding(int.from_bytes(head[form + 8 : form + 10], "little"))[0] if form >= 0 else "")


def _flv_coding(head: bytes) -> str:
    at = 13
    while at + 12 <= len(head):
        if head[at] == 8:
            return _FLV_CODINGS.get(head[at + 11] >> 4, "")
        at += 15 + int.from_bytes(head[at + 1 : at + 4], "big")
    return ""


def _signed(file: BinaryIO, head: bytes) -> FileFormat | None:
    for mark, name in _NATIVE:
        if head.startswith(mark):
            return FileFormat(name, native=True, misread=name == "VOC" and _has_many_blocks(file, head))
    for mark, name in _SIGNATURES:
        if head.startswith(mark):
            return FileFormat(name)
    for mark, name in _OTHER:
        if head.startswith(mark):
            return FileFormat(name, is_audio=False)
    return FileFormat("a web page (HTML)", is_audio=False) if _HTML.match(head) else None


def _has_many_blocks(file: BinaryIO, head: bytes) -> bool:
    """Whether a VOC file has several blocks of audio: libsndfile 1.2.2 decodes the headers of later blocks as audio."""
    at = int.from_bytes(head[20:22], "little")
    if head[at] not in (1, 9):
        return True
    file.seek(at + 4 + int.from_bytes(head[at + 1 : at + 4], "little"))
    return file.read(1) not in (b"", b"\0")


def _stream(head: bytes) -> FileFormat | None:
    """Detect coded frames without a container."""
    if head[4:7] == _MLP_SYNC and (coding := _MLP_CODINGS.get(head[7:8])) is not None:
        return FileFormat(coding)
    coding = raw_stream(head)
    return None if coding is None else FileFormat(coding, native=coding in _MPEG, estimated=coding in _MPEG[1:])


def _listed(codings: list[str]) -> str:
    return " and ".join(dict.fromkeys(coding for coding in codings if coding))
