"""Audio tracks of joined containers: the track of each part is read, in order."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import tones
from tests.support.audiofiles import WAV, write_signal
from tests.support.trackfiles import RATE, TRACK_FILES, write_tracks
from worker.audio.channel_selection import ChannelSelection
from worker.audio.decoding.decode import open_source
from worker.audio.pcm_frames import wire_frames
from worker.audio.recording import open_recording
from worker.audio.segmentation.section_plan import CutOptions
from worker.errors import NoSuchTrack

KINDS = [kind for kind in TRACK_FILES if kind.ending in ("mp4", "mkv")]
TAGS = [{"language": "yue"}, {"language": "eng"}]
TOLERANCE_S = 0.08
"""Encoders add silence at the start of each part."""


@dataclass(frozen=True, slots=True)
class Part:
    """A container whose tracks have these lengths, each with its own words."""

    lengths_s: tuple[float, ...]
    seed: int

    def words(self, track: int) -> list[tones.ToneWord]:
        if track >= len(self.lengths_s):
            return []
        numbers = itertools.count(1 + 1000 * self.seed + 100 * track)
        return list(tones.speech(self.lengths_s[track] - 0.3, seed=self.seed, numbers=numbers))


def joined(path: Path, parts: list[Part]) -> Path:
    kind = next(kind for kind in KINDS if path.name.endswith(kind.ending))
    contents = []
    for part in parts:
        signals = [tones.encode(part.words(n), RATE, duration_s=s) for n, s in enumerate(part.lengths_s)]
        contents.append(write_tracks(path, signals, kind, TAGS).read_bytes())
    path.write_bytes(b"".join(contents))
    return path


def assert_track(path: Path, parts: list[Part], track: int | None) -> tuple[str, ...]:
    """Assert that the track (from 1) has the words of each part, at the times of the longest tracks. Returns the
    warnings."""
    expected, at_s = [], 0.0
    for part in parts:
        expected += [(word.number, at_s + word.start) for word in part.words((track or 1) - 1)]
        at_s += max(part.lengths_s)
    with open_source(path, track=track) as source:
        found = tones.decode_pcm16(b"".join(wire_frames(source, 16000, 4000)))
        assert [word.number for word in found] == [number for number, _ in expected]
        late = [word.start - start_s for word, (_, start_s) in zip(found, expected, strict=True)]
        assert max(map(abs, late)) < TOLERANCE_S, late
        assert source.undecoded == ()
        return source.warnings


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_chosen_track_of_each_part_is_read(tmp_path: Path, kind: object) -> None:
    parts = [Part((3.0, 3.0), 1), Part((3.0, 3.0), 2)]
    path = joined(tmp_path / f"a.{kind}", parts)
    assert assert_track(path, parts, 1) == assert_track(path, parts, 2) == ()
    (warning,) = assert_track(path, parts, None)
    assert "only track 1 is read; choose another one, or all, with --track" in warning
    with pytest.raises(NoSuchTrack, match=r"has no audio track 3; there are track 1 \(yue\), track 2 \(eng\)"):
        open_source(path, track=3)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_tracks_of_different_lengths_keep_their_times(tmp_path: Path, kind: object) -> None:
    parts = [Part((2.0, 4.0), 1), Part((3.0, 1.5), 2), Part((2.0, 2.0), 3)]
    path = joined(tmp_path / f"a.{kind}", parts)
    for track in (None, 1, 2):
        assert_track(path, parts, track)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_part_without_the_chosen_track_is_silent(tmp_path: Path, kind: object) -> None:
    parts = [Part((2.0,), 1), Part((2.0, 2.0), 2), Part((1.5,), 3), Part((2.0, 2.0), 4)]
    path = joined(tmp_path / f"a.{kind}", parts)
    assert_track(path, parts, 1)
    (warning,) = assert_track(path, parts, 2)
    assert warning == "has only one audio track in some stretches; the chosen track is silent there"


def test_all_tracks_of_joined_files_are_channels(tmp_path: Path) -> None:
    path = joined(tmp_path / "a.mkv", [Part((2.0, 3.0), 1), Part((2.0, 1.0), 2)])
    selection = ChannelSelection(track="all")
    with open_recording(path, 16000, cutting=CutOptions(), selection=selection, progress=lambda _: None) as recording:
        assert [recording.selection.name(plan.channel) for plan in recording.plans] == ["yue", "eng"]
        assert recording.lengths_s == pytest.approx((5.0, 4.0), abs=TOLERANCE_S)
        assert recording.duration_s == max(recording.lengths_s)


def test_joined_files_with_one_track_have_no_other_track(tmp_path: Path) -> None:
    one = write_signal(tmp_path / "1.wav", tones.encode(Part((2.0,), 1).words(0), RATE, duration_s=2.0), RATE, WAV)
    path = tmp_path / "a.wav"
    path.write_bytes(2 * one.read_bytes())
    with open_source(path, track=1) as source:
        assert len(tones.decode_pcm16(b"".join(wire_frames(source, 16000, 4000)))) == 2 * len(Part((2.0,), 1).words(0))
    with pytest.raises(NoSuchTrack, match="has only one audio track; there is no track 2"):
        open_source(path, track=2)
