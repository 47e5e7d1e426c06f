"""Writes the word list of Chinese line breaks from the package cantoseg:

    python -m tests.support.chinese_word_list

The package is not imported, because its import loads 250 MB of other tables.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import distribution
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from worker.transcript.subtitles.chinese_lexicon import COST_BITS, COSTS_PER_NAT, MAX_WORD, WORD_LIST, extend, word_keys

LICENSE: Final = WORD_LIST.with_suffix(".LICENSE")
_MAX_COST: Final = 255


def word_list() -> bytes:
    """Return the content of the file that `chinese_lexicon` reads."""
    keys, costs = keys_and_costs(_package_file("cantoseg/merged_dict.txt").read_text(encoding="utf-8").split("\n"))
    differences = np.diff(keys >> COST_BITS, prepend=np.uint64(0))
    if differences.max() >= 1 << 32:
        raise ValueError("the hashes of two words differ by more than 32 bits")
    return differences.astype("<u4").tobytes() + costs.tobytes()


def license_text() -> str:
    return _package_file("cantoseg-0.0.1.dist-info/LICENSE").read_text(encoding="utf-8")


def keys_and_costs(lines: Sequence[str]) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """Return the keys of the words in lines such as `我哋 12345 r` (word, count, part of speech), in order, and their
    costs. A word has one line for each part of speech; only the line with the largest count is used."""
    keys, counts = _entries(lines)
    order = np.lexsort((-counts, keys))
    first = order[np.append(True, np.diff(keys[order]) > 0)]
    costs = np.log(counts.sum()) - np.log(np.maximum(counts[first], 1))
    return keys[first], np.rint(costs * COSTS_PER_NAT).clip(0, _MAX_COST).astype(np.uint8)


def _package_file(path: str) -> Path:
    return Path(str(distribution("cantoseg").locate_file(path)))


def _entries(lines: Sequence[str]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return the keys and counts of the words in some lines. Words that are too long are omitted."""
    fields = [line.split() for line in lines]
    used = [(each[0], int(each[1])) for each in fields if len(each) > 1 and len(each[0]) <= MAX_WORD]
    sizes = np.array([len(word) for word, _ in used])
    table = np.zeros((len(used), MAX_WORD), dtype=np.uint64)
    for row, (word, _) in enumerate(used):
        table[row, : len(word)] = list(map(ord, word))
    hashes = table[:, 0]
    for at in range(1, MAX_WORD):
        longer = sizes > at
        hashes[longer] = extend(hashes[longer], table[longer, at])
    return word_keys(hashes), np.array([count for _, count in used], dtype=np.int64)


def main() -> int:
    WORD_LIST.write_bytes(word_list())
    LICENSE.write_text(license_text(), encoding="utf-8")
    sys.stdout.write(f"{WORD_LIST}: {WORD_LIST.stat().st_size} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
