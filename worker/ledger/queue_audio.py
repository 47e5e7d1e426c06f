"""Estimates the seconds of audio that wait or run, by which an autoscaler sets the number of workers.

The duration of a job is known once a worker has opened its source. The durations of the others are assumed to be the
mean of the known ones. One reading takes two round trips to Redis and looks at no more than a few hundred jobs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from worker.ledger.connection import RedisConnection
from worker.ledger.keys import Keys
from worker.settings import Settings

SAMPLED_JOBS: Final = 100
"""Maximum number of jobs of each kind (running, queued, delayed, newest) whose records are read."""
ASSUMED_S: Final = 60.0
"""Duration of a job while no duration is known."""


@dataclass(frozen=True, slots=True)
class JobAudio:
    """Seconds of audio of one job. `duration_s` is 0 while it is unknown."""

    duration_s: float
    committed_s: float

    def left_s(self, mean_s: float) -> float:
        return max(0.0, self.duration_s - self.committed_s) if self.duration_s > 0 else mean_s


@dataclass(frozen=True, slots=True)
class QueueAudio:
    waiting_s: float
    """Seconds of audio of the jobs that wait for a worker, or for their next attempt."""
    running_s: float
    """Seconds of audio without a committed text in the jobs that run."""


def mean_s(jobs: Iterable[JobAudio]) -> float:
    """Return the mean of the known durations."""
    known = [job.duration_s for job in jobs if job.duration_s > 0]
    return sum(known) / len(known) if known else ASSUMED_S


def left_s(sample: Sequence[JobAudio], total: int, mean: float) -> float:
    """Return the audio of `total` jobs of which `sample` is a part, `mean`: seconds of a job of unknown duration."""
    return sum(job.left_s(mean) for job in sample) * total / len(sample) if sample else total * mean


class QueueAudioReader:
    """Reads the estimate. Belongs to one event loop."""

    def __init__(self, settings: Settings, connection: RedisConnection) -> None:
        self._connection = connection
        self._keys = Keys(settings.redis_prefix)

    async def read(self) -> QueueAudio:
        """Read the current estimate. Raises LedgerUnavailable when Redis does not answer."""
        sets = self._keys.pending

        def count(pipeline: Any) -> None:
            for key in sets:
                pipeline.zcard(key)
                pipeline.zrange(key, 0, SAMPLED_JOBS - 1)
            pipeline.zrevrange(self._keys["jobs"], 0, SAMPLED_JOBS - 1)

        answers = await self._connection.pipeline(count)
        totals, groups = answers[0:6:2], [*answers[1:6:2], answers[6]]
        running, queued, delayed, newest = await self._records(groups)
        mean = mean_s([*running, *queued, *delayed, *newest])
        waiting_s = left_s(queued, totals[1], mean) + left_s(delayed, totals[2], mean)
        return QueueAudio(waiting_s, left_s(running, totals[0], mean))

    async def _records(self, groups: Sequence[Sequence[str]]) -> list[list[JobAudio]]:
        names = [name for group in groups for name in group]
        if not names:
            return [[] for _ in groups]
        fields = ("duration_s", "committed_s")
        answers = await self._connection.pipeline(
            lambda pipeline: [pipeline.hmget(self._keys.job(name), fields) for name in names], each=True
        )
        found = iter(answers)
        return [[_job(next(found)) for _ in group] for group in groups]


def _job(answer: object) -> JobAudio:
    """Parse the answer for one record. Another program may have written any value."""
    values = answer if isinstance(answer, list) and len(answer) == 2 else (None, None)
    return JobAudio(*map(_seconds, values))


def _seconds(value: object) -> float:
    try:
        number = float(value) if isinstance(value, str) else 0.0
    except ValueError:
        return 0.0
    return number if 0 <= number < 1e9 else 0.0


__all__ = ["ASSUMED_S", "SAMPLED_JOBS", "JobAudio", "QueueAudio", "QueueAudioReader", "left_s", "mean_s"]
