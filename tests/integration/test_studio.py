"""`stt-batch studio`: one command with state in its folder, of which nothing remains after a signal."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import psutil
import pytest

from tests.support.console_server import Answer, send
from tests.support.fleet import ROOT
from tests.support.wait import wait_until

ADDRESS = re.compile(r"console is at (http://127\.0\.0\.1:\d+)/#key=(\S+)")


class Studio:
    def __init__(self, folder: Path, service: str, *options: str, **environ: str) -> None:
        self.output = folder.with_suffix(".log")
        given = {name: value for name, value in os.environ.items() if not name.startswith("STT_")}
        command = [sys.executable, "-m", "tasks.cli", "studio", str(folder), "--port", "0", "--url", service, *options]
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env={**given, "STT_API_KEY": "k", **environ}, stdout=output, stderr=output
            )

    def text(self) -> str:
        return self.output.read_text("utf-8")

    def until_ready(self) -> None:
        wait_until(
            lambda: ADDRESS.search(self.text()) or self.process.poll() is not None, "the console runs", timeout_s=90
        )
        found = ADDRESS.search(self.text())
        assert found is not None, self.text()
        self.url, self.key = found.groups()

    def processes(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def send(self, method: str, path: str) -> Answer:
        return send(self.url, method, path, x_api_key=self.key)

    def stop(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


def gone(processes: list[psutil.Process]) -> bool:
    return not any(process.is_running() for process in processes)


def assert_the_page_has_the_key(folder: Path, studio: Studio, arguments: str) -> None:
    """The arguments of a process are visible to all users, so the browser gets the key in a private file."""
    page = folder / "open-studio.html"
    assert arguments.strip() == page.as_uri()
    assert studio.key not in arguments
    assert f"{studio.url}/#key={studio.key}" in page.read_text()
    assert page.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.chaos)])
def test_a_signal_ends_everything_and_the_folder_continues(
    tmp_path: Path, service: str, number: signal.Signals
) -> None:
    folder = tmp_path / "studio"
    browser, opened = tmp_path / "browser", tmp_path / "opened"
    browser.write_text(f'#!/bin/sh\necho "$@" > {opened}.new\nmv {opened}.new {opened}\n')
    browser.chmod(0o755)
    studio = Studio(folder, service, BROWSER=str(browser))
    try:
        studio.until_ready()
        wait_until(opened.exists, "the browser is opened", timeout_s=30)
        assert_the_page_has_the_key(folder, studio, opened.read_text())
        children = studio.processes()
        assert len(children) >= 6  # Valkey, worker and API, each with its supervisor
        body = '--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nno audio\r\n--b--\r\n'
        upload = subprocess.run(
            ["curl", "-s", "-H", f"x-api-key: {studio.key}", "-H", "content-type: multipart/form-data; boundary=b",
             "--data-binary", body, f"{studio.url}/v1/jobs"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert '"source":"a.wav"' in upload.stdout, upload.stdout
        wait_until(lambda: b'"state":"failed"' in studio.send("GET", "/v1/jobs").body, "it has no audio", timeout_s=60)
        assert send(studio.url, "GET", "/v1/jobs").status == 401
        assert {(folder / name).stat().st_mode & 0o077 for name in (".stt-batch", "uploads")} == {0}
        assert studio.stop(number) == 0, studio.text()
        wait_until(partial(gone, children), "no process remains")
        assert "Traceback" not in studio.text()
        assert not (folder / "open-studio.html").exists()
        again = Studio(folder, service, "--no-browser")
        try:
            again.until_ready()
            assert b'"source":"a.wav"' in again.send("GET", "/v1/jobs").body
            assert again.key != studio.key
        finally:
            again.stop(signal.SIGTERM)
    finally:
        if studio.process.poll() is None:
            studio.stop(signal.SIGTERM)


def test_a_signal_during_the_start_ends_everything(tmp_path: Path, service: str) -> None:
    studio = Studio(tmp_path / "studio", service, "--no-browser")
    wait_until((tmp_path / "studio" / ".stt-batch" / "valkey.log").exists, "it starts", timeout_s=60)
    children = studio.processes()
    assert studio.stop(signal.SIGTERM) == 0, studio.text()
    wait_until(partial(gone, children), "no process remains")
