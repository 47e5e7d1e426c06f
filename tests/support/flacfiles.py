"""Takes FLAC files apart into frames, as FFmpeg does when it cuts or joins files without decoding them."""

from __future__ import annotations

import re

_TOTAL_AT = 21
_MARKER_BYTES = 4


def split_flac(data: bytes) -> tuple[bytes, list[bytes]]:
    """Return everything before the first frame, and the frames. They must have frame numbers from 0 on."""
    at, is_last = _MARKER_BYTES, False
    while not is_last:
        is_last = bool(data[at] & 0x80)
        at += 4 + int.from_bytes(data[at + 1 : at + 4], "big")
    starts = [at]
    # FLAC codes frame numbers like UTF-8 codes characters.
    while found := re.compile(b"\xff\xf8.." + re.escape(chr(len(starts)).encode()), re.DOTALL).search(data, starts[-1]):
        starts.append(found.start())
    return data[:at], [data[a:b] for a, b in zip(starts, [*starts[1:], len(data)], strict=True)]


def declaring(head: bytes, samples: int) -> bytes:
    """Return the start of a file with another declared length (0 for unknown)."""
    total = (head[_TOTAL_AT] & 0xF0) << 32 | samples
    return head[:_TOTAL_AT] + total.to_bytes(5, "big") + head[_TOTAL_AT + 5 :]


def numbered_by_samples(frames: list[bytes], block_size: int) -> list[bytes]:
    """Return the frames with the numbers of their first samples instead of frame numbers, like frames of variable
    size."""
    return [_renumbered(frame, number, number * block_size) for number, frame in enumerate(frames)]


def _renumbered(frame: bytes, number: int, sample: int) -> bytes:
    after = 4 + len(chr(number).encode())
    end = after + {6: 1, 7: 2}.get(frame[2] >> 4, 0) + {12: 1, 13: 2, 14: 2}.get(frame[2] & 15, 0)
    head = b"\xff\xf9" + frame[2:4] + _coded(sample) + frame[after:end]
    body = head + bytes((_crc(head, 8, 0x07),)) + frame[end + 1 : -2]
    return body + _crc(body, 16, 0x8005).to_bytes(2, "big")


def _coded(number: int) -> bytes:
    """Code a number below 2**26 like UTF-8, without the exceptions of characters."""
    if number < 0x80:
        return bytes((number,))
    count = next(n for n, bits in ((2, 11), (3, 16), (4, 21), (5, 26)) if number >> bits == 0)
    rest = [0x80 | number >> 6 * k & 0x3F for k in range(count - 1)]
    return bytes((0x100 - (1 << 8 - count) | number >> 6 * (count - 1), *reversed(rest)))


def _crc(data: bytes, bits: int, polynomial: int) -> int:
    value, top = 0, 1 << bits - 1
    for byte in data:
        value ^= byte << bits - 8
        for _ in range(8):
            value = (value << 1 ^ (polynomial if value & top else 0)) & (2 * top - 1)
    return value
