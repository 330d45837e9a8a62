"""Programs of this node that doctor runs: only those that nobody but root could have put there, and not for long."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import NamedTuple

_SECONDS = 5.0


class Said(NamedTuple):
    """What a program printed; `failure` says why it printed nothing, '' if it ran."""

    output: str = ""
    errors: str = ""
    failure: str = ""


def run(argv: list[str], environment: dict[str, str], given: str = "") -> Said:
    """Run a program with nothing of our surroundings, for some seconds at most; all that it started ends with it."""
    try:
        process = subprocess.Popen(  # noqa: S603 - the caller has seen that root alone can write it
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **environment},
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        return Said(failure=error.strerror or str(error))
    with process:
        try:
            output, errors = process.communicate(given, _SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return Said(failure=f"it did not end within {_SECONDS:g} s")
    return Said(output, errors)
