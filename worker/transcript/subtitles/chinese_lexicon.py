"""Looks up Chinese words and their frequencies in the word list of the package `cantoseg`. No output.

The list has 569,613 words of Cantonese and Mandarin in both scripts (MIT licence, https://pypi.org/project/cantoseg/).
It is read at the first lookup, not at import. In memory a word is a 64-bit hash and a cost: 7 MB for all words, where
strings would need 60 MB. A text of 20 characters gives at most 160 candidates; the chance that one of them has the
hash of another word is below 1 in 100 billion.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from itertools import islice
from math import log
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_WORD: Final = 8
"""Longer words of the list are ignored: they are names of organisations, proverbs and titles."""
_MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)
_LINES_AT_ONCE: Final = 4_000


class Candidate(NamedTuple):
    """A word of the list at a position of a text."""

    begin: int
    end: int
    cost: float
    """Negative natural logarithm of the relative frequency of the word."""


class _Index(NamedTuple):
    hashes: NDArray[np.uint64]
    costs: NDArray[np.float32]


def candidates(text: str) -> Iterator[Candidate]:
    """Yield all words of the list in a text, also those that overlap, in no particular order."""
    index = _index()
    codes = _codes(text)
    hashes = codes.copy()
    for size in range(1, min(MAX_WORD, len(text)) + 1):
        if size > 1:
            hashes = _extend(hashes[:-1], codes[size - 1 :])
        at = np.minimum(np.searchsorted(index.hashes, hashes), len(index.hashes) - 1)
        for begin in np.flatnonzero(index.hashes[at] == hashes).tolist():
            yield Candidate(begin, begin + size, float(index.costs[at[begin]]))


def _codes(text: str) -> NDArray[np.uint64]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)


def _extend(hashes: NDArray[np.uint64], codes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the hashes of words that have one more character."""
    mixed = (hashes ^ (hashes >> np.uint64(29))) * _MULTIPLIER
    extended: NDArray[np.uint64] = mixed + codes
    return extended


@cache
def _index() -> _Index:
    """Read the word list. Words are processed in blocks, because all of them as strings would need 60 MB."""
    hashes, counts = [], []
    with _word_list().open(encoding="utf-8") as lines:
        while block := [line.split(" ", 2)[:2] for line in islice(lines, _LINES_AT_ONCE)]:
            block = [entry for entry in block if len(entry[0]) <= MAX_WORD]
            hashes.append(_hashes([word for word, _ in block]))
            counts.append(np.array([int(count) for _, count in block], dtype=np.float32))
    all_hashes, all_counts = np.concatenate(hashes), np.concatenate(counts)
    # A word has one line for each part of speech; the largest count stands for all of them.
    order = np.lexsort((-all_counts, all_hashes))
    unique, first = np.unique(all_hashes[order], return_index=True)
    found = np.maximum(all_counts[order][first], 1)
    return _Index(unique, (log(float(all_counts.sum())) - np.log(found)).astype(np.float32))


def _word_list() -> Path:
    """Return the file of the word list. The package is not imported: its import loads 250 MB of other tables."""
    package = find_spec("cantoseg")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError(
            "the package cantoseg is not installed; install stt-batch again with its dependencies"
        )
    return Path(package.submodule_search_locations[0]) / "merged_dict.txt"


def _hashes(words: list[str]) -> NDArray[np.uint64]:
    """Return the hash of each word, all of the same size at a time."""
    result = np.zeros(len(words), dtype=np.uint64)
    sizes = np.array([len(word) for word in words])
    for size in range(1, MAX_WORD + 1):
        chosen = np.flatnonzero(sizes == size)
        if not len(chosen):
            continue
        codes = _codes("".join(words[k] for k in chosen.tolist())).reshape(-1, size)
        hashes = codes[:, 0].copy()
        for column in range(1, size):
            hashes = _extend(hashes, codes[:, column])
        result[chosen] = hashes
    return result
