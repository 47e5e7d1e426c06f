"""The word list of Chinese: its limits of memory and time, and its entries."""

from __future__ import annotations

import tracemalloc
from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from uniseg.linebreak import line_break_boundaries

from tests.support.chinese_word_list import keys_and_costs
from worker.transcript.subtitles import chinese_lexicon, line_breaks
from worker.transcript.subtitles.chinese_lexicon import candidates
from worker.transcript.subtitles.chinese_words import word_begins
from worker.transcript.subtitles.line_breaks import breaks

MAX_MEMORY_BYTES = 30_000_000
MAX_DISK_BYTES = 10_000_000


def test_reading_the_list_stays_within_its_memory() -> None:
    tracemalloc.start()
    try:
        chinese_lexicon._words.__wrapped__()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak <= MAX_MEMORY_BYTES


def test_the_list_fits_its_disk_space() -> None:
    assert chinese_lexicon.WORD_LIST.stat().st_size <= MAX_DISK_BYTES


def test_each_word_is_in_the_list_once() -> None:
    words = chinese_lexicon._words()
    assert len(words) > 500_000
    assert np.all(np.diff(words >> chinese_lexicon.COST_BITS) > 0)
    cost = {(c.begin, c.end): c.cost for c in candidates("我哋食飯")}
    assert {(0, 1), (0, 2), (2, 3), (2, 4)} <= cost.keys()
    assert (1, 3) not in cost
    assert 2 < cost[0, 1] < cost[2, 4] < 18


def test_a_word_has_its_largest_count() -> None:
    keys, costs = keys_and_costs(["我哋 12 r", "雲吞麵 345", "我哋 3 n", "一二三四五六七八九 7 n", ""])
    expected = [round(chinese_lexicon.COSTS_PER_NAT * log(360 / count)) for count in (345, 12)]
    assert len(keys) == 2  # the word of nine characters is too long
    assert sorted(costs.tolist()) == expected


def test_new_words_need_few_calls_of_the_slow_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    # One core needs about 12 microseconds for a character of new text: 4 for the search of a run of Chinese characters,
    # and 180 for a character that uniseg divides. A test of the time itself would fail on a busy machine.
    searches, divided = [], []
    search, divide = np.searchsorted, line_breaks.line_break_boundaries
    line_breaks._of_run.cache_clear()
    monkeypatch.setattr(np, "searchsorted", lambda *args: searches.append(1) or search(*args))
    monkeypatch.setattr(line_breaks, "line_break_boundaries", lambda run: divided.append(len(run)) or divide(run))
    texts = [
        f"佢琴晚喺{chr(0x4E00 + k)}角，話 {'call' * (k % 9)} 個客，「收咗」${k}.50…{chr(0x5E00 + k)}掂晒"
        for k in range(500)
    ]
    for text in texts:
        list(word_begins(text))
        breaks(text)
    runs, characters = 5 * len(texts), sum(map(len, texts))
    assert 0 < len(searches) <= runs
    assert 0 < sum(divided) <= characters / 100


@given(st.text("ab12 .,:;!?！？。，」）「（“”$%-/—…一好コー😀é", min_size=2, max_size=8))
def test_the_cache_key_of_a_run_has_the_breaks_of_the_run(run: str) -> None:
    pattern, begins = line_breaks._pattern(run)
    found = [begins[at] for at in line_breaks._of_run(pattern)]
    ideographs = "".join("一" if line_breaks._is_ideograph(char) else char for char in run)
    assert found == [at for at in line_break_boundaries(ideographs) if 0 < at < len(run)]
