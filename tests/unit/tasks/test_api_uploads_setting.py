"""Values of STT_UPLOADS that cannot be used: the command ends as for every other setting."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from tasks.cli import main


@pytest.mark.parametrize("name", ["a-file", "a-file/below", "relative", "/proc/nope", "https://example.com/", "é\0"])
def test_a_folder_that_cannot_be_used_ends_the_command_with_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a-file").touch()
    uploads = str(tmp_path / name) if name.startswith("a-file") else name
    monkeypatch.setattr("tasks.api.serve.run", lambda *_: pytest.fail("the server starts"))
    result = CliRunner().invoke(main, ["api", "--uploads", uploads], env={"STT_CONFIG": "none"})
    assert result.exit_code == 2, result.output
    assert "error: STT_UPLOADS: " in result.output
    assert "Traceback" not in result.output
