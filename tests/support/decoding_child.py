"""Decodes audio files in a separate process, because a decoder may crash or hang.

python -m tests.support.decoding_child

Reads one path per line from standard input. Answers each with one line: `ok SAMPLES` (their number), `refused CODE`
(the error code), or `bug TEXT` for an unexpected exception or wrong samples.
"""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

import numpy as np

from worker.audio.decoding.decode import open_source
from worker.errors import SourceError

MEMORY_BYTES = 3 << 30
MAX_SAMPLES = 400_000_000


def decode(path: Path) -> str:
    try:
        with open_source(path) as source:
            count = 0
            for block in source.blocks():
                count += len(block)
                if not np.isfinite(block).all() or block.dtype != np.float32:
                    return "bug samples that are no numbers"
                if count > MAX_SAMPLES:
                    return "bug no end"
            if count != source.frames_decoded:
                return f"bug {count} samples given, {source.frames_decoded} counted"
            return f"ok {count}"
    except SourceError as exc:
        return f"refused {exc.code}" if str(path) in str(exc) else f"bug a reason without the file: {exc}"
    except Exception as exc:  # noqa: BLE001  any other exception is a bug
        return f"bug {type(exc).__name__}: {exc}".replace("\n", " ")


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # libsndfile prints some warnings to standard output: send them to standard error
    for line in sys.stdin:
        answers.write(f"{decode(Path(line.rstrip(chr(10))))}\n")


if __name__ == "__main__":
    main()
