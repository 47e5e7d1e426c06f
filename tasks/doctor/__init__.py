"""`stt-batch doctor`: checks everything that a deployment depends on, and names the remedy for each problem.

`checkup` checks in this order: settings, network, Redis, the real-time service, outputs, disk, clock. A failed check
does not prevent the others. The checks stream a few seconds of audio to the service, and create some keys and files,
which they delete again.

`sample.opus`: 4.4 s of English, the first sentence of tests/samples/news.flac at 16 kHz (synthesised, MIT).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from tasks.doctor import network, redis, service, storage
from tasks.doctor.finding import Finding, Status, fail, ok, warn
from worker.errors import SettingsError, SttError
from worker.realtime.cleartext_check import clear_text_warning, sends_key_in_clear
from worker.realtime.recording_folder import folder_problem
from worker.secret_masking import show_url
from worker.settings import Settings
from worker.unknown_settings import unknown_variables
from worker.webhooks.http_post import signing_keys

SAMPLE: Final = Path(__file__).with_name("sample.opus")
PART_TIMEOUT_S: Final = 180.0
"""Maximum seconds for the checks of one part, such as Redis."""


async def checkup(
    settings: Settings, *, sample: Path = SAMPLE, outputs: tuple[str, ...] = (), environ: Mapping[str, str] = os.environ
) -> AsyncIterator[Finding]:
    """Yield each finding as soon as it is known. `sample`: audio file with speech that is streamed to the service.
    `outputs`: folders and object stores to test in addition to those in STT_ALLOWED_OUTPUTS."""
    findings = (*of_settings(settings, environ), *network.of_network(settings, environ))
    for finding in (*findings, storage.check_open_files(settings)):
        yield finding
    parts: tuple[tuple[str, Callable[[], Awaitable[list[Finding]]]], ...] = (
        ("redis", lambda: redis.check(settings)),
        ("service", lambda: service.check(settings, sample)),
        ("outputs", lambda: storage.check_outputs(settings, outputs)),
        ("disk", lambda: storage.check_disk(settings)),
    )
    for name, check in parts:
        try:
            async with asyncio.timeout(PART_TIMEOUT_S):
                found = await check()
        except TimeoutError:
            found = [fail(name, f"not done within {PART_TIMEOUT_S:g} s", "check the network connection")]
        except SttError as exc:
            found = [fail(name, str(exc))]
        for finding in found:
            yield finding


def of_settings(settings: Settings, environ: Mapping[str, str]) -> list[Finding]:
    """Return findings about the settings themselves."""
    found = [warn("settings", text, "check its spelling") for text in unknown_variables(environ)]
    if not settings.url:
        found.append(fail("settings", "no service is set", "set STT_URL and STT_API_KEY"))
    elif not settings.api_key.get_secret_value():
        found.append(fail("settings", f"no key for {show_url(settings.url)}", "set STT_API_KEY, or STT_API_KEY_FILE"))
    elif sends_key_in_clear(settings.url):
        found.append(warn("settings", clear_text_warning(show_url(settings.url)), "use https://"))
    if settings.record_dir:
        problem = folder_problem(settings)
        text = f"sessions are recorded in {settings.record_dir}"
        found.append(fail("settings", problem) if problem else ok("settings", text))
    if not settings.allowed_sources:
        way = "set STT_ALLOWED_SOURCES if other users can queue jobs"
        found.append(warn("settings", "jobs may read every file this process can", way))
    try:
        signs = bool(signing_keys(settings))
        text = "webhooks are signed" if signs else "webhooks: without STT_WEBHOOK_SECRET, this process sends none"
        found.append(ok("settings", text))
    except SettingsError as exc:
        found.append(fail("settings", str(exc)))
    return found


__all__ = ["SAMPLE", "Finding", "Status", "checkup", "of_settings"]
