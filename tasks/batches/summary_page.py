"""Renders a batch's summary as a library: one HTML page with all transcripts of a folder, which needs no server and no
network. Without JavaScript it is a plain list."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Template
from typing import Any, Final
from urllib.parse import quote

from tasks.batches.number_format import format_duration, format_speed
from tasks.batches.remedies import with_remedy
from tasks.batches.summary import KIND, BatchSummary, JobLine, without_source
from tasks.batches.transcript_texts import TranscriptText
from worker.ledger.records import JobState
from worker.page_assets import asset, json_block, policy, script
from worker.storage.address import is_url
from worker.text_escaping import printable

MAX_ROWS: Final = 20_000
_PACKAGE: Final = "tasks.batches"
_ITEMS_MARK: Final = "<!-- items -->\n"
_TEXTS_MARK: Final = "<!-- texts -->\n"
_BLOCK_ITEMS: Final = 100
"""Items in one `<noscript>` element. The script builds them in less than 10 ms."""
_BLOCK_CHARACTERS: Final = 100_000
"""Characters of the texts in one data block. The script reads a block in a few milliseconds."""
_FIRST: Final = 240
"""Characters of a transcript that an item shows."""
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")
_NO_TEXT: Final = TranscriptText("")


def page(
    summary: BatchSummary,
    folder: Path | None = None,
    texts: Sequence[TranscriptText | None] | None = None,
    *,
    pages: Mapping[str, str] | None = None,
) -> str:
    """Render the page as HTML.

    `folder`: the folder of the page. Links to outputs are relative to this folder. `texts`: the text of the transcript
    of each job, in the order of `summary.jobs`. `pages`: addresses of the pages of transcripts by job id, in place of
    the HTML files among the outputs."""
    known = texts or [None] * len(summary.jobs)
    return "".join(_page(summary, _Links(folder, pages or {}), [one or _NO_TEXT for one in known[:MAX_ROWS]]))


def content_policy() -> str:
    """Return the content security policy of the page."""
    return policy(_script(), _style())


@dataclass(frozen=True, slots=True)
class _Links:
    """The links of the page."""

    folder: Path | None
    pages: Mapping[str, str]

    def page(self, job: JobLine) -> str | None:
        """Return the escaped address of a transcript's page, or None without one."""
        if job.id is not None and job.id in self.pages:
            return html.escape(self.pages[job.id])
        return next((self.output(output) for output in job.outputs if output.endswith(".html")), None)

    def output(self, output: str) -> str | None:
        """Return the escaped address of an output file, relative to the page, or None for another place."""
        if is_url(output) or self.folder is None:
            return None
        place = os.path.relpath(output, self.folder) if output.startswith("/") else output
        return html.escape(quote(place))


def _page(summary: BatchSummary, links: _Links, texts: list[TranscriptText]) -> Iterator[str]:
    shown = summary.jobs[:MAX_ROWS]
    head, rest = asset(_PACKAGE, "library/library.html").split(_ITEMS_MARK)
    middle, tail = rest.split(_TEXTS_MARK)
    some = summary.state == "failed" and JobState.DONE in summary.counts
    values = {
        "policy": html.escape(content_policy()),
        "kind": KIND,
        "name": escape(summary.name),
        "state": summary.state,
        "word": "some failed" if some else summary.state,
        "style": _style(),
        "script": _script(),
        "totals": "".join(_totals(summary)),
        "failures": "".join(_failures(summary)),
        "slowest": "".join(_slowest(summary, links)),
        "more": _more(len(summary.jobs) - len(shown), [one for one in texts if one.text]),
        "data": json_block([_data(job, text) for job, text in zip(shown, texts, strict=True)], id="data"),
    }
    yield Template(head).substitute(values)
    yield from _items(["".join(_item(job, text, links)) for job, text in zip(shown, texts, strict=True)])
    yield Template(middle).substitute(values)
    yield from _text_blocks(texts)
    yield tail


def _items(items: Sequence[str]) -> Iterator[str]:
    """Yield the HTML of the items. Those after the first block are in `<noscript>` elements, for the script of the page
    to build when the browser is idle. The HTML contains no element of this name, because all texts are escaped."""
    yield from items[:_BLOCK_ITEMS]
    for start in range(_BLOCK_ITEMS, len(items), _BLOCK_ITEMS):
        yield f"<noscript>{''.join(items[start : start + _BLOCK_ITEMS])}</noscript>\n"


def _text_blocks(texts: Iterable[TranscriptText]) -> Iterator[str]:
    """Yield the texts, in the order of the items, in blocks that the script of the page reads one by one."""
    block: list[str] = []
    size = 0
    for text in texts:
        block.append(text.text)
        size += len(text.text)
        if size > _BLOCK_CHARACTERS:
            yield json_block(block, **{"class": "texts"}) + "\n"
            block, size = [], 0
    if any(block):
        yield json_block(block, **{"class": "texts"}) + "\n"


def _totals(summary: BatchSummary) -> Iterator[str]:
    for state, count in sorted(summary.counts.items()):
        yield f'<li class="{state}"><b>{count}</b>{state}</li>'
    facts = [("jobs", str(summary.total)), ("audio", format_duration(summary.audio_s))]
    facts += [("took", format_duration(summary.elapsed_s)), ("of real time", format_speed(summary.speed))]
    if summary.needs_review:
        facts.append(("to review", str(summary.needs_review)))
    if summary.skipped:
        facts.append(("done before", str(summary.skipped)))
    if summary.left_s is not None:
        facts.append(("left", format_duration(summary.left_s)))
    yield from (f"<li><b>{value}</b>{label}</li>" for label, value in facts)


def _failures(summary: BatchSummary) -> Iterator[str]:
    if summary.failures:
        yield "<h2>Failures by reason</h2>\n"
    for group in summary.failures:
        yield f"<details open><summary><b>{group.count}</b> {escape(group.reason)} <code>{escape(group.code)}</code>"
        yield "</summary><ul>"
        yield from (f"<li>{escape(source)}" for source in group.sources)
        more = group.count - len(group.sources)
        yield f"<li>and {more} more</ul></details>\n" if more > 0 else "</ul></details>\n"


def _slowest(summary: BatchSummary, links: _Links) -> Iterator[str]:
    if not summary.slowest:
        return
    yield "<details><summary>Slowest</summary><ol>"
    for job in summary.slowest:
        link = links.page(job)
        name = escape(job.source)
        shown = f'<a href="{link}">{name}</a>' if link else name
        yield f"<li>{shown} {format_speed(job.speed)}, {format_duration(job.took_s)}"
    yield "</ol></details>\n"


def _more(hidden: int, texts: list[TranscriptText]) -> str:
    cut = sum(one.cut for one in texts)
    notes = [f"and {hidden} more, in the JSON file"] if hidden > 0 else []
    if cut:
        notes.append(f"The search covers only the beginning of {cut} of {len(texts)} transcripts.")
    return "".join(f"<p>{note}</p>" for note in notes)


def _data(job: JobLine, text: TranscriptText) -> list[Any]:
    """Return the data by which the script of the page sorts and filters: name, state, length in seconds, confidence
    (or -1), language, and whether to review."""
    confidence = -1.0 if job.quality is None or job.quality.confidence is None else job.quality.confidence
    name = printable(job.source)
    return [name, job.state.value, job.duration_s, confidence, text.language or "", int(bool(job.review))]


def _item(job: JobLine, text: TranscriptText, links: _Links) -> Iterator[str]:
    look = "review" if job.review else job.state.value
    name, link = escape(job.source), links.page(job)
    title = f'<a href="{link}">{name}</a>' if link else name
    yield f'<article class="item {look}"><h3>{title}</h3>'
    yield f'<p class="facts"><span class="badge">{_state(job)}</span>{"".join(_facts(job, text))}</p>'
    if text.text:
        lines = " ".join(text.text[: 2 * _FIRST].split())
        language = f' lang="{text.language}"' if _LANGUAGE.fullmatch(text.language or "") else ""
        yield f'<p class="first" dir="auto"{language}>{escape(lines[:_FIRST])}{"…" if len(lines) > _FIRST else ""}</p>'
    errors = [with_remedy(job.error_code or "", without_source(job.error, job.source))] if job.error else []
    reasons = [*errors, *(f"needs review: {reason}" for reason in job.review), *job.warnings]
    if reasons:
        yield f'<ul class="why">{"".join(f"<li>{escape(reason)}</li>" for reason in reasons)}</ul>'
    files = ", ".join(_files(job, links))
    yield f'<p class="files">{files}</p></article>\n' if files else "</article>\n"


def _state(job: JobLine) -> str:
    state = "done before" if job.skipped else job.state.value
    return f"{state}, needs review" if job.review else state


def _facts(job: JobLine, text: TranscriptText) -> Iterator[str]:
    facts = [format_duration(job.duration_s or None), text.language, job.speed and format_speed(job.speed)]
    if job.quality is not None and job.quality.confidence is not None:
        facts.append(f"confidence {round(100 * job.quality.confidence)} %")
    if text.corrected:
        facts.append("corrected")
    if text.reviewed:
        facts.append(f"{round(100 * text.reviewed)} % reviewed")
    yield from (f"<span>{escape(str(fact))}</span>" for fact in facts if fact)


def _files(job: JobLine, links: _Links) -> Iterator[str]:
    for output in job.outputs:
        href = links.output(output)
        ending = escape(output.rpartition(".")[2])
        yield f"<code>{escape(output)}</code>" if href is None else f'<a href="{href}">{ending}</a>'


@cache
def _script() -> str:
    return script(_PACKAGE, "library/library.js")


@cache
def _style() -> str:
    return asset(_PACKAGE, "library/library.css")


def escape(text: str) -> str:
    """Escape untrusted text for HTML. Invisible characters that change the writing direction are shown as codes."""
    return html.escape(printable(text))
