"""The command `stt-batch doctor`, which checks everything that a deployment depends on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from tasks.cli import options
from tasks.cli.terminal_output import echo, echo_json
from worker.service_profile import ServiceProfile


@click.command(short_help="Check settings, Redis, the service, outputs, disk and clock.")
@click.option(
    "--out", "outputs", multiple=True, metavar="DIR", help="Also test this output; may be given several times."
)
@click.option(
    "--sample",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Audio file with a few seconds of speech in a language of the service; default: an English sentence.",
)
@click.option(
    "--probe",
    is_flag=True,
    help="Also measure the service: the pause after which it commits, whether stop-session commits the last words, the"
    " drift of word times, the highest speed, and the number and length of sessions. The results are stored for 30"
    " days.",
)
@click.option(
    "--probe-minutes",
    type=click.FloatRange(0.5, 240),
    default=10.0,
    show_default=True,
    metavar="MINUTES",
    help="Maximum of audio that --probe sends.",
)
@click.option(
    "--probe-sessions",
    type=click.IntRange(1, 2000),
    default=16,
    show_default=True,
    metavar="N",
    help="Maximum of sessions that --probe opens at the same time.",
)
@options.as_json
@options.service
def command(
    outputs: tuple[str, ...],
    sample: Path | None,
    probe: bool,
    probe_minutes: float,
    probe_sessions: int,
    as_json: bool,
    **given: Any,
) -> None:
    """Check the settings, Redis, the real-time service, outputs, the disk and the clock. Prints one line per check: ok,
    warn or fail, with the remedy. Exit status 1 if a check fails.

    Streams a few seconds of speech to the service. --probe streams up to 10 minutes more, and takes about as long;
    the service may charge for it. Its result is a profile of the service: workers and `run` use it in place of
    defaults, and explicit settings win over it.

    \b
    Examples:
      stt-batch doctor
      stt-batch doctor --out /results --out s3://bucket/transcripts
      stt-batch doctor --probe --probe-sessions 64 --json
    """
    settings = options.settings_from(warn=False, **given)
    # Imported only here, because these modules load the whole pipeline.
    from tasks import doctor  # noqa: PLC0415
    from tasks.doctor.probe import Budget  # noqa: PLC0415
    from tasks.doctor.probe import probe as measure  # noqa: PLC0415
    from tasks.observability import log_setup  # noqa: PLC0415
    from tasks.service_profile_store import store_profile  # noqa: PLC0415

    log_setup.set_up(settings, "CRITICAL")  # hide the log, because the findings report the same errors in fewer words

    profiles: list[ServiceProfile] = []

    async def findings() -> AsyncIterator[doctor.Finding]:
        async for finding in doctor.checkup(settings, sample=sample or doctor.SAMPLE, outputs=outputs):
            yield finding
        if probe and settings.url and settings.api_key.get_secret_value():
            budget = Budget(audio_s=60 * probe_minutes, sessions=probe_sessions)
            async for finding in measure(settings, sample or doctor.SAMPLE, budget, profiles.append):
                yield finding
            for profile in profiles:
                places = await store_profile(settings, profile)
                text = f"profile stored for 30 days {'; '.join(places)}; running workers use it after a restart"
                yield doctor.Finding("probe", doctor.Status.OK, text)

    async def run() -> list[doctor.Finding]:
        found = []
        async for finding in findings():
            found.append(finding)
            if not as_json:
                remedy = f"; {finding.remedy}" if finding.remedy else ""
                echo(f"{finding.status:<5} {finding.part:<9} {finding.text}{remedy}")
        return found

    found = asyncio.run(run())
    failed = any(finding.status is doctor.Status.FAIL for finding in found)
    if as_json:
        measured = {"profile": profiles[0].model_dump()} if profiles else {}
        echo_json({"ok": not failed, "findings": [asdict(one) for one in found], **measured})
    raise SystemExit(1 if failed else 0)
