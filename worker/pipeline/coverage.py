"""Collects the facts about a finished run for its transcript. The facts account for each sample of the source: the
sample was sent, was skipped, or is missing for a named reason."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from worker.audio.level_history import drawing
from worker.audio.recording import Recording
from worker.audio.segmentation.channel_plans import skip_reason
from worker.pipeline.job import Job
from worker.pipeline.section import Section
from worker.pipeline.session_option_results import warnings as option_warnings
from worker.pipeline.session_sequence import Service
from worker.secret_masking import show_url
from worker.storage.sources.download import LocalSource
from worker.transcript.document import RunFacts
from worker.transcript.model import ChannelFacts, Gap, SpeedReduction, Streamed, TimeRange


def run_facts(
    job: Job,
    source: Recording,
    local: LocalSource,
    sha256: str,
    service: Service,
    sections: Sequence[Section],
    started: float,
    speech_share: float | None,
    streamed: Streamed | None = None,
) -> RunFacts:
    """Return the facts that the transcript document contains in addition to the segments.

    `sections`: the sections of this attempt. `started`: start of the run on the event loop's clock. `speech_share`: the
    share (0 to 1) of speech in the audio whose text is doubtful, or None; see `worker.pipeline.speech_check`.
    `streamed`: the audio of this attempt and the time in which it was streamed."""
    settings, now, rate = service.settings, asyncio.get_running_loop().time(), source.rate
    planned = source.sections
    accounts = dict(job.resume.finished) | {s.number: s.account(planned[s.number][1].end) for s in sections}
    sent = dict.fromkeys((plan.channel for plan in source.plans), 0)
    for number, (plan, section) in enumerate(planned):
        sent[plan.channel] += plan.streamed(section, accounts[number].sent)
    channels = tuple(
        ChannelFacts(
            number=(plan.channel or 0) + 1,
            name=source.selection.name(plan.channel),
            sent=round(sent[plan.channel] / rate, 3),
            reason=skip_reason(plan),
        )
        for plan in source.plans
        # A source with one channel gives no channel number, but its words have the name of a requested channel.
        if plan.channel is not None or source.selection.name(None) is not None
    )
    skipped = (
        TimeRange(start=start / rate, end=end / rate, channel=source.selection.name(plan.channel))
        for plan in source.plans
        for start, end in plan.skipped
    )
    options = service.options.facts()
    falls = [
        SpeedReduction(speed=c.speed, after=round(c.at_s - started, 1), reason=c.reason) for c in service.speed.changes
    ]
    return RunFacts(
        job_id=job.id,
        name=local.name,
        path=local.shown,
        sha256=sha256,
        size_bytes=local.file.stat().st_size,
        info=source.info,
        duration_s=source.duration_s,
        channel_lengths_s=tuple(
            (source.selection.name(plan.channel), length_s)
            for plan, length_s in zip(source.plans, source.lengths_s, strict=True)
        ),
        warnings=(*job.content.warnings, *source.warnings, *option_warnings(options)),
        language=job.language,
        one_script=job.one_script,
        speed=job.speed,
        speed_reached=service.speed.current(now),
        speed_falls=tuple(falls),
        failures=tuple(text for section in sections for text in section.failures),
        wire_rate=rate,
        sections=tuple(accounts[number] for number in sorted(accounts)),
        channels=channels,
        skipped=tuple(skipped),
        detector=source.plans[0].detector,
        price_per_hour=settings.price_per_hour,
        speech_share=speech_share,
        missing=(*undecoded_gaps(job, source), *(gap for section in sections for gap in section.missing)),
        endpoint=show_url(settings.url),
        session_options=options,
        sessions=tuple(facts for section in sections for facts in section.sessions),
        sent_s=sum(sent.values()) / rate,
        elapsed_s=now - started,
        levels=drawing((section.levels for section in sections), source.duration_s),
        streamed=streamed,
    )


def undecoded_gaps(job: Job, source: Recording) -> tuple[Gap, ...]:
    """Return the parts of the source that could not be decoded, as gaps of the transcript. They were streamed as
    silence."""
    return tuple(
        Gap(
            start=round(stretch.start, 3),
            end=round(stretch.end, 3),
            channel=source.selection.name(channel),
            reason=f"could not be decoded: {stretch.reason}",
        )
        for channel, stretches in source.undecoded.items()
        for stretch in stretches
    )
