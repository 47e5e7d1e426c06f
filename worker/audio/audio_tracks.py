"""Selects and names the audio tracks of a container. No I/O.

Track numbers start at 1 and follow the order of the container. Each track is an audio stream with its own channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from worker.errors import NoSuchTrack

TrackSelection = Literal["all"] | int | None
"""The number of a track (from 1), `all` to read each track as a channel, or None for the container's default track."""
MAX_TRACKS: Final = 1024
SILENT_PEAK: Final = 10 ** (-70 / 20)
"""A track whose peak (full scale 1.0) is below this, -70 dBFS, counts as silent."""
_MAX_LISTED: Final = 16
_MAX_NAME_CHARS: Final = 64
_UNKNOWN_LANGUAGES: Final = ("", "und", "mis", "zxx", "unknown")
_MUXER_TITLES: Final = (
    "SoundHandler",
    "SoundHandle",
    "Core Media Audio",
    "GPAC ISO Audio Handler",
    "Apple Sound Media Handler",
)
"""Titles that muxers write by default. They do not describe the track."""


@dataclass(frozen=True, slots=True)
class Track:
    """One audio stream of a container with its tags."""

    number: int
    language: str = ""
    title: str = ""

    @classmethod
    def tagged(cls, number: int, language: str, *titles: str) -> Track:
        """Create a track from the raw tags of the file. The title of the track is the first text in `titles` that is
        neither empty nor the default title of a muxer."""
        names = (_cleaned(title) for title in titles)
        title = next((name for name in names if name and name not in _MUXER_TITLES), "")
        language = _cleaned(language).lower()
        return cls(number, "" if language in _UNKNOWN_LANGUAGES else language, title)

    def __str__(self) -> str:
        facts = ", ".join(filter(None, (self.language, f'"{self.title}"' if self.title else "")))
        return f"track {self.number} ({facts})" if facts else f"track {self.number}"


def parse_track(value: object) -> TrackSelection:
    """Parse a track option. Raises ValueError, whose text lists the allowed values."""
    text = str(value).strip().lower()
    if value is None:
        return None
    if text == "all" and isinstance(value, str):
        return "all"
    if not isinstance(value, (str, int)) or isinstance(value, bool) or not (text.isascii() and text.isdecimal()):
        raise ValueError(f"must be all, or the number of an audio track, not {str(value)[:40]!r}")
    if not 1 <= (number := int(text)) <= MAX_TRACKS:
        raise ValueError(f"must be from 1 to {MAX_TRACKS}: the first audio track is 1")
    return number


def default_track(defaults: Sequence[bool]) -> int:
    """Return the index (from 0) of the track that players choose: the first track that is marked as default, otherwise
    the first track."""
    return list(defaults).index(True) if True in defaults else 0


def check_track(selection: TrackSelection, tracks: Sequence[Track], shown: object) -> None:
    """Check that the container has the selected track. Raises NoSuchTrack, whose text lists the existing tracks.

    `shown` names the source in the message.
    """
    if isinstance(selection, int) and selection > max(1, len(tracks)):
        if len(tracks) < 2:
            raise NoSuchTrack(f"{shown}: has only one audio track; there is no track {selection}")
        raise NoSuchTrack(f"{shown}: has no audio track {selection}; there are {listed(tracks)}; choose with --track")


def listed(tracks: Sequence[Track]) -> str:
    """Format the tracks for messages; a long list is shortened."""
    more = f" and {len(tracks) - _MAX_LISTED} more" if len(tracks) > _MAX_LISTED else ""
    return ", ".join(map(str, tracks[:_MAX_LISTED])) + more


def choice_warning(tracks: Sequence[Track], number: int) -> str | None:
    """Return a warning if the container has audio tracks other than `number`, the track that is read. Otherwise return
    None."""
    if len(tracks) < 2:
        return None
    return (
        f"has {len(tracks)} audio tracks: {listed(tracks)}; only track {number} is read; "
        "choose another one, or all, with --track"
    )


def silence_warning(tracks: Sequence[Track], number: int) -> str:
    """Return the warning that track `number` is silent, and that other tracks may contain speech."""
    others = listed([track for track in tracks if track.number != number])
    return f"audio track {number}, which was read, is silent; there are also {others}; choose with --track"


def labels(tracks: Sequence[Track], first_names: Sequence[str] = ()) -> tuple[str, ...]:
    """Return a unique name for each track: its language, title or number. `first_names`: the names of
    the first tracks, if they are given."""
    names = list(first_names)
    for track in tracks[len(names) :]:
        unique = [name for name in (track.language, track.title) if name and _is_unique(name, tracks, names)]
        name = unique[0] if unique else f"{track.language} {track.number}" if track.language else str(track.number)
        is_taken = name.casefold() in map(str.casefold, names)
        names.append(f"track {track.number}" if is_taken else name[:_MAX_NAME_CHARS])
    return tuple(names)


def _is_unique(name: str, tracks: Sequence[Track], taken: Sequence[str]) -> bool:
    uses = sum(name.casefold() in (track.language.casefold(), track.title.casefold()) for track in tracks)
    return uses <= 1 and name.casefold() not in map(str.casefold, taken) and not name.isdecimal()


def _cleaned(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text).strip()[:_MAX_NAME_CHARS]
