"""Finds the audio streams of a container that PyAV has opened."""

from __future__ import annotations

from typing import Any, Final

from worker.audio.audio_tracks import Track, check_track, default_track
from worker.audio.opened_file import SourceFile
from worker.errors import NoSuchTrack, UnsupportedSource

_DEFAULT: Final = 1  # AV_DISPOSITION_DEFAULT


def tracks_of(container: Any) -> tuple[Track, ...]:
    """Return the audio tracks of a container with their tags."""
    return tuple(
        Track.tagged(number, tags.get("language", ""), tags.get("title", ""), tags.get("handler_name", ""))
        for number, tags in enumerate((stream.metadata for stream in audio_streams(container)), 1)
    )


def audio_streams(container: Any) -> list[Any]:
    """Return the audio streams in order. In a transport stream, Dolby TrueHD comes with an AC-3 stream that has the
    same id and sound; this second stream is omitted."""
    audio = [stream for stream in container.streams if stream.type == "audio"]
    if container.format.name != "mpegts":
        return audio
    ids = [stream.id for stream in audio]
    return [stream for number, stream in enumerate(audio) if stream.id not in ids[:number]]


def audio_stream(path: SourceFile, container: Any, stream_id: int | None = None, track: int | None = None) -> Any:
    """Return the audio stream with the id `stream_id`. If `stream_id` is None, return the stream of the track, or the
    default stream if `track` is None too. The rate of the stream may still be unknown. Raises UnsupportedSource if the
    file has no audio stream, and NoSuchTrack if it has no such track, or no stream `stream_id` of a chosen track."""
    audio = audio_streams(container)
    if not audio:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise UnsupportedSource(f"{path}: has no audio, only {kinds}")
    by_id = next((stream for stream in audio if stream.id == stream_id), None) if stream_id is not None else None
    if by_id is not None:
        return by_id
    if track is not None:
        if stream_id is not None:  # the rest of a file in which the stream has ended
            raise NoSuchTrack(f"{path}: audio track {track} does not continue")
        check_track(track, tracks_of(container), path)
        return audio[track - 1]
    known = [stream for stream in audio if stream.codec_context is not None] or audio
    return known[default_track([bool(stream.disposition & _DEFAULT) for stream in known])]
