"""`stt-batch doctor --probe`: measures how a real-time service behaves, within a budget of audio.

`session` is a bare client that shows what the service does; `steps` are the measurements; `probe` runs them in order
and builds the profile."""

from __future__ import annotations

from tasks.doctor.probe.probe import Budget, probe

__all__ = ["Budget", "probe"]
