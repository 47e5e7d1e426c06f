"""Selection and names of channels, and reading a single channel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support.audiofiles import FLAC, FLAC_24, VORBIS, WAV, WAV_FLOAT, Coding, write_signal
from worker.audio.channel_selection import ChannelSelection, check_names, parse_channels, parse_names
from worker.audio.decoding.decode import open_source
from worker.audio.decoding.downmix import OneChannel
from worker.audio.file_formats.coding_names import fits_int16
from worker.errors import BadJob, NoSuchChannel


@pytest.mark.parametrize(("given", "meant"), [("mix", "mix"), (" Split ", "split"), (2, 2), ("2", 2), ("1024", 1024)])
def test_valid_channel_options_are_parsed(given: object, meant: object) -> None:
    assert parse_channels(given) == meant


@pytest.mark.parametrize("given", ["", "left", "0", 0, "-1", "1.0", 2.0, True, None, "1025", "²", [1], "1,2"])
def test_invalid_channel_options_are_refused(given: object) -> None:
    with pytest.raises(ValueError, match=r"must be (mix, split, or the number|from 1 to 1024|at most 1024)"):
        parse_channels(given)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("agent,customer", ("agent", "customer")),
        ("客服 ; 客戶", ("客服", "客戶")),
        (["a b", "c"], ("a b", "c")),
        ("1,2", ("1", "2")),
        ("", ()),
        (None, ()),
        ((), ()),
    ],
)
def test_valid_channel_names_are_parsed(given: object, meant: tuple[str, ...]) -> None:
    assert parse_names(given) == meant


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("agent,", "the name of channel 2 must be"),
        ("a\nb", "the name of channel 1 must be"),
        ("a,A", "each channel needs a name of its own"),
        ("2,1", "channel 1 cannot be called 2"),
        ("x" * 65, "the name of channel 1 must be"),
        ({"a": 1}, "must be names"),
        ([1, 2], "must be names"),
        (7, "must be names"),
        ([f"c{n}" for n in range(1025)], "at most 1024"),
    ],
)
def test_invalid_channel_names_are_refused(given: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_names(given)


def test_names_without_a_matching_channel_are_refused() -> None:
    check_names("split", ("a", "b"))
    check_names(2, ("b",))
    check_names(2, ("a", "b"))
    with pytest.raises(ValueError, match="go with split"):
        check_names("mix", ("a",))
    with pytest.raises(ValueError, match="none for channel 3"):
        check_names(3, ("a", "b"))


def test_the_selection_is_resolved_for_the_channels_of_a_source() -> None:
    split, third = ChannelSelection("split", ("a", "b")), ChannelSelection(3)
    assert (
        ChannelSelection().channels_in(2, "x")
        == split.channels_in(1, "x")
        == ChannelSelection(1).channels_in(1, "x")
        == (None,)
    )
    assert split.channels_in(3, "x") == (0, 1, 2)
    assert third.channels_in(6, "x") == (2,)
    with pytest.raises(NoSuchChannel, match=r"^call\.wav: has 2 channels, so there is no channel 3 to take$"):
        third.channels_in(2, "call.wav")
    assert [split.name(c) for c in (None, 0, 1, 2)] == [None, "a", "b", "3"]
    assert (third.name(2), ChannelSelection(3, ("c",)).name(2), ChannelSelection(2, ("a", "b", "c")).name(1)) == (
        None,
        "c",
        "b",
    )
    assert split.warnings(2) == ChannelSelection("split").warnings(1) == third.warnings(1) == ()
    assert split.warnings(1) == ("has only one channel, so nothing was split; names were given for 2",)
    split.check_unchanged([0, 1], (0, 1), "x")
    with pytest.raises(BadJob, match=r"^x: an earlier attempt used other channels"):
        split.check_unchanged([None], (0, 1), "x")


@pytest.mark.parametrize("coding", [WAV, FLAC, FLAC_24, WAV_FLOAT, VORBIS], ids=str)
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_a_selected_channel_is_read_unchanged(tmp_path: Path, coding: Coding, channels: int) -> None:
    channels = min(channels, coding.max_channels)
    noise = np.random.default_rng(3).standard_normal((30_000, channels)).astype(np.float32) * 0.1
    path = write_signal(tmp_path / f"a.{coding.ending}", noise, 44100, coding)
    expected = soundfile.read(path, dtype="float32", always_2d=True)[0]
    for channel in range(channels):
        with open_source(path, channel) as source:
            for start in (0, 12_345):
                blocks = [block.copy() for block in source.blocks(start, 0.1)]
                np.testing.assert_allclose(np.concatenate(blocks), expected[start:, channel], atol=2e-6)
                stored = np.concatenate([block.copy() for block in source.stored_blocks(start, 0.1)])
                if fits_int16(source.info.format.rsplit("/")[-1]):
                    assert stored.dtype == np.int16
                    stored = stored / np.float32(32768)
                np.testing.assert_allclose(stored, expected[start:, channel], atol=2e-6)


def test_invalid_samples_of_another_channel_have_no_effect() -> None:
    warned: list[str] = []
    frames = np.array([[0.5, np.nan], [0.25, np.inf], [-0.5, 1e30]], np.float32)
    assert OneChannel(0, np.float32, warned.append).push(frames)[0].tolist() == [0.5, 0.25, -0.5]
    assert warned == []
    assert OneChannel(1, np.float32, warned.append).push(frames)[0].tolist() == [0.0, 0.0, 16.0]
    assert len(warned) == 2
