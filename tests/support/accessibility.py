"""Accessibility checks of a page in Chromium with axe-core."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page


def violations(page: Page) -> list[str]:
    """Return the violations of axe's rules on a page, each with its rule and the first elements that break it."""
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {one['help']}: {[node['html'] for node in one['nodes'][:5]]}" for one in found]
