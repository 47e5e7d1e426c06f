"""SECURITY.md covers every setting that bounds something, every secret, and names only settings that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from worker.settings import SECRET_SETTINGS, Settings

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
BOUNDS = TEXT[TEXT.index("### Settings that limit something") :].split("\n### ")[0]
# Names of settings that limit what another party can use or reach.
LIMIT = re.compile(r"allowed|max_|_max$|attempts$|retries$|timeout_s$|_ttl$|disk_free|remote_control|_host$|threads$")
# Settings whose names match although they limit no other party, with the reason.
NO_BOUND = {
    "frame_max_s": "the length of a message that this project sends",
    "tail_silence_max_s": "the silence that this project sends",
    "server_segment_max_s": "the length of a segment of text",
}
LIMITS = [name for name in Settings.model_fields if LIMIT.search(name) and name not in NO_BOUND]


def test_every_limit_is_in_the_table_of_bounds() -> None:
    assert [name for name in LIMITS if f"`STT_{name.upper()}`" not in BOUNDS] == []


def test_every_secret_is_described_with_its_file() -> None:
    assert [name for name in SECRET_SETTINGS if f"| `STT_{name.upper()}` |" not in TEXT] == []
    assert [name for name in SECRET_SETTINGS if f"`STT_{name.upper()}_FILE`" not in TEXT] == []


def test_every_setting_on_the_page_exists() -> None:
    known = {f"STT_{name.upper()}" for name in Settings.model_fields}
    known |= {*(f"STT_{name.upper()}_FILE" for name in SECRET_SETTINGS), "STT_CONFIG"}
    assert set(re.findall(r"\bSTT_[A-Z0-9_]+", TEXT)) <= known


def test_every_exception_is_still_a_setting_with_such_a_name() -> None:
    assert all(name in Settings.model_fields and LIMIT.search(name) for name in NO_BOUND)


def test_every_party_has_its_rights_and_limits() -> None:
    """The documentation of the intake describes the same parties by their rights in Redis; both must mention the
    producers' streams."""
    rows = re.findall(r"^\| (.+?) \|", TEXT[TEXT.index("### Parties") : TEXT.index("### Secrets")], re.MULTILINE)
    assert len(rows) > 10
    assert len(rows) == len(set(rows))


@pytest.mark.parametrize("target", re.findall(r"\]\((?!http)([^)#]+)\)", TEXT))
def test_a_link_leads_to_a_file(target: str) -> None:
    assert (ROOT / target).exists()
