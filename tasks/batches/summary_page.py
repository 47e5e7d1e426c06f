"""Renders a batch's summary as one HTML page that needs no server, network or script."""

from __future__ import annotations

import html
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

from tasks.batches.number_format import format_duration, format_speed
from tasks.batches.summary import KIND, BatchSummary, JobLine, without_source
from worker.ledger.records import JobState
from worker.storage.address import is_url
from worker.text_escaping import printable

MAX_ROWS: Final = 20_000
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_STYLE: Final = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent) }
:root { --bad: #b3261e; --good: #1b7f3b }
@media (prefers-color-scheme: dark) { :root { --bad: #ff8a80; --good: #7bd88f } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem; margin-bottom: 0 } h2 { font-size: 1.1rem; margin-top: 2rem }
.totals { display: flex; flex-wrap: wrap; gap: .75rem; padding: 0; list-style: none }
.totals li { border: 1px solid var(--line); border-radius: .5rem; padding: .5rem 1rem; min-width: 6rem }
.totals b { display: block; font-size: 1.4rem; font-variant-numeric: tabular-nums }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top }
td { overflow-wrap: anywhere } td.n, th.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums }
.failed, .incomplete, .cancelled, .review { color: var(--bad) } .done { color: var(--good) }
small, .dim { opacity: .7 } details { margin: .4rem 0 } summary { cursor: pointer } code { font-size: .9em }
"""


def page(summary: BatchSummary, folder: Path | None = None) -> str:
    """Render the page as HTML. `folder`: the folder of the page. Links to outputs are relative to this folder."""
    return "\n".join(_page(summary, folder)) + "\n"


def _page(summary: BatchSummary, folder: Path | None) -> Iterator[str]:
    name = escape(summary.name)
    yield '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    yield f'<meta name="generator" content="{KIND}">\n<meta name="viewport" content="width=device-width">'
    word = "some failed" if summary.state == "failed" and JobState.DONE in summary.counts else summary.state
    yield f"<title>{name}: {word}</title>\n<style>{_STYLE}</style>\n<body>"
    yield f'<h1>{name}</h1>\n<p class="{summary.state}">{word}</p>'
    yield "<ul class=totals>"
    for state, count in sorted(summary.counts.items()):
        yield f'<li class="{state}"><b>{count}</b>{state}</li>'
    facts = [
        ("jobs", str(summary.total)),
        ("audio", format_duration(summary.audio_s)),
        ("took", format_duration(summary.elapsed_s)),
    ]
    facts.append(("of real time", format_speed(summary.speed)))
    if summary.skipped:
        facts.append(("done before", str(summary.skipped)))
    if summary.left_s is not None:
        facts.append(("left", format_duration(summary.left_s)))
    for label, value in facts:
        yield f"<li><b>{value}</b>{label}</li>"
    yield "</ul>"
    if summary.failures:
        yield "<h2>Failures by reason</h2>"
        for group in summary.failures:
            reason, code = escape(group.reason), escape(group.code)
            yield f"<details><summary><b>{group.count}</b> {reason} <code>{code}</code></summary>"
            yield "<ul>"
            yield from (f"<li>{escape(source)}" for source in group.sources)
            more = group.count - len(group.sources)
            yield f"<li>and {more} more</ul></details>" if more > 0 else "</ul></details>"
    if summary.slowest:
        yield "<h2>Slowest</h2>"
        yield from _table(summary.slowest, folder)
    yield "<h2>All jobs</h2>"
    yield from _table(summary.jobs[:MAX_ROWS], folder)
    if len(summary.jobs) > MAX_ROWS:
        yield f"<p>and {len(summary.jobs) - MAX_ROWS} more, in the JSON file"


def _table(jobs: Sequence[JobLine], folder: Path | None) -> Iterator[str]:
    yield "<table><tr><th>source<th>state<th class=n>audio<th class=n>took<th class=n>speed<th>files, or the reason"
    for job in jobs:
        state = "done before" if job.skipped else job.state.value
        look = "review" if job.review else job.state.value
        if job.review:
            state += ", needs review"
        reviews = [f"needs review: {text}" for text in job.review]
        errors = [without_source(job.error, job.source)] if job.error else []
        end = escape("; ".join([*errors, *reviews, *job.warnings]))
        files = ", ".join(_links(job.outputs, folder))
        figures = (format_duration(job.duration_s or None), format_duration(job.took_s), format_speed(job.speed))
        yield (
            f'<tr><td>{escape(job.source)}<td class="{look}">{state}'
            f"{''.join(f'<td class=n>{figure}' for figure in figures)}"
            f"<td>{end}{' – ' if end and files else ''}{files}"
        )
    yield "</table>"


def _links(outputs: Iterable[str], folder: Path | None) -> Iterator[str]:
    for output in outputs:
        name = output.rpartition(".")[2]
        if is_url(output) or folder is None:
            yield f"<code>{escape(output)}</code>"
        else:
            place = os.path.relpath(output, folder) if output.startswith("/") else output
            yield f'<a href="{escape(quote(place))}">{escape(name)}</a>'


def escape(text: str) -> str:
    """Escape untrusted text for HTML. Invisible characters that change the writing direction are shown as codes."""
    return html.escape(printable(text))
