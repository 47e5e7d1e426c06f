"""`stt-batch doctor --probe`: measures how a real-time service behaves, within a budget of audio.

`session` is a simple client that does not compensate faults of the service. `steps` contains the measurements. `probe`
runs the measurements in order and builds the profile."""

from __future__ import annotations

from tasks.doctor.probe.probe import Budget, probe

__all__ = ["Budget", "probe"]
