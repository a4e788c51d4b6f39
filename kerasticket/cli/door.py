"""How a command is left: with one line that says what is wrong, and under the name by which it was called."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def door() -> Iterator[None]:
    """Ends the process with exit code 1 and `error: ...` where a file, a flag, the disk or a loss is at fault.

    Other errors are faults of the program, and show where they come from.
    """
    try:
        yield
    except (ValueError, FloatingPointError, OSError) as error:
        sys.exit(f"error: {' '.join(str(error).split())}")


def program() -> str:
    """How the command was called, such as "kerasticket hessian" or "python scripts/hessian.py"."""
    if sys.argv[0].startswith("kerasticket "):
        return sys.argv[0]
    python = Path(sys.orig_argv[0]).name if sys.orig_argv else "python"
    return sys.argv[0] if python == Path(sys.argv[0]).name else f"{python} {sys.argv[0]}"
