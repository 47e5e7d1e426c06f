"""Selects the channels and audio tracks of a job, and names them. No I/O.

In options, names and documents, channel numbers start at 1. In the code they start at 0, and None stands for the mix of
all channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from worker.audio.audio_tracks import Track, TrackSelection, check_track, labels
from worker.audio.source import AudioInfo
from worker.errors import BadJob, NoSuchChannel

Channels = Literal["mix", "split"] | int
"""`mix` mixes all channels, `split` transcribes each separately, a number (from 1) selects one channel."""
MAX_CHANNELS: Final = 1024
_MAX_NAME_CHARS: Final = 64


def parse_channels(value: object) -> Channels:
    """Parse a channel option. Raises ValueError, whose text lists the allowed values."""
    text = str(value).strip().lower()
    if text in ("mix", "split"):
        return text  # type: ignore[return-value]
    # 2.0 and true are refused: they are more likely a mistake than channel 2 or 1.
    if not isinstance(value, (str, int)) or isinstance(value, bool) or not (text.isascii() and text.isdecimal()):
        raise ValueError(f"must be mix, split, or the number of a channel, not {str(value)[:40]!r}")
    number = int(text)
    if not 1 <= number <= MAX_CHANNELS:
        raise ValueError(
            f"must be from 1 to {MAX_CHANNELS}: the first channel is 1"
            if number < 1
            else f"must be at most {MAX_CHANNELS}"
        )
    return number


def parse_names(value: object) -> tuple[str, ...]:
    """Parse channel names: a sequence, or a text like `agent, customer`, in the order of the channels.

    Raises ValueError for names that are empty, too long, repeated, or equal to the number of another channel."""
    parts = value.replace(";", ",").split(",") if isinstance(value, str) and value.strip() else value or ()
    if not isinstance(parts, (list, tuple)) or not all(isinstance(part, str) for part in parts):
        raise ValueError("must be names, in the order of the channels")
    if len(parts) > MAX_CHANNELS:
        raise ValueError(f"must be at most {MAX_CHANNELS} names")
    names = tuple(part.strip() for part in parts)
    for number, name in enumerate(names, 1):
        if not name or len(name) > _MAX_NAME_CHARS or not name.isprintable():
            raise ValueError(f"the name of channel {number} must be 1 to {_MAX_NAME_CHARS} printable characters")
        if name.isdecimal() and name != str(number):
            raise ValueError(f"channel {number} cannot be called {name}")
    if len({name.casefold() for name in names}) < len(names):
        raise ValueError(f"each channel needs a name of its own, not {', '.join(names)}")
    return names


def check_selection(channels: Channels, track: TrackSelection) -> None:
    """Check that a single channel is not selected together with all tracks. Raises ValueError."""
    if track == "all" and isinstance(channels, int):
        raise ValueError(
            f"channel {channels} cannot be selected from all tracks together: give the number of a track, or no channel"
        )


def check_names(channels: Channels, names: Sequence[str], track: TrackSelection = None) -> None:
    """Check that a selected channel uses the names. Raises ValueError."""
    if names and channels == "mix" and track != "all":
        raise ValueError("names of channels go with split, or with the number of a channel")
    if isinstance(channels, int) and 1 < len(names) < channels:
        raise ValueError(f"there are names for {len(names)} channels, but none for channel {channels}")


@dataclass(frozen=True, slots=True)
class ChannelSelection:
    """The channels and the audio track that a job requests."""

    channels: Channels = "mix"
    names: tuple[str, ...] = ()
    """Names in the order of the channels. If one channel is requested, a single name belongs to that channel."""
    track: TrackSelection = None
    """With `all`, each audio track is one channel: the channels inside a track are mixed."""

    def for_tracks(self, tracks: Sequence[Track], shown: object) -> ChannelSelection:
        """Adapt the selection to a source with these tracks. If `all` tracks are selected, missing names are taken from
        the tags of the tracks.

        `shown` names the source in messages. Raises NoSuchTrack."""
        check_track(self.track, tracks, shown)
        if self.track != "all":
            return self
        if len(tracks) < 2:
            return replace(self, track=None)
        return replace(self, channels="split", names=labels(tracks, self.names))

    @property
    def first_track(self) -> int | None:
        """The track to open before the tracks of the source are known, or None for the container's default track."""
        return 1 if self.track == "all" else self.track

    def count_in(self, info: AudioInfo) -> int:
        """Return the number of channels of a source, or the number of its tracks if all tracks are selected."""
        return len(info.tracks) if self.track == "all" else info.channels

    def reader_of(self, channel: int | None) -> tuple[int | None, int | None]:
        """Return the arguments `channel` and `track` of `open_source` for a channel that `channels_in` returned."""
        if self.track == "all":
            return None, None if channel is None else channel + 1
        return channel, self.track

    def channels_in(self, count: int, shown: object) -> tuple[int | None, ...]:
        """Return the selected channels (from 0) of a source with `count` channels. Returns (None,) if all channels are
        mixed, or if there is only one channel.

        `shown` names the source in messages. Raises NoSuchChannel."""
        if isinstance(self.channels, int) and self.channels > count:
            there = "only one channel" if count == 1 else f"{count} channels"
            raise NoSuchChannel(f"{shown}: has {there}, so there is no channel {self.channels} to take")
        if self.channels == "mix" or count == 1:
            return (None,)
        return tuple(range(count)) if self.channels == "split" else (self.channels - 1,)

    def name(self, channel: int | None) -> str | None:
        """Return the label for the words of a channel, or None if its words get no label. `channel`: from 0, or None if
        all channels are mixed."""
        if isinstance(self.channels, int):
            names = self.names * self.channels if len(self.names) == 1 else self.names
            return names[self.channels - 1] if names else None
        if channel is None:
            return None
        return self.names[channel] if channel < len(self.names) else str(channel + 1)

    def warnings(self, count: int) -> tuple[str, ...]:
        """Return warnings about the selection for a source. `count`: number of channels of the source, or number of its
        tracks if all tracks are selected."""
        if self.channels != "split" or len(self.names) <= count:
            return ()
        there = "has only one channel, so nothing was split" if count == 1 else f"has only {count} channels"
        return (f"{there}; names were given for {len(self.names)}",)

    def check_unchanged(
        self,
        begun: Sequence[int | None],
        channels: Sequence[int | None],
        shown: object,
        begun_track: TrackSelection = None,
    ) -> None:
        """Check that an earlier attempt used the same channels (`begun`) and the same track (`begun_track`). Raises
        BadJob."""
        if begun_track != self.track:
            raise BadJob(f"{shown}: an earlier attempt used another audio track; submit the job again to start over")
        if tuple(begun) != tuple(channels):
            raise BadJob(f"{shown}: an earlier attempt used other channels; submit the job again to start over")


ALL_MIXED: Final = ChannelSelection()
