"""Schemathesis sends requests that the OpenAPI document allows and forbids: no answer contradicts the document.

Needs `pip install schemathesis`, which is not among the packages of the tests.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.api import KEYS, api_settings
from tests.support.fleet import environment
from tests.support.redis_server import redis_server
from tests.support.wait import wait_until

CONFIG = """
[[operations]]
include-name = "POST /v1/audio/transcriptions"
# No schema can express that a file is audio.
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "403"]
"""


@pytest.mark.matrix
@pytest.mark.timeout(1800)
def test_no_answer_contradicts_the_openapi_document(tmp_path: Path) -> None:
    pytest.importorskip("schemathesis")
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    with redis_server() as url:
        settings = api_settings(url, tmp_path)
        ready, output = tmp_path / "ready", tmp_path / "schemathesis.log"
        environ = environment(
            STT_REDIS_URL=url, STT_HTTP_KEYS=settings.http_keys.get_secret_value(), STT_UPLOADS=settings.uploads
        )
        command = [sys.executable, "-m", "tasks.cli", "api", "--port", "0", "--ready-file", str(ready)]
        with (
            (tmp_path / "log").open("wb") as log,
            subprocess.Popen(command, env=environ, stdout=log, stderr=log) as api,
        ):
            try:
                wait_until(lambda: ready.exists() and ready.read_text(), "the API listens", timeout_s=60)
                check = [sys.executable, "-m", "schemathesis.cli", "run", f"{ready.read_text()}/openapi.json"]
                check += ["-H", f"Authorization: Bearer {KEYS['boss']}", "--max-examples", "20", "--no-color"]
                with output.open("wb") as file:
                    done = subprocess.run(check, cwd=tmp_path, stdout=file, stderr=file, check=False, timeout=1700)
            finally:
                api.terminate()
        assert done.returncode == 0, output.read_text()[-8000:]
