"""Containers and codecs of the matrix: all that FFmpeg (in PyAV or as a command) and sox can write here.

These formats are not included:
- raw codecs without a header (alaw, g722, s16le …): no program can tell their rate. `test_decode.py` tests the
  refusal.
- `aptx`, `sbc`, `dfpwm`, `daud`, `vidc`, `roq`, `rso`, `wsaud`: FFmpeg 8 recognizes its own files by their name only.
- FLAC, Opus and AC-3 in FLV, AAC in W64, WTV and WAV, FLAC and ADPCM in NUT, PCM in GXF, S8 in SD2: FFmpeg 8 cannot
  decode them again.
- E-AC-3, G.722 and G.726 in AVI, FLAC in ASF: the times FFmpeg writes are wrong by seconds, in its own player too.
- AAC and RealAudio in RealMedia: FFmpeg writes the same time into all packets. ADPCM in AVI: it writes half as much
  again as there is into the header as the length.
- truncated CAF with packets of different sizes: their table stands at the end, and without it nobody can read them.
- holes in PCM in MP4 and MOV: the muxer writes samples without times. Holes in WavPack: a packet lasts half a second.
- TTA in Matroska: its last packet can only be decoded with a header that knows the length.
- `asf_stream`: a protocol's packets without the file's header.
- games' formats (`adx`, `kvag`, `apm`, `argo_asf`, `film_cpk`): no recording of speech is stored in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

Tool = Literal["pyav", "ffmpeg", "sox", "sndfile"]


@dataclass(frozen=True, slots=True)
class Coding:
    """An encoder. `rate`: in Hz. `second`: the rate, in Hz, after a change of rate inside the file."""

    encoder: str
    rate: int = 48000
    channels: int = 1
    second: int = 44100
    lossy: bool = False
    frame_s: float = 0.0
    """Maximum seconds that a padded last frame adds to the file."""
    words: bool = True
    """Whether the encoder preserves the tones that stand for words. Encoders that model a human voice do not."""


def _lossy(encoder: str, rate: int = 48000, channels: int = 1, second: int = 44100) -> Coding:
    return Coding(encoder, rate, channels, second, lossy=True)


_CODINGS: Final = {
    coding.encoder: coding
    for coding in (
        _lossy("aac"),
        _lossy("ac3", channels=2),
        _lossy("ac3_fixed"),
        _lossy("eac3"),
        _lossy("mp3", second=22050),
        _lossy("mp2"),
        _lossy("libopus", second=48000),
        _lossy("vorbis", channels=2),
        _lossy("libvorbis", channels=2),
        _lossy("libspeex", rate=32000, second=16000),
        _lossy("libtwolame"),
        _lossy("dca", channels=2),
        _lossy("wmav1"),
        _lossy("wmav2"),
        _lossy("nellymoser", rate=22050),
        _lossy("g722", rate=16000),
        Coding("g726", 8000, lossy=True, frame_s=0.2),
        _lossy("adpcm_ima_qt"),
        _lossy("adpcm_ima_wav"),
        _lossy("adpcm_ms"),
        Coding("adpcm_swf", 22050, lossy=True, frame_s=0.2),
        _lossy("adpcm_yamaha"),
        _lossy("libopencore_amrnb", rate=8000),
        _lossy("pcm_alaw"),
        _lossy("pcm_mulaw"),
        Coding("real_144", 8000, lossy=True, words=False),
        Coding("libgsm", 8000, lossy=True, words=False),
        Coding("libgsm_ms", 8000, lossy=True, words=False),
        Coding("u8", 8000),
        Coding("pcm_dvd", channels=2),
        Coding("s302m", channels=2),
        Coding("truehd", channels=2),
        Coding("mlp", channels=2),
    )
}


def coding(encoder: str) -> Coding:
    return _CODINGS.get(encoder) or Coding(encoder)


@dataclass(frozen=True, slots=True)
class Container:
    """A container format. `codings`: names separated by spaces."""

    muxer: str
    ending: str
    codings: str
    tool: Tool = "pyav"
    options: dict[str, str] = field(default_factory=dict, hash=False)
    picture: str | None = None
    """The video encoder, if the container may have video. The audio of a `late` file starts after the video."""
    must_picture: bool = False
    holes: bool = False
    """Whether each packet has its own timestamp."""
    joins: bool = False
    """Whether two concatenated files are one valid file."""
    unknown: dict[str, str] | None = field(default=None, hash=False)
    """Options of the muxer for a file written to a pipe. It is None for muxers that must seek."""
    cuts: dict[str, str] | None = field(default_factory=dict, hash=False)
    """Options with which a truncated file can still be opened. It is None where that is impossible."""
    says_length: bool = True
    """Whether a truncated file differs from a complete one."""

    def __iter__(self) -> Iterator[Coding]:
        return map(coding, self.codings.split())


def _without(codings: str, some: str) -> str:
    return " ".join(name for name in codings.split() if name not in some.split())


_PCM: Final = "pcm_s16le pcm_s24le pcm_s32le pcm_f32le pcm_f64le"
_PCM_BE: Final = "pcm_s16be pcm_s24be pcm_s32be pcm_f32be pcm_f64be"
_RIFF: Final = (
    f"ac3 adpcm_ima_wav adpcm_ms adpcm_swf adpcm_yamaha eac3 flac g722 g726 mp3 mp2 pcm_alaw pcm_mulaw pcm_u8 {_PCM}"
)
_FRAGMENTS: Final = {"movflags": "frag_keyframe+delay_moov+default_base_moof", "frag_duration": "500000"}
_PS: Final = "ac3 mp3 mp2 pcm_dvd pcm_s16be"

CONTAINERS: Final = (
    Container(
        "mp4", "mp4", f"aac ac3 alac eac3 flac mp3 libopus mp2 {_PCM}", picture="mpeg4", holes=True,
        unknown=_FRAGMENTS, cuts=_FRAGMENTS, says_length=False,
    ),
    Container(
        "mov", "mov", f"aac ac3 adpcm_ima_qt alac eac3 mp3 mp2 pcm_alaw pcm_mulaw pcm_u8 {_PCM} {_PCM_BE}",
        picture="mpeg4", holes=True, cuts=None,
    ),
    Container("ipod", "m4a", "aac ac3 alac", holes=True, cuts={"movflags": "faststart"}),
    Container("3gp", "3gp", "aac libopencore_amrnb", holes=True, cuts=None),
    Container("f4v", "f4v", "aac mp3", cuts=None),
    Container("ismv", "ismv", "aac alac mp3", says_length=False),
    Container(
        "matroska", "mkv", f"aac ac3 alac eac3 flac mp3 libopus mp2 vorbis wavpack pcm_u8 {_PCM}", picture="mpeg4",
        holes=True, unknown={"live": "1"},
    ),
    Container("matroska", "mka", "aac flac mp3 libopus pcm_s16le", unknown={"live": "1"}),
    Container("webm", "webm", "libopus vorbis", picture="libvpx", holes=True, unknown={"live": "1"}),
    Container(
        "avi", "avi", _without(_RIFF, "eac3 g722 g726 adpcm_ima_wav adpcm_ms adpcm_yamaha"), picture="mpeg4", unknown={}
    ),
    Container("flv", "flv", "aac mp3 nellymoser adpcm_swf", picture="flv", holes=True, unknown={}),
    Container("asf", "wma", f"wmav1 wmav2 {_without(_RIFF, 'flac')}", picture="mpeg4", holes=True, unknown={}),
    Container(
        "mpegts", "ts", "aac ac3 eac3 mp3 libopus mp2", picture="mpeg2video", holes=True, joins=True, says_length=False
    ),
    Container("mpeg", "mpg", _PS, picture="mpeg2video", says_length=False),
    Container("vob", "vob", _PS, picture="mpeg2video", says_length=False),
    Container(
        "nut", "nut", f"aac ac3 eac3 mp3 libopus mp2 wavpack {_PCM}", picture="mpeg4", holes=True, says_length=False
    ),
    Container("rm", "rm", "ac3", says_length=False),
    Container("wtv", "wtv", "ac3 mp3 mp2 pcm_s16le"),
    Container("mxf", "mxf", "pcm_s16le pcm_s24le", picture="mpeg2video", must_picture=True),
    Container("mxf_opatom", "mxf", "pcm_s16le pcm_s24le"),
    Container("wav", "wav", _RIFF, unknown={}),
    Container("wav", "rf64", "pcm_s16le pcm_s24le pcm_f32le", options={"rf64": "always"}),
    Container("w64", "w64", _RIFF, unknown={}),
    Container("aiff", "aiff", f"adpcm_ima_qt pcm_alaw pcm_mulaw pcm_s8 pcm_s16le {_PCM_BE}"),
    Container("caf", "caf", f"adpcm_ima_qt pcm_alaw pcm_mulaw pcm_s8 {_PCM} {_PCM_BE}"),
    Container("caf", "caf", "ac3 alac flac mp3 mp2", cuts=None),
    Container("au", "au", f"g722 pcm_alaw pcm_mulaw pcm_s8 {_PCM_BE}", unknown={}),
    Container("ogg", "ogg", "flac libopus vorbis", holes=True, joins=True, says_length=True),
    Container("ogg", "oga", "flac vorbis"),
    Container("opus", "opus", "libopus"),
    Container("flac", "flac", "flac", unknown={}),
    Container("mp3", "mp3", "mp3", joins=True, unknown={"write_xing": "0"}),
    Container("mp2", "mp2", "mp2", joins=True, says_length=False),
    Container("adts", "aac", "aac", joins=True, says_length=False),
    Container("latm", "latm", "aac", says_length=False),
    Container("ac3", "ac3", "ac3", joins=True, says_length=False),
    Container("eac3", "eac3", "eac3", joins=True, says_length=False),
    Container("amr", "amr", "libopencore_amrnb", says_length=False),
    Container("tta", "tta", "tta"),
    Container("wv", "wv", "wavpack"),
    Container("voc", "voc", "pcm_alaw pcm_mulaw pcm_s16le", says_length=False),
    Container("ircam", "sf", "pcm_alaw pcm_mulaw pcm_s16le pcm_f32le", says_length=False),
    Container("sox", "sox", "pcm_s32le", says_length=False),
    Container("ogg", "spx", "libspeex", tool="ffmpeg"),
    Container("ogg", "ogg", "libvorbis", tool="ffmpeg"),
    Container("wav", "wav", "libgsm_ms libtwolame dca", tool="ffmpeg"),
    Container("gsm", "gsm", "libgsm", tool="ffmpeg", says_length=False),
    Container("dts", "dts", "dca", tool="ffmpeg", says_length=False),
    Container("truehd", "thd", "truehd", tool="ffmpeg", says_length=False),
    Container("mlp", "mlp", "mlp", tool="ffmpeg", says_length=False),
    Container("mpegts", "m2ts", "s302m truehd dca", tool="ffmpeg", says_length=False),
    Container("sndfile", "wav", "PCM_16 PCM_U8 ULAW ALAW IMA_ADPCM MS_ADPCM FLOAT", tool="sndfile"),
    Container("sndfile", "caf", "ALAC_16 ALAC_24 PCM_24", tool="sndfile"),
    Container("sndfile", "ogg", "VORBIS OPUS", tool="sndfile"),
    Container("sndfile", "mp3", "MPEG_LAYER_III", tool="sndfile"),
    Container("sndfile", "flac", "PCM_24 PCM_S8", tool="sndfile"),
    Container("sox", "8svx", "s8", tool="sox", says_length=False),
    Container("sox", "aifc", "s16", tool="sox"),
    Container("sox", "amb", "s16", tool="sox"),
    Container("sox", "au", "s16 mu-law", tool="sox"),
    Container("sox", "avr", "s16", tool="sox", says_length=False),
    Container("sox", "caf", "s16", tool="sox"),
    Container("sox", "fap", "s16", tool="sox", says_length=False),
    Container("sox", "flac", "s16", tool="sox"),
    Container("sox", "ircam", "s16", tool="sox", says_length=False),
    Container("sox", "mat4", "s16", tool="sox", says_length=False),
    Container("sox", "mat5", "s16", tool="sox", says_length=False),
    Container("sox", "mp3", "mp3", tool="sox"),
    Container("sox", "sph", "s16 mu-law", tool="sox"),
    Container("sox", "ogg", "libvorbis", tool="sox"),
    Container("sox", "paf", "s16", tool="sox", says_length=False),
    Container("sox", "pvf", "s16", tool="sox", says_length=False),
    Container("sox", "sox", "s32", tool="sox", says_length=False),
    Container("sox", "voc", "s16 u8", tool="sox", says_length=False),
    Container("sox", "w64", "s16", tool="sox"),
    Container("sox", "wav", "s16 mu-law a-law ima-adpcm ms-adpcm", tool="sox"),
)  # fmt: skip
