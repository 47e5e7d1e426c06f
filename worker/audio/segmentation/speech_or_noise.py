"""Classifies the sounds in audio for which the service returned no text: speech, noise, or unknown. No I/O.

The limits below were measured on forty recordings (meetings, phone calls, music on hold, dishes; 13 minutes) with the
embedded recognizer. Between transcribed words, the detector finds at most 0.9 s of speech (breath, laughter); where the
recognizer omitted speech, the detector finds 2.1 s and more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from worker.audio.segmentation.scan import WINDOW_S, Scan, decibels
from worker.audio.segmentation.silence import SkipOptions, speech_windows

SoundKind = Literal["speech", "noise", "unknown"]

LAST_S: Final = 0.6
"""Speech after which no text follows is reported if it lasts at least this many seconds, about two words. In the forty
recordings, the detector finds at most 0.45 s after the last word, except in one whose words the recognizer omitted."""
LAST_SOUND_S: Final = 0.8
"""Other sound after which no text follows is reported if it lasts at least this many seconds. Steps, a door and a chair
last at most 0.65 s."""
MIDDLE_S: Final = 2.5
"""Any sound after which text follows is reported if it lasts at least this many seconds. The limit is higher because
the text shows that the service was responding, and a recognizer may omit a mumbled word."""
NOISE_S: Final = 5.0
"""Noise without pauses is reported if it lasts at least this many seconds."""
APART_S: Final = 5.0
"""A pause longer than this (s) separates two sound ranges."""
PROBABILITY: Final = 0.5
"""A window counts as speech if the detector's probability is at least this."""
FAINT_DB: Final = -55.0
"""Sound whose level (dB) is below this in both voice bands counts as a pause."""
SPREAD_DB: Final = 25.0
"""Sound that is more than this (dB) below the loudest sound counts as a pause."""
PAUSES: Final = 0.1
"""If at least this share of a sound range is pauses, it may be speech even if the detector disagrees. Speech has a
share of 0.2 to 0.6, music and machines almost none."""

_LOUDEST: Final = 30  # the loudest level is exceeded by about this many windows (half a second)
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class SoundRange:
    """A range with sound. `start`, `end`: in seconds from the start of the scan. `seconds`: seconds of speech if `kind`
    is "speech", otherwise seconds of sound. Pauses are not included."""

    start: float
    end: float
    kind: SoundKind
    seconds: float
    pauses: bool
    """Whether the sound has pauses like speech."""


def find_sounds(found: Scan, *, last: bool) -> list[SoundRange]:
    """Return the ranges of a scan that have so much sound that text is expected for it. `last`: whether no text follows
    the scanned audio."""
    if not found.windows:
        return []
    speech_s, sound_s = _needed_s(last=last)
    levels = np.maximum(decibels(found.low), decibels(found.high))
    loudest = float(np.partition(levels, -min(_LOUDEST, len(levels)))[-min(_LOUDEST, len(levels))])
    quiet = levels < max(loudest - SPREAD_DB, FAINT_DB)
    sound = ~quiet & speech_windows(replace(found, voice=None), SkipOptions())  # without hum and hiss
    stretches = []
    if found.voice is not None:
        spoken = found.voice >= round(PROBABILITY * 255)
        stretches = _stretches(spoken, quiet, "speech", speech_s)
        for stretch in stretches:
            sound[round(stretch.start / WINDOW_S) : round(stretch.end / WINDOW_S)] = False
    rest = _stretches(sound, quiet, "unknown" if found.voice is None else "noise", sound_s)
    stretches += [s for s in rest if s.kind == "unknown" or s.pauses or s.seconds >= NOISE_S]
    return sorted(stretches, key=lambda stretch: stretch.start)


def is_too_short(length_s: float, *, last: bool) -> bool:
    """Return whether audio of this length (s) has no room for a sound that `find_sounds` returns. The scan of such
    audio can be omitted."""
    # The last window may be shorter than the others, but counts fully. One more window allows for rounding.
    return length_s + 2 * WINDOW_S < min(_needed_s(last=last))


def _needed_s(*, last: bool) -> tuple[float, float]:
    """Return the minimum seconds of speech, and of other sound."""
    return (LAST_S, LAST_SOUND_S) if last else (MIDDLE_S, MIDDLE_S)


def _stretches(sound: Mask, quiet: Mask, kind: SoundKind, need_s: float) -> list[SoundRange]:
    """Return the ranges with at least `need_s` seconds of sound; pauses in a range are not included in these seconds.
    Sounds that are less than APART_S apart belong to one range. `sound`, `quiet`: for each window, whether it has
    sound, and whether it is part of a pause."""
    places = np.flatnonzero(sound)
    if not len(places):
        return []
    breaks = np.flatnonzero(np.diff(places) > APART_S / WINDOW_S) + 1
    found = []
    for group in np.split(places, breaks):
        first, last = int(group[0]), int(group[-1]) + 1
        seconds = round(len(group) * WINDOW_S, 3)
        if seconds >= need_s:
            pauses = float(quiet[first:last].mean()) >= PAUSES
            found.append(SoundRange(first * WINDOW_S, last * WINDOW_S, kind, seconds, pauses))
    return found
