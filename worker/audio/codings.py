"""What is known of libsndfile's codings (1.2.2) beyond what it says itself."""

from __future__ import annotations

import re
from typing import Final

# Every value fits 16 bits, so that reading int16 loses nothing.
_INT16: Final = (
    "PCM_16 PCM_S8 PCM_U8 ULAW ALAW IMA_ADPCM MS_ADPCM GSM610 VOX_ADPCM G721_32 G723_24 G723_40 NMS_ADPCM_16 "
    "NMS_ADPCM_24 NMS_ADPCM_32 ALAC_16 DWVW_12 DWVW_16 DPCM_8 DPCM_16"
)
# A seek lands on the exact sample. In the others the decoder needs what came before.
_SEEK_EXACT: Final = "PCM_16 PCM_24 PCM_32 PCM_S8 PCM_U8 ULAW ALAW FLOAT DOUBLE"

_SHORTER_THAN_SAID: Final = re.compile(r"^\s*(?:data|SSND)\s*:\s*(\d+) \(should be (\d+)\)", re.MULTILINE)
_STREAMED_SIZES: Final = (0x7FFFFFFF, 0xFFFFFFFF)  # what a recorder writes that cannot know the length


def fits_int16(subtype: str) -> bool:
    """Whether 16 bits hold every sample of this coding (`SoundFile.subtype`) without loss."""
    return subtype in _INT16.split()


def seeks_exactly(subtype: str) -> bool:
    """Whether a seek lands on the exact sample."""
    return subtype in _SEEK_EXACT.split()


def missing_bytes(log: str) -> tuple[int, int] | None:
    """From the log libsndfile keeps of a header (`SoundFile.extra_info`): bytes of audio promised and bytes there,
    where the file ends too early."""
    match = _SHORTER_THAN_SAID.search(log)
    if match and (said := int(match[1])) > (there := int(match[2])) and said not in _STREAMED_SIZES:
        return said, there
    return None
