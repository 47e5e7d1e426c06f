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
@click.option("--bench", is_flag=True, help="Also measure how many sessions and which speed the service sustains.")
@click.option(
    "--bench-sessions",
    type=click.IntRange(1, 2000),
    metavar="N",
    help="Maximum number of sessions for --bench; default: STT_WORKER_SESSIONS.",
)
@options.as_json
@options.service
def command(
    outputs: tuple[str, ...], sample: Path | None, bench: bool, bench_sessions: int | None, as_json: bool, **given: Any
) -> None:
    """Check the settings, Redis, the real-time service, outputs, the disk and the clock. Prints one line per check: ok,
    warn or fail, with the remedy. Exit status 1 if a check fails.

    Streams a few seconds of speech to the service. --bench streams much more; the service may charge for it.

    \b
    Examples:
      stt-batch doctor
      stt-batch doctor --out /results --out s3://bucket/transcripts
      stt-batch doctor --bench --bench-sessions 64 --json
    """
    settings = options.settings_from(warn=False, **given)
    # Imported only here, because these modules load the whole pipeline.
    from tasks import doctor  # noqa: PLC0415
    from tasks.doctor.load_test import bench as measure  # noqa: PLC0415
    from tasks.observability import log_setup  # noqa: PLC0415

    log_setup.set_up(settings, "CRITICAL")  # hide the log, because the findings report the same errors in fewer words

    async def findings() -> AsyncIterator[doctor.Finding]:
        async for finding in doctor.checkup(settings, sample=sample or doctor.SAMPLE, outputs=outputs):
            yield finding
        if bench:
            async for finding in measure(settings, sample or doctor.SAMPLE, bench_sessions or settings.worker_sessions):
                yield finding

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
        echo_json({"ok": not failed, "findings": [asdict(one) for one in found]})
    raise SystemExit(1 if failed else 0)
