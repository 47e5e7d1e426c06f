"""Word error rate of the whole product on real speech, against the recognizer alone.

    python -m tests.evaluate                    all runs on the shared recordings (or on STT_TEST_AUDIO)
    python -m tests.evaluate --skip-live        without the run at 1x, which takes as long as the longest recording
    python -m tests.evaluate --sections 8       long recordings: one section a file, eight, eight without silence
    python -m tests.evaluate --language yue,zh  error rate by language; of characters for Chinese
    python -m tests.evaluate --language yue,yue:zh  Cantonese recordings as Cantonese, and as zh without the prompt
    python -m tests.evaluate FOLDER --json      another corpus; figures for machines
    python -m tests.evaluate breaks [FILE...]   instead: bad line breaks in Cantonese subtitles, beside BudouX
    python -m tests.evaluate glossary GLOSSARY FILE...  instead: false changes in real sentences
    python -m tests.evaluate dialect [FILE...]  instead: written Chinese, English, mixed scripts in Cantonese
    python -m tests.evaluate script [FILE...]   instead: wrong characters of `--script hk` on simplified Cantonese

Exit 0 when the product's error rate is within 0.5 points of the recognizer on the same segments and within 1.5 points
of it on whole files, 1 when it is not, 2 when there is nothing to evaluate.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import structlog
from rich.console import Console
from rich.table import Table

from tests.evaluate import breaks, corpus, dialect, glossary, score, script, transcribers
from tests.evaluate.corpus import Recording
from tests.evaluate.transcribers import Run

SAME_SEGMENTS_POINTS = 0.5
WHOLE_FILES_POINTS = 1.5
SECTIONS_POINTS = 0.5
TWO_SECTIONS_S = 150
_TEXT_COMMANDS = {"breaks": breaks.main, "dialect": dialect.main, "glossary": glossary.main, "script": script.main}


def main(arguments: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] and (command := _TEXT_COMMANDS.get(given[0])):
        return command(given[1:])
    parser = argparse.ArgumentParser(prog="python -m tests.evaluate", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=None, help="folder with manifest.json")
    parser.add_argument("--only", default="", help="recordings whose name contains this")
    parser.add_argument("--skip-live", action="store_true", help="no run at 1x")
    parser.add_argument("--sessions", type=int, default=12, help="sessions at once at 1x")
    parser.add_argument("--sections", type=int, default=0, help="instead: one section a file against so many")
    parser.add_argument("--language", default="", help="instead: the error rate of these, such as yue,yue:zh")
    parser.add_argument("--json", action="store_true", help="figures as JSON")
    options = parser.parse_args(given)
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # standard output is for the figures
    folder = options.folder or corpus.folder()
    if not (folder / "manifest.json").exists():
        sys.stderr.write(f"{folder}: no manifest.json; name a folder that has one, or set STT_TEST_AUDIO\n")
        return 2
    recordings = [recording for recording in corpus.load(folder) if options.only in recording.path.name]
    if not recordings:
        sys.stderr.write(f"{folder}: no recording matches {options.only!r}\n")
        return 2
    if options.language:
        return by_language(folder, options.language.split(","), as_json=options.json)
    if options.sections:
        return sections(recordings, options.sections, as_json=options.json)
    runs = [transcribers.through_product(recordings, speed="max", sessions=2)]
    if not options.skip_live:
        runs.append(transcribers.through_product(recordings, speed="1", sessions=options.sessions))
    runs += [transcribers.on_segments(recordings), transcribers.on_whole_files(recordings)]
    figures = evaluate(recordings, runs)
    if options.json:
        sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    else:
        show(figures, Console(width=180))
    return 0 if all(claim["holds"] for claim in figures["claims"]) else 1


def by_language(folder: Path, languages: Sequence[str], *, as_json: bool) -> int:
    """Report the error rate of the recognizer for each language: of characters for Chinese, of words for English. The
    language `yue:zh` means that the recordings in `yue` are recognized as `zh`."""
    figures = []
    for name in languages:
        language, _, recognized_as = name.partition(":")
        recordings = corpus.load(folder, language)
        if not recordings:
            sys.stderr.write(f"{folder}: no recording in the language {language!r}\n")
            return 2
        run = transcribers.on_segments(recordings, recognized_as or language)
        parts = [score.errors_of(language, r.reference, run.heard[r.path.name].text) for r in recordings]
        found = score.total(parts)
        files = {r.path.name: part.errors for r, part in zip(recordings, parts, strict=True)}
        figures.append({"language": name, "percent": found.percent, **asdict(found), "files": files})
    if as_json:
        sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    else:
        for one in figures:
            sys.stdout.write(f"{one['percent']:6.2f} %  {one['errors']:5d} of {one['words']:5d}  {one['language']}\n")
    return 0


def sections(recordings: Sequence[Recording], count: int, *, as_json: bool) -> int:
    """Compare the error rates of long recordings in one section, in `count` sections, and in `count` sections without
    silence."""
    with tempfile.TemporaryDirectory(prefix="stt-evaluate-") as folder:
        long = [recording for recording in recordings if recording.duration_s >= TWO_SECTIONS_S]
        long.append(transcribers.joined(recordings, Path(folder)))
        return _sections(long, count, as_json=as_json)


def _sections(long: Sequence[Recording], count: int, *, as_json: bool) -> int:
    runs = [
        transcribers.through_product(long, speed="max", sessions=count),
        transcribers.through_product(long, speed="max", sessions=count, sections=count),
        transcribers.through_product(long, speed="max", sessions=count, sections=count, skip_silence=True),
    ]
    errors = [score.total(score.word_errors(r.reference, run.heard[r.path.name].text) for r in long) for run in runs]
    figures = {
        "files": len(long),
        "hours": sum(r.duration_s for r in long) / 3600,
        "at_most": SECTIONS_POINTS,
        "runs": [
            {"name": run.name, "seconds": run.seconds, "wer_percent": found.percent, **asdict(found)}
            for run, found in zip(runs, errors, strict=True)
        ],
        "points": [found.percent - errors[0].percent for found in errors[1:]],
    }
    if as_json:
        sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    else:
        for run, found in zip(runs, errors, strict=True):
            sys.stdout.write(f"{found.percent:6.2f} %  {found.errors:5d} errors  {run.seconds:5.0f} s  {run.name}\n")
    return 0 if errors[1].percent - errors[0].percent <= SECTIONS_POINTS else 1


def evaluate(recordings: Sequence[Recording], runs: Sequence[Run]) -> dict[str, Any]:
    """Return the whole report as plain values. The last two runs are the baselines of the comparison."""
    errors = {
        run.name: {r.path.name: score.word_errors(r.reference, run.heard[r.path.name].text) for r in recordings}
        for run in runs
    }
    totals = {name: score.total(parts.values()) for name, parts in errors.items()}
    *products, segments, whole = (run.name for run in runs)
    claims = []
    for product in products:
        for other, points in ((segments, SAME_SEGMENTS_POINTS), (whole, WHOLE_FILES_POINTS)):
            worse = totals[product].percent - totals[other].percent
            claims.append(
                {"run": product, "against": other, "points": worse, "at_most": points, "holds": worse <= points}
            )
    return {
        "hours": sum(recording.duration_s for recording in recordings) / 3600,
        "runs": [
            {
                "name": run.name,
                "seconds": run.seconds,
                "wer_percent": totals[run.name].percent,
                **asdict(totals[run.name]),
            }
            for run in runs
        ],
        "files": [
            {
                "file": r.path.name,
                "words": errors[runs[0].name][r.path.name].words,
                "errors": {run.name: errors[run.name][r.path.name].errors for run in runs},
            }
            for r in recordings
        ],
        "word_starts": [
            {
                "file": r.path.name,
                "run": run.name,
                **asdict(
                    score.start_accuracy([(g.text, g.start_s) for g in r.gold_words], run.heard[r.path.name].words)
                ),
            }
            for r in recordings
            if r.gold_words
            for run in runs
        ],
        "claims": claims,
    }


def show(figures: dict[str, Any], console: Console) -> None:
    names = [run["name"] for run in figures["runs"]]
    table = Table("recording", "words", *names, title="Word errors")
    for file in figures["files"]:
        table.add_row(file["file"], str(file["words"]), *(str(file["errors"][name]) for name in names))
    table.add_section()
    table.add_row("errors", str(figures["runs"][0]["words"]), *(str(run["errors"]) for run in figures["runs"]))
    table.add_row("word error rate", "", *(f"{run['wer_percent']:.2f} %" for run in figures["runs"]))
    table.add_row("seconds", "", *(f"{run['seconds']:.0f}" for run in figures["runs"]))
    console.print(table)
    starts = Table("recording", "run", "words matched", "within 0.2 s", "median", title="Starts of words against gold")
    for row in figures["word_starts"]:
        starts.add_row(
            row["file"], row["run"], f"{row['matched']} of {row['gold']}",
            f"{row['within_200_ms_percent']:.0f} %", f"{row['median_ms']:.0f} ms",
        )  # fmt: skip
    if figures["word_starts"]:
        console.print(starts)
    for claim in figures["claims"]:
        verdict = "holds" if claim["holds"] else "FAILS"
        console.print(
            f"{verdict}: {claim['run']} is {claim['points']:+.2f} points against {claim['against']}, "
            f"at most {claim['at_most']:+.1f}", highlight=False,
        )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
