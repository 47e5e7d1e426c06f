"""How far the sections of a job are, and in the end what became of every sample (no I/O)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from worker.audio.recording import Recording
from worker.job import Job
from worker.progress import Progress
from worker.section import Section, Service
from worker.storage.fetch import Local
from worker.transcript.compose import Facts
from worker.transcript.model import SpeedFall


def progress_of(sections: Sequence[Section], duration_s: float, rate: int, speed: float, partial: str) -> Progress:
    """`sections`: those of this attempt; what of the `duration_s` seconds is in none of them was finished before, or is
    skipped. `rate`: Hz of their samples."""
    accounts = [section.account() for section in sections]
    open_samples = sum(a.end - a.start for a in accounts)
    done_s = max(0.0, duration_s - open_samples / rate)
    failures = [text for section in sections for text in section.failures[-1:]]
    return Progress(
        duration_s=duration_s,
        sent_s=done_s + sum(a.sent - a.start for a in accounts) / rate,
        committed_s=done_s + sum(a.committed - a.start for a in accounts) / rate,
        partial=partial,
        speed=speed,
        trouble=failures[-1] if failures else "",
    )


def facts_of(
    job: Job,
    source: Recording,
    local: Local,
    sha256: str,
    service: Service,
    sections: Sequence[Section],
    started: float,
) -> Facts:
    """What the finished document tells besides the words. `started`: when the run began, on the event loop's clock."""
    plan, settings, now = source.plan, service.settings, asyncio.get_running_loop().time()
    accounts = dict(job.earlier.finished) | {s.number: s.account(plan.sections[s.number].end) for s in sections}
    sent = (plan.streamed(section, accounts[number].sent) for number, section in enumerate(plan.sections))
    falls = [SpeedFall(speed=c.speed, after=round(c.at_s - started, 1), reason=c.reason) for c in service.speed.changes]
    return Facts(
        job_id=job.id,
        name=local.name,
        path=local.shown,
        sha256=sha256,
        size_bytes=local.path.stat().st_size,
        info=source.info,
        duration_s=source.duration_s,
        warnings=source.warnings,
        language=job.language,
        speed=job.speed,
        speed_reached=service.speed.current(now),
        speed_falls=tuple(falls),
        failures=tuple(text for section in sections for text in section.failures),
        wire_rate=plan.rate,
        sections=tuple(accounts[number] for number in sorted(accounts)),
        skipped=tuple((start / plan.rate, end / plan.rate) for start, end in plan.skipped),
        detector=plan.detector,
        price_per_hour=settings.price_per_hour,
        missing=tuple(gap for section in sections for gap in section.missing),
        endpoint=settings.url,
        sessions=tuple(facts for section in sections for facts in section.sessions),
        sent_s=sum(sent) / plan.rate,
        elapsed_s=now - started,
    )
