"""`stt-batch run` refuses a language or model before it starts anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from tasks.cli import main


@pytest.mark.recognizer
@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["-l", "yue", "--model", "tiny.en"], {}, "the model tiny.en supports only English"),
        (["-l", "yue"], {"STT_MODEL": "tiny.en"}, "the model tiny.en supports only English"),
        (["-l", "xx"], {}, "does not support this language"),
        (["--model", "base"], {"STT_URL": "http://127.0.0.1:9", "STT_API_KEY": "k"}, "--model chooses a model of the"),
    ],
)
def test_run_refuses_before_anything_starts(
    arguments: list[str], environment: dict[str, str], message: str, tmp_path: Path
) -> None:
    pytest.importorskip("faster_whisper")
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    out = tmp_path / "out"
    result = CliRunner().invoke(main, ["run", str(tmp_path / "a.wav"), "-o", str(out), *arguments], env=environment)
    assert (result.exit_code, message in result.output) == (2, True), result.output
    assert not out.exists()


@pytest.mark.recognizer
def test_run_refuses_a_manifest_of_several_languages(tmp_path: Path) -> None:
    pytest.importorskip("faster_whisper")
    for name in ("a.wav", "b.wav", "c.wav"):
        (tmp_path / name).write_bytes(b"RIFF")
    manifest = tmp_path / "all.csv"
    manifest.write_text("source,language\na.wav,en\nb.wav,en-GB\nc.wav,yue\n")
    result = CliRunner().invoke(main, ["run", str(manifest), "-o", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "one language per run, and the manifest asks for en (2 files), yue (1 file)" in result.output


@pytest.mark.parametrize(
    "model", ["large-v9", "Large-V3", "bas", "tiny.eng", "", "./none", "/none/at/all", "~/none-at-all"]
)
def test_a_wrong_model_name_is_refused_before_anything_starts(model: str, tmp_path: Path) -> None:
    pytest.importorskip("faster_whisper")
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    out = tmp_path / "out"
    result = CliRunner().invoke(main, ["run", str(tmp_path / "a.wav"), "-o", str(out), "--model", model])
    assert (result.exit_code, "STT_MODEL: " in str(result.exception) + result.output) == (2, True), result.output
    assert not out.exists()
