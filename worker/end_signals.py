"""The signals that end a process of this product in an orderly way."""

from __future__ import annotations

import signal


def end_signals() -> tuple[signal.Signals, ...]:
    """Return the signals that a process must handle by ending. SIGHUP is not among them if it is ignored: `nohup`
    ignores it, so that a process survives the end of its terminal."""
    usual = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
    return usual if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (*usual, signal.SIGHUP)


__all__ = ["end_signals"]
