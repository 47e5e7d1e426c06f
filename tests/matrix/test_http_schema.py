"""Schemathesis sends requests that the OpenAPI document allows and forbids: no answer contradicts the document."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from tests.support.api import KEYS
from tests.support.api_process import api_process
from tests.support.redis_server import redis_server

CONFIG = """
[[operations]]
include-name = "POST /v1/audio/transcriptions"
# No schema can express that a file is audio, or that two different keys at once are refused.
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "401", "403"]

[[operations]]
include-name = "GET /v1/jobs/{job_id}/events"
# Schemathesis 4.32 sends `last-event-id: 0` as valid, which the pattern of this header in the document forbids.
checks.positive_data_acceptance.expected-statuses = ["2xx", "401", "403", "404", "422"]

[[operations]]
include-name = "POST /v1/batches"
# The file of a form may have any name and content for the schema.
checks.positive_data_acceptance.expected-statuses = ["2xx", "401", "403", "409", "422"]
"""


@pytest.mark.matrix
@pytest.mark.timeout(3600)
def test_no_answer_contradicts_the_openapi_document(tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    output = tmp_path / "schemathesis.log"
    with redis_server() as url, api_process(url, tmp_path) as api, output.open("wb") as file:
        # The first answer takes longest; Schemathesis waits 10 s for it, which is too short on a busy machine.
        assert httpx2.get(f"{api.url}/openapi.json", timeout=300).status_code == 200
        check = [sys.executable, "-m", "schemathesis.cli", "run", f"{api.url}/openapi.json"]
        check += ["-H", f"Authorization: Bearer {KEYS['boss']}", "--max-examples", "20", "--no-color"]
        check += ["--suppress-health-check", "too_slow"]  # depends on the load of the machine only
        done = subprocess.run(check, cwd=tmp_path, stdout=file, stderr=file, check=False, timeout=3400)
    assert done.returncode == 0, output.read_text()[-8000:]
