"""Audio tracks of a container: selection, warnings about other tracks, and all tracks as channels."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support import tones
from tests.support.audiofiles import WAV, write_signal
from tests.support.timedmedia import write_timed
from tests.support.trackfiles import RATE, TRACK_FILES, TrackFile, write_tracks
from worker.audio.audio_tracks import Track, check_track, default_track, labels, listed, parse_track
from worker.audio.channel_selection import ChannelSelection, check_names, check_selection
from worker.audio.decoding import ffmpeg_container
from worker.audio.decoding.decode import open_source
from worker.audio.pcm_frames import wire_frames
from worker.audio.recording import open_recording
from worker.audio.segmentation.section_plan import CutOptions
from worker.audio.source import Audio
from worker.errors import BadJob, NoSuchTrack, UnsupportedSource

WORDS = [list(tones.speech(4.0, seed=number, numbers=itertools.count(1 + 500 * number))) for number in range(3)]
SIGNALS = [tones.encode(words, RATE, duration_s=4.5) for words in WORDS]
SILENCE = np.zeros_like(SIGNALS[0])
TAGS = [{"language": "eng"}, {"language": "yue", "title": "Interpreter"}, {"language": "eng"}]
MKV = next(kind for kind in TRACK_FILES if kind.ending == "mkv")
MXF = next(kind for kind in TRACK_FILES if kind.ending == "mxf")


def words_of(source: Audio) -> list[int]:
    return [word.number for word in tones.decode_pcm16(b"".join(wire_frames(source, 16000, 4000)))]


def assert_words(source: Audio, words: list[tones.ToneWord], late_s: float, within_s: float) -> None:
    """Assert that `source` has exactly `words`, `late_s` seconds after their times."""
    found = tones.decode_pcm16(b"".join(wire_frames(source, 16000, 4000)))
    assert [word.number for word in found] == [word.number for word in words]
    assert max(abs(f.start - word.start - late_s) for f, word in zip(found, words, strict=True)) < within_s


def numbers(track: int) -> list[int]:
    return [word.number for word in WORDS[track]]


@pytest.mark.parametrize("kind", TRACK_FILES, ids=str)
@pytest.mark.gate_sample(2)
def test_each_track_can_be_chosen(tmp_path: Path, kind: TrackFile) -> None:
    path = write_tracks(tmp_path / f"a.{kind.ending}", SIGNALS, kind, TAGS)
    with open_source(path) as source:
        assert words_of(source) == numbers(0)
        (warning,) = source.warnings
        assert warning.startswith("has 3 audio tracks: track 1")
        assert warning.endswith("only track 1 is read; choose another one, or all, with --track")
    for track in range(3):
        with open_source(path, track=track + 1) as source:
            assert words_of(source) == numbers(track)
            assert source.warnings == ()
    with pytest.raises(NoSuchTrack, match=r"a\.\w+: has no audio track 4; there are track 1.*track 2.*track 3"):
        open_source(path, track=4)


def test_the_warning_names_languages_and_titles(tmp_path: Path) -> None:
    with open_source(write_tracks(tmp_path / "a.mkv", SIGNALS, MKV, TAGS)) as source:
        assert 'track 1 (eng), track 2 (yue, "Interpreter"), track 3 (eng)' in source.warnings[0]


def test_the_default_track_of_the_container_is_read(tmp_path: Path) -> None:
    with open_source(write_tracks(tmp_path / "a.mkv", SIGNALS, MKV, TAGS, default=1)) as source:
        assert words_of(source) == numbers(1)
        assert "only track 2 is read" in source.warnings[0]


@pytest.mark.parametrize("kind", TRACK_FILES, ids=str)
def test_a_silent_first_track_is_named(tmp_path: Path, kind: TrackFile) -> None:
    path = write_tracks(tmp_path / f"a.{kind.ending}", [SILENCE, SIGNALS[1]], kind, TAGS)
    with open_source(path) as source:
        assert words_of(source) == []
        assert any(
            text.startswith("audio track 1, which was read, is silent; there are also") for text in source.warnings
        )


def test_all_sixteen_tracks_of_an_mxf_file_can_be_read(tmp_path: Path) -> None:
    path = write_tracks(tmp_path / "a.mxf", [SILENCE] * 15 + [SIGNALS[2]], MXF)
    with open_source(path, track=16) as source:
        assert words_of(source) == numbers(2)
    with open_source(path) as source:
        assert len(source.info.tracks) == 16


@pytest.mark.parametrize("coding", ["mp2", "aac", "ac3"])
@pytest.mark.parametrize("late", [0, 1])
@pytest.mark.gate_sample(2)
def test_tracks_of_a_transport_stream_that_begin_late_are_read_alone(tmp_path: Path, coding: str, late: int) -> None:
    """A late start is no change from one stream to another."""
    starts_s = [2.5 if number == late else 0.0 for number in range(2)]
    path = write_tracks(tmp_path / "a.ts", SIGNALS[:2], TrackFile("mpegts", "ts", coding), TAGS, starts_s=starts_s)
    for track in (None, 1, 2):
        index = 0 if track is None else track - 1
        with open_source(path, track=track) as source:
            assert_words(source, WORDS[index], starts_s[index], 0.1)
            assert [("only track 1 is read" in text) for text in source.warnings] == ([True] if track is None else [])


def test_a_chosen_track_is_followed_when_its_codec_changes(tmp_path: Path) -> None:
    parts = [
        write_tracks(tmp_path / f"{coding}.ts", SIGNALS[:2], TrackFile("mpegts", "ts", coding)).read_bytes()
        for coding in ("mp2", "ac3")
    ]
    path = tmp_path / "a.ts"
    path.write_bytes(b"".join(parts))
    for track in (1, 2):
        with open_source(path, track=track) as source:
            assert words_of(source) == 2 * numbers(track - 1)


def test_streams_that_follow_each_other_are_separate_tracks_if_tracks_are_chosen(tmp_path: Path) -> None:
    """Without a chosen track, all streams are read: see `test_coding_changes`."""
    parts = [
        write_timed(
            tmp_path / f"{n}.ts", SIGNALS[n], container="mpegts", codec="mp2", rate=RATE, stream_id=256 + n
        ).read_bytes()
        for n in range(2)
    ]
    path = tmp_path / "a.ts"
    path.write_bytes(b"".join(parts))
    for track in (1, 2):
        with open_source(path, track=track) as source:
            assert words_of(source) == numbers(track - 1)


def test_parallel_ogg_streams_are_not_read_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """libsndfile would read the first one, without a warning."""
    kind = TrackFile("ogg", "ogg", "libopus")
    both = write_tracks(tmp_path / "both.ogg", SIGNALS[:2], kind)
    single = write_tracks(tmp_path / "single.ogg", SIGNALS[:1], kind)
    monkeypatch.setattr(ffmpeg_container, "av", None)
    with pytest.raises(UnsupportedSource, match=r"libsndfile would read it wrongly.*stt-batch\[media\]"):
        open_source(both)
    with open_source(single) as source:
        assert words_of(source) == numbers(0)


def test_a_single_track_is_read_if_all_tracks_are_requested(tmp_path: Path) -> None:
    path = write_signal(tmp_path / "a.wav", SIGNALS[0], RATE, WAV)
    for track in (None, 1):
        with open_source(path, track=track) as source:
            assert words_of(source) == numbers(0)
    with pytest.raises(NoSuchTrack, match="has only one audio track; there is no track 2"):
        open_source(path, track=2)
    with open_recording(
        path, 16000, cutting=CutOptions(), selection=ChannelSelection(track="all"), progress=lambda _: None
    ) as recording:
        assert [plan.channel for plan in recording.plans] == [None]


def test_all_tracks_are_channels_with_the_names_of_their_languages(tmp_path: Path) -> None:
    path = write_tracks(tmp_path / "a.mkv", SIGNALS, MKV, TAGS)
    selection = ChannelSelection(track="all")
    with open_recording(path, 16000, cutting=CutOptions(), selection=selection, progress=lambda _: None) as recording:
        assert [plan.channel for plan in recording.plans] == [0, 1, 2]
        assert [recording.selection.name(channel) for channel in range(3)] == ["eng 1", "yue", "eng 3"]
        assert recording.warnings == ()
        for number in range(3):
            pcm = b"".join(frame.pcm for frame in feed(recording, number))
            assert [word.number for word in tones.decode_pcm16(pcm)] == numbers(number)
    named = replace(selection, names=("host",))
    with open_recording(path, 16000, cutting=CutOptions(), selection=named, progress=lambda _: None) as recording:
        assert [recording.selection.name(channel) for channel in range(3)] == ["host", "yue", "eng 3"]


def feed(recording, number):  # type: ignore[no-untyped-def]
    import asyncio

    frames = recording.feed(number, 4000)
    asyncio.run(frames.seek(0))
    return list(frames)


@pytest.mark.parametrize("other", [None, 1, "all"])
def test_a_job_resumes_only_with_its_own_track(tmp_path: Path, other: object) -> None:
    path = write_tracks(tmp_path / "a.mkv", SIGNALS, MKV, TAGS)

    def recording(track: object, made=None):  # type: ignore[no-untyped-def]
        selection = ChannelSelection(track=parse_track(track))
        return open_recording(
            path, 16000, cutting=CutOptions(), selection=selection, earlier_plans=made, progress=lambda _: None
        )

    with recording(2) as begun:
        plans = begun.plans
    with recording(2, plans) as again:
        assert again.plans == plans
    with pytest.raises(BadJob, match="an earlier attempt used another audio track; submit the job again"):
        recording(other, plans)


@pytest.mark.parametrize(("given", "expected"), [(None, None), ("all", "all"), (" ALL ", "all"), (2, 2), ("16", 16)])
def test_valid_track_options_are_parsed(given: object, expected: object) -> None:
    assert parse_track(given) == expected


@pytest.mark.parametrize("given", ["", "0", 0, -1, "1.0", 1.5, True, "eng", "1,2", [1], "1025", "²"])
def test_invalid_track_options_are_refused(given: object) -> None:
    with pytest.raises(ValueError, match=r"must be (all, or the number of an audio track|from 1 to 1024)"):
        parse_track(given)


def test_one_channel_with_all_tracks_is_refused() -> None:
    check_selection("split", "all")
    check_selection(2, 3)
    check_names("mix", ("a",), "all")
    with pytest.raises(ValueError, match="channel 2 cannot be selected from all tracks"):
        check_selection(2, "all")


def test_the_default_track_is_the_first_one_marked_as_default() -> None:
    assert [default_track(marks) for marks in ([False, False], [False, True, True], [True, True])] == [0, 1, 0]


def test_labels_are_unique_and_omit_empty_tags() -> None:
    tracks = [Track.tagged(1, "und", "SoundHandler"), Track.tagged(2, "YUE"), Track.tagged(3, "eng", "Host\n")]
    assert listed(tracks) == 'track 1, track 2 (yue), track 3 (eng, "Host")'
    assert labels(tracks) == ("1", "yue", "eng")
    same = [Track(1, "eng", "Host"), Track(2, "eng", "Guest"), Track(3, "eng", "Guest"), Track(4, "", "4")]
    assert labels(same) == ("Host", "eng 2", "eng 3", "4")
    assert len({label.casefold() for label in labels([Track(n, "eng", "x" * 99) for n in range(1, 9)])}) == 8
    assert labels([Track(1, "eng"), Track(2, "yue")], ("yue",)) == ("yue", "yue 2")
    many = [Track(number) for number in range(1, 65)]
    assert listed(many).endswith("track 16 and 48 more")
    check_track(64, many, "a.mxf")
