"""File name endings: which files a walk over a folder takes as audio, and which promise other media (pure)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_AUDIO: Final = (
    # The formats libsndfile 1.2.2 lists and the endings they are usually found under; headerless data (.raw) is not
    # one of them, as its rate and coding would be a guess. The last line is what telephone systems write.
    "wav wave wavex bwf rf64 w64 flac ogg oga opus mp3 mp2 mp1 mpga aif aiff aifc au snd caf voc sf ircam nist sph "
    "pvf paf fap avr svx 8svx iff htk mat mat4 mat5 xi sds sd2 wve mpc2k "
    "gsm vox"
)
_OTHER_MEDIA: Final = (
    "m4a m4b m4r mp4 m4v mov aac ac3 eac3 dts webm weba mka mkv wma wmv asf amr awb 3gp 3gpp 3g2 avi flv f4a mpg mpeg "
    "ts mts m2ts vob ape wv tta mpc ra rm spx dsf dff tak mxf gxf nut oma qcp xwma adx shn sox thd mlp loas latm "
    "g722 amrnb amrwb divx ogv ogm m4p mka mk3d f4v qt m1a m2a mp+ aa ofr"
)
AUDIO_ENDINGS: Final = frozenset(_AUDIO.split())
OTHER_MEDIA_ENDINGS: Final = frozenset(_OTHER_MEDIA.split())


def _ending(path: Path) -> str:
    return path.suffix[1:].lower()


def is_audio_name(path: Path) -> bool:
    """Whether a walk over a folder takes this file: its ending is one that libsndfile opens, in any case.

    Hidden files are not taken: `._call.wav` is what macOS leaves beside `call.wav` on foreign disks, and not audio.
    """
    return not path.name.startswith(".") and _ending(path) in AUDIO_ENDINGS


def is_other_media_name(path: Path) -> bool:
    """Whether the ending promises audio that libsndfile does not open, so that a walk can name it, not pass it over."""
    return not path.name.startswith(".") and _ending(path) in OTHER_MEDIA_ENDINGS
