"""Looks up Chinese words and their frequencies in the word list of the package `cantoseg`. No output.

The list has 569,613 words of Cantonese and Mandarin in both scripts (MIT licence, https://pypi.org/project/cantoseg/).
It is read at the first lookup, not at import. In memory, a word is one number: a hash of 48 bits, and 16 bits for its
frequency. All words need 4 MB in this form; as strings, they would need 60 MB. A text of 20 characters gives at most
160 candidates. The chance that one of these has the hash of another word is below 1 in 3 million. The only consequence
is one wrong line break.

The index is not saved to a file, because it can be computed from the list in a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from math import log
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_WORD: Final = 8
"""Longer words of the list are ignored: they are names of organisations, proverbs and titles."""
_MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)
_BYTES_AT_ONCE: Final = 1 << 18
"""The list is read in blocks, because its characters need four times their size while they are processed."""
_COST_BITS: Final = np.uint64(16)
_COST_MASK: Final = np.uint64(0xFFFF)
_COSTS_PER_NAT: Final = 4096


class Candidate(NamedTuple):
    """A word of the list at a position of a text."""

    begin: int
    end: int
    cost: float
    """Negative natural logarithm of the relative frequency of the word."""


class _Index(NamedTuple):
    words: NDArray[np.uint64]
    """In ascending order: 48 bits of the hash of a word, then 16 bits that are lower the more frequent it is."""
    least_cost: float
    """Cost of a word with the lowest 16 bits of 0."""


def candidates(text: str) -> Iterator[Candidate]:
    """Yield all words of the list in a text, also those that overlap, in no particular order."""
    index = _index()
    codes = _codes(text)
    hashes = [codes]
    for size in range(2, min(MAX_WORD, len(text)) + 1):
        hashes.append(_extend(hashes[-1][:-1], codes[size - 1 :]))
    # One search for the words of all sizes: a call costs more than the lookup of a short text.
    keys = _keys(np.concatenate(hashes))
    at = np.minimum(np.searchsorted(index.words, keys), len(index.words) - 1)
    found = index.words[at]
    hits = np.flatnonzero(found & ~_COST_MASK == keys)
    costs = ((found[hits] & _COST_MASK) / _COSTS_PER_NAT + index.least_cost).tolist()
    offset, size = 0, 1
    for hit, cost in zip(hits.tolist(), costs, strict=True):
        while hit >= offset + len(hashes[size - 1]):
            offset += len(hashes[size - 1])
            size += 1
        yield Candidate(hit - offset, hit - offset + size, cost)


def _codes(text: str) -> NDArray[np.uint64]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)


def _extend(hashes: NDArray[np.uint64], codes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the hashes of words that have one more character."""
    mixed = (hashes ^ (hashes >> np.uint64(29))) * _MULTIPLIER
    extended: NDArray[np.uint64] = mixed + codes
    return extended


def _keys(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Multiply the hashes and return their upper 48 bits. The multiplication makes the upper bits depend on the lower
    bits, which are dropped."""
    keys: NDArray[np.uint64] = ((hashes ^ (hashes >> np.uint64(29))) * _MULTIPLIER) & ~_COST_MASK
    return keys


@cache
def _index() -> _Index:
    """Read the word list. A word has one line for each part of speech; only the line with the largest count is used."""
    blocks, total = [], 0
    for codes in _blocks(_word_list()):
        words, counts = _entries(codes)
        blocks.append(words)
        total += counts
    words = np.concatenate(blocks)
    blocks.clear()
    words.sort()
    keys = words >> _COST_BITS
    first = np.empty(len(words), dtype=bool)
    first[:1] = True
    np.not_equal(keys[1:], keys[:-1], out=first[1:])
    return _Index(words[first], log(total) - int(_COST_MASK) / _COSTS_PER_NAT)


def _blocks(path: Path) -> Iterator[NDArray[np.uint32]]:
    """Yield the characters of whole lines of a file."""
    with path.open("rb") as file:
        while block := file.read(_BYTES_AT_ONCE) + file.readline():
            text = block.decode("utf-8").rstrip("\n") + "\n"
            yield np.frombuffer(text.encode("utf-32-le"), dtype="<u4")


def _entries(codes: NDArray[np.uint32]) -> tuple[NDArray[np.uint64], int]:
    """Return the entries of the index for lines such as `我哋 12345 r` (word, count, part of speech), and the sum of
    the counts."""
    ends = np.flatnonzero(codes == ord("\n"))
    begins = np.concatenate(([0], ends[:-1] + 1))
    spaces = np.append(np.flatnonzero(codes == ord(" ")), len(codes))
    word_ends = spaces[np.searchsorted(spaces, begins)]
    count_ends = np.minimum(spaces[np.searchsorted(spaces, word_ends + 1, side="left").clip(max=len(spaces) - 1)], ends)
    used = (word_ends > begins) & (word_ends - begins <= MAX_WORD) & (word_ends < count_ends)
    begins, word_ends, count_ends = begins[used], word_ends[used], count_ends[used]
    counts = np.zeros(len(begins), dtype=np.int64)
    for at in range(int((count_ends - word_ends).max(initial=1)) - 1):
        digits = word_ends + 1 + at < count_ends
        counts[digits] = counts[digits] * 10 + (codes[word_ends[digits] + 1 + at].astype(np.int64) - ord("0"))
    rarity = int(_COST_MASK) - np.rint(np.log(np.maximum(counts, 1)) * _COSTS_PER_NAT).astype(np.uint64)
    return _keys(_hashes(codes, begins, word_ends - begins)) | rarity.astype(np.uint64), int(counts.sum())


def _word_list() -> Path:
    """Return the path of the word list. The package is not imported, because its import loads 250 MB of other
    tables."""
    package = find_spec("cantoseg")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError(
            "the package cantoseg is not installed; install stt-batch again with its dependencies"
        )
    return Path(package.submodule_search_locations[0]) / "merged_dict.txt"


def _hashes(codes: NDArray[np.uint32], begins: NDArray[np.intp], sizes: NDArray[np.intp]) -> NDArray[np.uint64]:
    """Return the hash of each word. `codes`: the characters of the list. `begins`, `sizes`: index of the first
    character, and number of characters, of each word."""
    hashes = codes[begins].astype(np.uint64)
    for at in range(1, MAX_WORD):
        longer = sizes > at
        hashes[longer] = _extend(hashes[longer], codes[begins[longer] + at].astype(np.uint64))
    return hashes
