"""Classifies the sounds in audio without text: speech, noise, or unknown (pure).

The limits were measured on forty recordings (meetings, phone calls, music on hold, dishes; 13 minutes) with the
embedded recognizer. Between words that it transcribed, the detector finds at most 0.9 s of speech (breath, laughter);
where it omitted speech, the detector finds 2.1 s and more.
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
"""Minimum seconds of reported speech if no text follows: two words. After their last word, the forty recordings have at
most 0.45 s, except one whose words the recognizer omitted."""
LAST_SOUND_S: Final = 0.8
"""Minimum seconds of other reported sound if no text follows. Steps, a door and a chair have at most 0.65 s."""
MIDDLE_S: Final = 2.5
"""Minimum seconds of any reported sound if text follows: the service was responding, and a recognizer may omit a
mumbled word."""
NOISE_S: Final = 5.0
"""Minimum seconds of reported noise without pauses."""
APART_S: Final = 5.0
"""Seconds of pause that separate two stretches."""
PROBABILITY: Final = 0.5
"""Probability from which a window counts as speech."""
FAINT_DB: Final = -55.0
"""Level (dB) in the voice bands below which sound is a pause."""
SPREAD_DB: Final = 25.0
"""Sound this far (dB) below the loudest is a pause."""
PAUSES: Final = 0.1
"""Share of pauses from which sound may be speech, even if the detector disagrees. Speech has 0.2 to 0.6, music and
machines have almost none."""

_LOUDEST: Final = 30  # windows: half a second
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class SoundRange:
    """A stretch with sound; `start` and `end` in seconds from the start of the scan. `seconds`: seconds of speech if
    `kind` is speech, else seconds of sound."""

    start: float
    end: float
    kind: SoundKind
    seconds: float
    pauses: bool
    """Whether the sound has pauses like speech."""


def find_sounds(found: Scan, *, last: bool) -> list[SoundRange]:
    """The stretches of a scan with enough sound that text is expected. `last`: no text follows the scanned audio."""
    if not found.windows:
        return []
    speech_s, sound_s = (LAST_S, LAST_SOUND_S) if last else (MIDDLE_S, MIDDLE_S)
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


def _stretches(sound: Mask, quiet: Mask, kind: SoundKind, need_s: float) -> list[SoundRange]:
    """Runs of windows with sound that last `need_s` without their pauses. Runs less than APART_S apart are joined."""
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
