"""`deploy/pin-images` against a stand-in for docker: every image of others gets its digest, in a patch that applies."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DIGEST = "sha256:" + "ab" * 32


def pinned(tmp_path: Path, answer: str) -> subprocess.CompletedProcess[str]:
    docker = tmp_path / "docker"
    docker.write_text(f"#!/bin/sh\n{answer}\n")
    docker.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    return subprocess.run(
        [str(ROOT / "deploy" / "pin-images")], env=environment, capture_output=True, text=True, check=False, timeout=30
    )


def test_each_image_of_others_is_pinned(tmp_path: Path) -> None:
    done = pinned(tmp_path, f"echo {DIGEST}")
    assert done.returncode == 0, done.stderr
    added = [line for line in done.stdout.splitlines() if line.startswith("+") and not line.startswith("+++")]
    assert all(f"@{DIGEST}" in line for line in added)
    for name in ("valkey/valkey", "prom/prometheus", "grafana/grafana", "python"):
        assert any(re.search(rf"\b{name}:[\w.-]+@", line) for line in added), name
    assert not any("stt-batch" in line for line in added)
    patch = tmp_path / "patch"
    patch.write_text(done.stdout)
    subprocess.run(["git", "apply", "--check", str(patch)], cwd=ROOT, check=True, timeout=30)


def test_a_registry_that_cannot_be_reached_is_named(tmp_path: Path) -> None:
    for answer in ("exit 1", "echo nonsense"):
        done = pinned(tmp_path, answer)
        assert done.returncode == 1
        assert "pin-images: " in done.stderr
        assert done.stdout == ""
