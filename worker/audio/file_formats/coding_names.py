"""Maps the identifiers of codecs in containers to names, and describes the codecs that libsndfile 1.2.2 reads."""

from __future__ import annotations

import re
from typing import Final

# All values of these codecs fit 16 bits, so reading int16 is lossless.
_INT16: Final = (
    "PCM_16 PCM_S8 PCM_U8 ULAW ALAW IMA_ADPCM MS_ADPCM GSM610 VOX_ADPCM G721_32 G723_24 G723_40 NMS_ADPCM_16 "
    "NMS_ADPCM_24 NMS_ADPCM_32 ALAC_16 DWVW_12 DWVW_16 DPCM_8 DPCM_16"
)
# Seeking is exact in these codecs. All other codecs must be decoded from the start to reach an exact position.
_SEEK_EXACT: Final = "PCM_16 PCM_24 PCM_32 PCM_S8 PCM_U8 ULAW ALAW FLOAT DOUBLE"

_WAV_CODINGS: Final = {
    # Microsoft's mmreg.h, and the numbers FFmpeg writes. True: libsndfile reads this codec.
    0x0001: ("PCM", True), 0x0002: ("MS ADPCM", True), 0x0003: ("float PCM", True), 0x0006: ("A-law", True),
    0x0007: ("mu-law", True), 0x0010: ("OKI ADPCM", False), 0x0011: ("IMA ADPCM", True), 0x0014: ("G.723", False),
    0x0016: ("G.723", False), 0x0017: ("Dialogic OKI ADPCM", False), 0x0020: ("Yamaha ADPCM", False),
    0x0022: ("DSP Group TrueSpeech", False), 0x0028: ("LRC", False), 0x0031: ("GSM 06.10", True),
    0x0038: ("NMS ADPCM", True), 0x0040: ("G.721 ADPCM", True), 0x0041: ("G.728", False), 0x0042: ("G.723.1", False),
    0x0045: ("G.726", False), 0x0050: ("MP2", False), 0x0055: ("MP3", True), 0x0059: ("G.723.1", False),
    0x0061: ("Duck DK4 ADPCM", False), 0x0062: ("Duck DK3 ADPCM", False), 0x0064: ("G.726", False),
    0x0065: ("G.722", False), 0x0069: ("VoxWare", False), 0x0075: ("VoxWare MetaSound", False),
    0x0083: ("G.729", False), 0x0092: ("AC-3", False), 0x00FF: ("AAC", False), 0x0111: ("G.723.1", False),
    0x0130: ("ACELP.net", False), 0x0132: ("G.729", False), 0x0135: ("MSN Audio", False), 0x0160: ("WMA 1", False),
    0x0161: ("WMA 2", False), 0x0162: ("WMA Pro", False), 0x0163: ("WMA Lossless", False), 0x000A: ("WMA Voice", False),
    0x0200: ("Creative ADPCM", False), 0x0270: ("ATRAC3", False), 0x028F: ("G.722", False), 0x0401: ("IMC", False),
    0x1500: ("GSM 06.10", False), 0x1600: ("AAC", False), 0x1602: ("AAC", False), 0x1610: ("AAC", False),
    0x2000: ("AC-3", False), 0x2001: ("DTS", False), 0x2002: ("RealAudio 1", False), 0x2003: ("RealAudio 2", False),
    0x566F: ("Vorbis", False), 0x674F: ("Vorbis", False), 0x6750: ("Vorbis", False), 0x6751: ("Vorbis", False),
    0x676F: ("Vorbis", False), 0x6770: ("Vorbis", False), 0x6771: ("Vorbis", False), 0x704F: ("Opus", False),
    0x706D: ("AAC", False), 0x77A1: ("TTA", False), 0x7A21: ("AMR", False), 0x7A22: ("AMR", False),
    0xA100: ("G.723.1", False), 0xA106: ("AAC", False), 0xA109: ("Speex", False), 0xF1AC: ("FLAC", False),
}  # fmt: skip
MP4_CODINGS: Final = {
    b"mp4a": "AAC", b"alac": "ALAC", b"ac-3": "AC-3", b"ec-3": "E-AC-3", b"ac-4": "AC-4", b"Opus": "Opus",
    b"fLaC": "FLAC", b"samr": "AMR", b"sawb": "AMR-WB", b".mp3": "MP3", b"twos": "PCM", b"sowt": "PCM", b"in24": "PCM",
    b"in32": "PCM", b"fl32": "PCM", b"fl64": "PCM", b"lpcm": "PCM", b"raw ": "PCM", b"NONE": "PCM", b"ipcm": "PCM",
    b"ulaw": "mu-law", b"alaw": "A-law", b"ima4": "IMA ADPCM", b"QDM2": "QDesign Music 2", b"QDMC": "QDesign Music",
    b"agsm": "GSM 06.10", b"sqcp": "QCELP", b"sevc": "EVRC", b"dtsc": "DTS", b"dtsh": "DTS", b"dtsl": "DTS",
    b"enca": "encrypted audio", b"drms": "encrypted AAC", b"mlpa": "TrueHD", b"spex": "Speex", b"Qclp": "QCELP",
    b"mha1": "MPEG-H", b"mhm1": "MPEG-H",
}  # fmt: skip
"""Sample entry code of an MP4 track -> name."""
MP4A_OBJECTS: Final = {0x69: "MP3", 0x6B: "MP3", 0xA5: "AC-3", 0xA6: "E-AC-3", 0xA9: "DTS", 0xDD: "Vorbis"}
"""Object type in the descriptor of an `mp4a` track -> name."""
_EAC3_GUID: Final = bytes.fromhex("af87fba7022dfb42a4d405cd93843bdd")
_STREAMS_AS_PCM: Final = (
    # The first bytes of the frames of coded audio that is stored as if it were 16-bit PCM, as on DTS discs.
    (b"\x7f\xfe\x80\x01", "DTS"), (b"\xfe\x7f\x01\x80", "DTS"), (b"\x1f\xff\xe8\x00", "DTS"),
    (b"\xff\x1f\x00\xe8", "DTS"), (b"\x72\xf8\x1f\x4e", "S/PDIF bursts"),
)  # fmt: skip
_BIG: Final = dict.fromkeys((b"NONE", b"twos", b"sowt", b"raw ", b"in24", b"in32", b"42ni", b"23ni"), ("PCM", True))
AIFF_CODINGS: Final = {
    **_BIG,
    **dict.fromkeys((b"fl32", b"FL32", b"fl64", b"FL64"), ("float PCM", True)),
    **dict.fromkeys((b"ulaw", b"ULAW"), ("mu-law", True)),
    **dict.fromkeys((b"alaw", b"ALAW"), ("A-law", True)),
    **{b"ima4": ("IMA ADPCM", True), b"GSM ": ("GSM 06.10", True), b"agsm": ("GSM 06.10", True)},
    **{b"DWVW": ("DWVW", True), b"G722": ("G.722", False), b"MAC3": ("MACE 3:1", False), b"MAC6": ("MACE 6:1", False)},
    **{b"QDM2": ("QDesign Music 2", False), b"QDMC": ("QDesign Music", False), b"Qclp": ("QCELP", False)},
    **{b"ADP4": ("Intel DVI ADPCM", False), b"SDX2": ("SDX2 DPCM", False), b"alac": ("ALAC", False)},
    **{b"mp4a": ("AAC", False), b".mp3": ("MP3", False), b"ac-3": ("AC-3", False)},
}
CAF_CODINGS: Final = {
    b"lpcm": ("PCM", True), b"ulaw": ("mu-law", True), b"alaw": ("A-law", True), b"alac": ("ALAC", True),
    b"aac ": ("AAC", False), b"ima4": ("IMA ADPCM", False), b"opus": ("Opus", False), b"flac": ("FLAC", False),
    b".mp3": ("MP3", False), b".mp2": ("MP2", False), b".mp1": ("MP1", False), b"ac-3": ("AC-3", False),
    b"ec-3": ("E-AC-3", False), b"ilbc": ("iLBC", False), b"samr": ("AMR", False), b"agsm": ("GSM 06.10", False),
    b"QDM2": ("QDesign Music 2", False), b"MAC3": ("MACE 3:1", False), b"MAC6": ("MACE 6:1", False),
    b"aach": ("AAC", False), b"aacp": ("AAC", False), b"aacl": ("AAC", False), b"G722": ("G.722", False),
}  # fmt: skip
AU_CODINGS: Final = {
    **{1: ("mu-law", True), 27: ("A-law", True), 6: ("float PCM", True), 7: ("float PCM", True)},
    **dict.fromkeys((2, 3, 4, 5), ("PCM", True)),
    **{23: ("G.721", True), 24: ("G.722", False), 25: ("G.723", True), 26: ("G.723", True)},
}
MATROSKA_CODINGS: Final = (
    ("AAC", "AAC"), ("OPUS", "Opus"), ("VORBIS", "Vorbis"), ("FLAC", "FLAC"), ("AC3", "AC-3"), ("EAC3", "E-AC-3"),
    ("DTS", "DTS"), ("TRUEHD", "TrueHD"), ("MPEG/L3", "MP3"), ("MPEG/L2", "MP2"), ("MPEG/L1", "MP1"), ("PCM", "PCM"),
    ("ALAC", "ALAC"), ("TTA1", "TTA"), ("WAVPACK4", "WavPack"), ("REAL", "RealAudio"), ("MS/ACM", "a Windows codec"),
)  # fmt: skip

_SHORTER_THAN_DECLARED: Final = re.compile(r"^\s*(?:data|SSND)\s*:\s*(\d+) \(should be (\d+)\)", re.MULTILINE)
_STREAMED_SIZES: Final = (0x7FFFFFFF, 0xFFFFFFFF)  # written by recorders that do not know the length yet


def fits_int16(subtype: str) -> bool:
    """Whether all samples of this codec (`SoundFile.subtype`) fit 16 bits without loss."""
    return subtype in _INT16.split()


def seeks_exactly(subtype: str) -> bool:
    """Whether seeking is exact to the sample in this codec (`SoundFile.subtype`)."""
    return subtype in _SEEK_EXACT.split()


def length_is_estimated(container: str, subtype: str) -> bool:
    """Whether libsndfile estimates the length of files with this container and codec from the bit rate of the first
    frames. `container`, `subtype`: see `SoundFile.format` and `SoundFile.subtype`."""
    return subtype in ("MPEG_LAYER_I", "MPEG_LAYER_II") or (subtype == "MPEG_LAYER_III" and container != "MP3")


def missing_bytes(log: str) -> tuple[int, int] | None:
    """Return the declared and the existing bytes of audio if a file ends too early, else None.

    `log`: the log of libsndfile about the header (`SoundFile.extra_info`)."""
    match = _SHORTER_THAN_DECLARED.search(log)
    if match and (declared := int(match[1])) > (actual := int(match[2])) and declared not in _STREAMED_SIZES:
        return declared, actual
    return None


def wav_coding(tag: int, form: bytes = b"", audio: bytes = b"") -> tuple[str, bool]:
    """Return the name of a codec, and whether libsndfile reads it. `tag`: Microsoft's number of the codec. `form`: the
    content of the chunk `fmt `. `audio`: the start of the audio, which may be compressed although the header declares
    PCM."""
    guid = form[24:40] if form[:2] in (b"\xfe\xff", b"\xff\xfe") else b""
    if guid == _EAC3_GUID:
        return "E-AC-3", False
    if tag == 1 and audio:
        even = audio[: len(audio) // 2 * 2]
        for mark, name in _STREAMS_AS_PCM:
            at = even.find(mark)
            if at >= 0 and at % 2 == 0 and even.count(mark) > 1:
                return f"{name} (as PCM)", False
    return _WAV_CODINGS.get(tag, (f"codec 0x{tag:04x}", False))
