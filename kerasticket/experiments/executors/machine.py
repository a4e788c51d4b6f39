"""What of a machine decides the last bits of a result: the versions of packages, and what its CPU can do."""

import platform
import re
from pathlib import Path

from kerasticket.files.environment import PACKAGES, environment

CPU_INFO = Path("/proc/cpuinfo")
FLAGS = re.compile(r"^(?:flags|Features)\s*:(.*)$", re.MULTILINE)  # as x86 and ARM call them
ARITHMETIC = re.compile(r"avx|amx|fma|sse4|f16|bf16|asimd|sve|i8mm")  # libraries choose their loops by these


def cpu_features() -> str:
    """The kinds of arithmetic that libraries may use on this CPU, such as "avx2 fma"; else what the system calls it."""
    try:
        found = FLAGS.search(CPU_INFO.read_text())
    except OSError:
        found = None
    if found is None:
        return platform.processor() or platform.machine()
    return " ".join(sorted(flag for flag in found[1].split() if ARITHMETIC.search(flag)))


def signature() -> dict[str, str]:
    """Machines of the same signature are expected to give the same bits."""
    here = environment()
    return {name: here.get(name, "absent") for name in (*PACKAGES, "machine")} | {"CPU features": cpu_features()}


def differences(here: dict[str, str], there: dict[str, str]) -> list[str]:
    """What differs between two signatures, in words.

    >>> differences({"keras": "3.13.0", "CPU features": "avx2 fma"}, {"keras": "3.12.0", "CPU features": "fma"})
    ['keras 3.12.0 (here 3.13.0)', 'CPU without avx2']
    """
    found = [f"{name} {there.get(name)} (here {here[name]})" for name in here if there.get(name) != here[name]]
    mine, others = (set(each.get("CPU features", "").split()) for each in (here, there))
    found = [text for text in found if not text.startswith("CPU features")]
    found += [f"CPU without {' '.join(sorted(mine - others))}"] if mine - others else []
    return found + ([f"CPU with {' '.join(sorted(others - mine))}"] if others - mine else [])
