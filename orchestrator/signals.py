"""The signals that ask a command to stop."""

from __future__ import annotations

import signal


def stop_signals() -> tuple[signal.Signals, ...]:
    """Return Ctrl-C, SIGTERM, and what is sent when the terminal goes; that not under ``nohup``."""
    asked = (signal.SIGINT, signal.SIGTERM)
    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return asked if ignored else (*asked, signal.SIGHUP)
