"""Follows the audio of a transport stream when its coding changes or it continues in another stream.

FFmpeg decodes one stream, with the coding at its start. Broadcasts and joined files change both; at such a place the
rest of the file is opened again.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack
from typing import Final

from worker.audio.decoding.ffmpeg_container import DecodedFrame, LostPacket, MediaContainer, OtherStream
from worker.errors import SourceError

_SURE_LOST: Final = 5
"""This many undecodable packets in a row may mean a change of coding."""
_MAX_LOOKS: Final = 20
"""Maximum number of checks for a change: damage looks the same at first, and each check opens the file."""


def frames_through_changes(opened: MediaContainer) -> Iterator[DecodedFrame | LostPacket]:
    """The frames of a container and of those that follow it in the same file."""
    with ExitStack() as following:
        current: MediaContainer | None = opened
        while current is not None:
            current = yield from _until_change(current)
            if current is not None:
                following.callback(current.close)


def _until_change(opened: MediaContainer) -> Generator[DecodedFrame | LostPacket, None, MediaContainer | None]:
    """Yields frames up to a change, and returns the container that continues after it."""
    lost: list[LostPacket] = []
    looks = 0
    for item in opened.frames():
        if isinstance(item, OtherStream):
            yield from lost
            return opened.reopened(item.position, item.stream_id)
        if isinstance(item, DecodedFrame) or not opened.is_transport_stream:
            yield from lost
            lost.clear()
            yield item
            continue
        lost.append(item)
        if len(lost) == _SURE_LOST and looks < _MAX_LOOKS:
            looks += 1
            if (following := _of_another_coding(opened, lost[0].position)) is not None:
                return following
    yield from lost
    return None


def _of_another_coding(opened: MediaContainer, position: int | None) -> MediaContainer | None:
    if position is None:
        return None
    try:
        following = opened.reopened(position)
    except SourceError:
        return None
    if following.info.format != opened.info.format:
        return following
    following.close()
    return None
