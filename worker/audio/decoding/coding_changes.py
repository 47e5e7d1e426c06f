"""Follows the audio of a transport stream when its codec changes, or when it continues in another stream.

FFmpeg decodes one stream, with the codec that the stream has at its start. Broadcasts and joined files may change the
stream or the codec. At the position of such a change, the rest of the file is opened again.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack
from typing import Final

from worker.audio.decoding.ffmpeg_container import MediaContainer
from worker.audio.decoding.media_items import DecodedFrame, LostPacket, OtherStream
from worker.errors import SourceError

_LOST_BEFORE_CHECK: Final = 5
"""After this many undecodable packets in a row, the rest of the file is opened to check for another codec."""
_MAX_CHECKS: Final = 20
"""Maximum number of checks for another codec. Each check opens the file, and damage also makes packets undecodable."""


def frames_through_changes(opened: MediaContainer) -> Iterator[DecodedFrame | LostPacket]:
    """Yield the frames of a container, and of the containers that follow when the codec or the stream changes."""
    with ExitStack() as following:
        current: MediaContainer | None = opened
        while current is not None:
            current = yield from _until_change(current)
            if current is not None:
                following.callback(current.close)


def _until_change(opened: MediaContainer) -> Generator[DecodedFrame | LostPacket, None, MediaContainer | None]:
    """Yield frames up to a change of stream or codec. Returns the container that continues after the change, or None at
    the end of the file."""
    lost: list[LostPacket] = []
    checks = 0
    for item in opened.frames():
        if isinstance(item, OtherStream):
            yield from lost
            return opened.reopened(item.position, item.stream_id)
        if isinstance(item, DecodedFrame) or not opened.is_transport_stream:
            if lost:
                yield from lost
                lost.clear()
            yield item
            continue
        lost.append(item)
        if len(lost) == _LOST_BEFORE_CHECK and checks < _MAX_CHECKS:
            checks += 1
            if (following := _of_another_coding(opened, lost[0].position)) is not None:
                return following
    yield from lost
    return None


def _of_another_coding(opened: MediaContainer, position: int | None) -> MediaContainer | None:
    """Open the file from byte `position` on. Returns the new container if its codec differs from that of `opened`,
    otherwise None."""
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
