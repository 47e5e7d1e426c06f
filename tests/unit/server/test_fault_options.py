"""Faults of the server as written on the command line."""

from __future__ import annotations

import re

import pytest
from click.testing import CliRunner

from tasks.cli.server import command
from worker.errors import SettingsError
from worker.server.fault_options import (
    FAULT_MEANINGS,
    FAULT_USAGE,
    FAULT_VALUES,
    HANDSHAKE_FAULTS,
    Fault,
    FaultKind,
    FaultSchedule,
    describe,
    parse,
)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("triplicate", Fault(FaultKind.TRIPLICATE)),
        ("drop", Fault(FaultKind.DROP, "10")),
        ("drop=2.5", Fault(FaultKind.DROP, "2.5")),
        ("drop=2.5:1", Fault(FaultKind.DROP, "2.5", frozenset({1}))),
        ("mute=3:1-3,7", Fault(FaultKind.MUTE, "3", frozenset({1, 2, 3, 7}))),
        ("error=rate_limited@4", Fault(FaultKind.ERROR, "rate_limited@4")),
        ("refuse=Too many", Fault(FaultKind.REFUSE, "Too many")),
        (" http=503 ", Fault(FaultKind.HTTP, "503")),
        ("http=429@30:1", Fault(FaultKind.HTTP, "429@30", frozenset({1}))),
    ],
)
def test_a_fault_is_parsed(text: str, fault: Fault) -> None:
    assert parse(text) == fault


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("explode", "no fault 'explode'; choose from plain-only"),
        ("triplicate=2", "takes no value"),
        ("drop=soon", "takes seconds until the connection is reset"),
        ("error=x@y", "NAME@SECONDS"),
        ("times=backwards", "takes one of ms, relative"),
        ("drop=1:a-b", "numbers such as"),
    ],
)
def test_an_invalid_fault_is_reported_with_the_reason(text: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        parse(text)


def test_faults_apply_to_the_sessions_they_name() -> None:
    faults = FaultSchedule([parse("drop=1:2"), parse("triplicate"), parse("http=503:1")])
    assert [[f.kind for f in faults.next_session()] for _ in range(3)] == [
        [FaultKind.TRIPLICATE],
        [FaultKind.DROP, FaultKind.TRIPLICATE],
        [FaultKind.TRIPLICATE],
    ]
    assert [len(faults.next_connection()) for _ in range(3)] == [1, 0, 0]
    assert not FaultSchedule()


def test_every_default_can_be_parsed_and_is_described() -> None:
    for kind in FaultKind:
        assert parse(kind).kind is kind
        assert kind in describe()
    assert set(FAULT_VALUES) | set(FAULT_MEANINGS) == set(FaultKind)
    assert not set(FAULT_VALUES) & set(FAULT_MEANINGS)
    assert set(FaultKind) >= HANDSHAKE_FAULTS


def test_the_help_of_the_server_lists_all_faults() -> None:
    result = CliRunner().invoke(command, ["--fault", "list"])
    assert result.exit_code == 0
    lines = {line.split()[0]: line.split(maxsplit=1)[1:] for line in result.output.splitlines() if line.strip()}
    assert lines["stop-reading=10"] == ["seconds after which the server neither reads nor sends"]
    assert all(lines.get(kind) or any(name.startswith(f"{kind}=") for name in lines) for kind in FaultKind)


def test_the_help_explains_the_suffix_with_examples_that_can_be_parsed() -> None:
    examples = re.findall(r"`([a-z-]+=\S+:\S+)`", FAULT_USAGE)
    assert [parse(example).sessions for example in examples] == [frozenset({1})]
    assert [parse(f"drop{suffix}").sessions for suffix in re.findall(r"`(:[0-9,-]+)`", FAULT_USAGE)] == [
        frozenset({1, 2, 3}),
        frozenset({1, 4}),
    ]
    text = CliRunner().invoke(command, ["--help"]).output
    assert "NAME[=VALUE][:SESSIONS]" in text
