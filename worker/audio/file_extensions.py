"""Lists the file name extensions of audio that libsndfile reads, and of other media. No I/O."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_AUDIO: Final = (
    # The formats that libsndfile 1.2.2 lists, with their usual extensions. Headerless data (.raw) is not included,
    # because its rate and codec would be a guess. The last line has formats of telephone systems.
    "wav wave wavex bwf rf64 w64 flac ogg oga opus mp3 mp2 mp1 mpga aif aiff aifc au snd caf voc sf ircam nist sph "
    "pvf paf fap avr svx 8svx iff htk mat mat4 mat5 xi sds sd2 wve mpc2k "
    "gsm vox"
)
_OTHER_MEDIA: Final = (
    "m4a m4b m4r mp4 m4v mov aac ac3 eac3 dts webm weba mka mkv wma wmv asf amr awb 3gp 3gpp 3g2 avi flv f4a mpg mpeg "
    "ts mts m2ts vob ape wv tta mpc ra rm spx dsf dff tak mxf gxf nut oma qcp xwma adx shn sox thd mlp loas latm "
    "g722 amrnb amrwb divx ogv ogm m4p mka mk3d f4v qt m1a m2a mp+ aa ofr dv"
)
AUDIO_ENDINGS: Final = frozenset(_AUDIO.split())
OTHER_MEDIA_ENDINGS: Final = frozenset(_OTHER_MEDIA.split())


def _ending(path: Path) -> str:
    return path.suffix[1:].lower()


def is_audio_name(path: Path) -> bool:
    """Whether libsndfile opens files with the extension of `path`. Ignores the case.

    Returns False for hidden files. For example, macOS writes a hidden file `._call.wav` next to `call.wav` on some
    disks, and this file contains no audio.
    """
    return not path.name.startswith(".") and _ending(path) in AUDIO_ENDINGS


def is_other_media_name(path: Path) -> bool:
    """Whether the extension belongs to media that libsndfile does not open. A scan of a folder reports the files with
    these extensions."""
    return not path.name.startswith(".") and _ending(path) in OTHER_MEDIA_ENDINGS
