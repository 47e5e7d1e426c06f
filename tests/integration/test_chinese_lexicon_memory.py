"""Memory of the Chinese word list, measured in a separate process. Includes memory outside of Python objects (resident
memory)."""

from __future__ import annotations

import json
import subprocess
import sys

MAX_MEMORY_BYTES = 30_000_000

_MEASURE = """
import json, resource, sys
import numpy
from worker.transcript.subtitles import chinese_lexicon, chinese_words
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
at_import = chinese_lexicon._index.cache_info().currsize
list(chinese_words.word_begins("我哋去茶餐廳食雲吞麵"))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(json.dumps({"peak_bytes": peak * 1024, "read_at_import": at_import, "jieba": "jieba" in sys.modules}))
"""


def test_the_list_is_read_at_first_use_within_its_memory() -> None:
    done = subprocess.run([sys.executable, "-c", _MEASURE], capture_output=True, text=True, check=True)
    measured = json.loads(done.stdout)
    assert measured["peak_bytes"] <= MAX_MEMORY_BYTES
    assert not measured["read_at_import"]
    assert not measured["jieba"]
