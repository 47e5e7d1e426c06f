"""For all tests: property tests have no deadline (a busy machine is no bug); in CI they always try the same cases."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("everywhere", deadline=None, derandomize=os.environ.get("CI") == "true", print_blob=True)
settings.load_profile("everywhere")
