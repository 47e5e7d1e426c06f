"""Runs a real browser without a window: the installed Chromium, controlled by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.support.node_env import missing

expect.set_options(timeout=30_000)  # milliseconds; the default of 5 s is too short on a busy machine
_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# Parameters of tests that open a page in each width and colour scheme. The gate tries each value once.
screens = pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (1280, "light"),
        (360, "dark"),
        pytest.param(1280, "dark", marks=pytest.mark.matrix),
        pytest.param(360, "light", marks=pytest.mark.matrix),
    ],
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run Chromium. If it is not installed, skip the test, or fail it if the environment has CI=true."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        missing("no Chromium is installed (Debian, Ubuntu: apt install chromium)")
    with sync_playwright() as playwright:
        # Chromium's sandbox does not work for root, the usual user in a container. Pages may play audio without a
        # click of a user.
        arguments = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--mute-audio"]
        browser = playwright.chromium.launch(executable_path=found, args=arguments)
        try:
            yield browser
        finally:
            browser.close()
