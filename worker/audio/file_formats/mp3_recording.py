"""One recording in an MP3 file: its length, its length tag, and the frames that were lost in it. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from worker.audio.file_formats.mp3_frames import Mp3Frame, parse, silent_frames, tagged_frames

USUAL_DELAY: Final = 576
"""Number of samples that the LAME encoder adds before the audio; other encoders differ by a few hundred. With a LAME
tag, libsndfile drops the number of samples in the tag and 529 samples that its decoder adds. Without a tag it drops
none (measured: all 1105 remain)."""
DELAY: Final = USUAL_DELAY + 529
"""Number of samples that libsndfile drops before the audio."""
_BLOCK_FRAMES: Final = 256


@dataclass(frozen=True, slots=True)
class LostFrames:
    """Bytes between two frames that contain no frames, because they are damaged. Silence replaces them."""

    start: int
    """Byte position in the file, as is `end`."""
    end: int
    first: int
    """Number of frames of the recording before these."""
    count: int
    """Number of frames that these bytes contained."""


@dataclass(frozen=True, slots=True)
class Mp3Recording:
    """One recording in an MP3 file: consecutive frames with the same rate and channels. Most files have only one
    recording. Positions are bytes from the start of the file."""

    header: bytes
    """The four bytes of the first frame."""
    tag: bytes
    """The first frame if it is a length tag, else empty."""
    audio_start: int
    end: int
    frames: int
    """Number of frames with audio, including the lost frames."""
    lost: tuple[LostFrames, ...] = ()

    @property
    def trusted(self) -> bool:
        """Whether libsndfile finds the correct length without a corrected length tag."""
        return bool(self.tag) and self.frames <= tagged_frames(self.tag, self.first.side_bytes) + 1

    @property
    def start(self) -> int:
        """Position of the recording, including its length tag."""
        return self.audio_start - len(self.tag)

    @property
    def rate(self) -> int:
        return self.first.rate

    @property
    def channels(self) -> int:
        return self.first.channels

    @property
    def lost_ranges_s(self) -> tuple[tuple[float, float], ...]:
        """Start and end of the lost frames in seconds of the decoded recording."""
        ranges = ((lost.first * self.first.samples - DELAY, lost.count * self.first.samples) for lost in self.lost)
        return tuple((max(0, start) / self.rate, (start + length) / self.rate) for start, length in ranges)

    def silence(self) -> tuple[tuple[int, bytes], ...]:
        """Return (position, bytes) of silent frames that replace the lost ones, for the same time. Zeros fill the rest,
        because other bytes may look like a header."""
        patches: list[tuple[int, bytes]] = []
        for lost in self.lost:
            at = lost.start
            for frame, count in silent_frames(self.header, lost.end - lost.start, lost.count):
                block = frame * min(count, _BLOCK_FRAMES)  # one object for many patches, because a gap may be large
                for done in range(0, count, _BLOCK_FRAMES):
                    piece = block if count - done >= _BLOCK_FRAMES else frame * (count - done)
                    patches.append((at, piece))
                    at += len(piece)
            patches.append((at, bytes(lost.end - at)))
        return tuple(patches)

    @property
    def length_s(self) -> float:
        return self.frames * self.first.samples / self.rate

    @property
    def first(self) -> Mp3Frame:
        frame = parse(self.header)
        if frame is None:
            raise ValueError("not an MP3 header")
        return frame

    def length_frame(self) -> bytes:
        """Return a length tag with the counted number of frames: the file's own tag, corrected, or a new tag."""
        at = 4 + self.first.side_bytes
        if self.tag:
            made = bytearray(self.tag)
            made[at + 8 : at + 12] = self.frames.to_bytes(4, "big")
            if made[at + 7] & 2:
                made[at + 12 : at + 16] = (self.end - self.audio_start + len(made)).to_bytes(4, "big")
            return bytes(made)
        header = bytearray(self.header)
        header[1] |= 1  # no checksum
        header[2] = 8 << 4 | header[2] & 0x0C  # a bit rate with frames large enough for the tag
        room = parse(bytes(header))
        made = bytearray(room.length if room else 0)
        made[:4] = header
        made[at : at + 12] = b"Xing" + (1).to_bytes(4, "big") + self.frames.to_bytes(4, "big")
        made[at + 12 : at + 21] = b"LAME3.100"
        made[at + 33 : at + 36] = (USUAL_DELAY << 12).to_bytes(3, "big")
        return bytes(made)
