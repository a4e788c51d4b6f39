"""Models of every kind on every backend: masked, trained, saved, loaded here and on another backend, stripped.

    python scripts/bench/model_table.py                              # all of them, about an hour on two cores
    python scripts/bench/model_table.py --models lstm nested         # those whose name has one of these in it

Every cell is a process of its own under that backend, and what it saves is loaded by the next backend in another.
--csv has a row per model and backend, "yes" for each step that has passed and the reason where one has not; rows
that are there are not run again, unless --again is given. The table in Markdown is printed, and lies beside it.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from kerasticket.cli.door import door, program
from kerasticket.files.atomic import atomic

BACKENDS = ("tensorflow", "jax", "torch")
ROOT = Path(__file__).parents[2]
SECONDS = 1800  # after which a process is stopped


def main() -> None:
    arguments = parse()
    if arguments.cell:
        run_cell(*arguments.cell)
        return
    from models_to_prune import MODELS_TO_PRUNE

    wanted = [name for name in MODELS_TO_PRUNE if any(part.lower() in name.lower() for part in arguments.models)]
    if not wanted:
        raise SystemExit(f"Expected --models among {list(MODELS_TO_PRUNE)}. Received: {arguments.models}.")
    rows = read(arguments.csv)
    for name in wanted:
        for backend in arguments.backends:
            known = [row for row in rows if (row["model"], row["backend"]) == (name, backend)]
            if known and not arguments.again:
                continue
            rows = [row for row in rows if row not in known] + [cell(name, backend)]
            order = list(MODELS_TO_PRUNE)
            rows.sort(key=lambda row: (order.index(row["model"]), BACKENDS.index(row["backend"])))
            write(arguments.csv, rows)
            print(f"{name} on {backend}: {rows_reason(rows, name, backend)}", flush=True)
    print(markdown(rows))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=program(), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=[""], help="parts of names; default: all")
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=list(BACKENDS))
    parser.add_argument("--csv", type=Path, default=ROOT / "assets" / "results" / "models.csv")
    parser.add_argument("--again", action="store_true", help="run rows that are there already")
    parser.add_argument("--cell", nargs=3, metavar=("WHAT", "MODEL", "FOLDER"), help=argparse.SUPPRESS)
    return parser.parse_args()


def columns() -> list[str]:
    from models_to_prune import ELSEWHERE, STEPS

    return ["model", "backend", "weights", "masked", *STEPS, ELSEWHERE, "reason"]


def cell(name: str, backend: str) -> dict[str, str]:
    """The row of one model on one backend."""
    from models_to_prune import ELSEWHERE, MODELS_TO_PRUNE

    row = dict.fromkeys(columns(), "") | {"model": name, "backend": backend}
    missing = MODELS_TO_PRUNE[name].missing()
    if importlib.util.find_spec(backend) is None:
        missing = f"skipped: {backend} is not installed"
    if missing:
        return row | {"reason": missing}
    with tempfile.TemporaryDirectory() as folder:
        row |= process("here", name, folder, backend)
        other = next((each for each in after(backend) if importlib.util.find_spec(each)), None)
        if row["reason"] or other is None:
            return row | {"reason": row["reason"] or f"skipped {ELSEWHERE}: there is none"}
        return row | process("elsewhere", name, folder, other)


def after(backend: str) -> list[str]:
    """The other backends, the next first."""
    place = BACKENDS.index(backend)
    return [*BACKENDS[place + 1 :], *BACKENDS[:place]]


def process(what: str, name: str, folder: str, backend: str) -> dict[str, str]:
    """Columns that one process fills."""
    command = [sys.executable, __file__, "--cell", what, name, folder]
    environment = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return {"reason": f"{what}: stopped after {SECONDS} s"}
    filled: dict[str, str] = {}
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            filled |= json.loads(line)
    if done.returncode and "reason" not in filled:
        filled["reason"] = f"{what}: exit {done.returncode}: {(done.stderr.strip().splitlines() or [''])[-1]}"
    return filled


def run_cell(what: str, name: str, folder: str) -> None:
    """In a process of its own: prints what has passed as lines of JSON."""
    import models_to_prune as models

    passed = "start"
    try:
        if what == "elsewhere":
            models.load_elsewhere(name, Path(folder))
            print(json.dumps({models.ELSEWHERE: "yes"}))
            return
        print(json.dumps(models.sizes(name)))
        for step in models.steps(name, Path(folder)):
            passed = step
            print(json.dumps({step: "yes"}), flush=True)
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        print(json.dumps({"reason": f"{what}, after '{passed}': {reason}"}))


def read(path: Path) -> list[dict[str, str]]:
    from kerasticket.files.rows import read_rows

    return read_rows(path, tuple(columns()))


def write(path: Path, rows: list[dict[str, str]]) -> None:
    from kerasticket.files.rows import write_rows

    write_rows(rows, path)
    with atomic(path.with_suffix(".md")) as temporary:
        temporary.write_text(markdown(rows))


def rows_reason(rows: list[dict[str, str]], name: str, backend: str) -> str:
    row = next(row for row in rows if (row["model"], row["backend"]) == (name, backend))
    return row["reason"] or "all passed"


def markdown(rows: list[dict[str, str]]) -> str:
    """The table; a step that has not passed has no tick but the reason, or a dash after it."""
    from models_to_prune import ELSEWHERE, STEPS

    heads = ["model", "backend", "weights", "masked", *STEPS, ELSEWHERE]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in rows:
        cells = [row["model"], row["backend"], row["weights"], row["masked"]]
        missing = False
        for step in heads[4:]:
            cells.append("yes" if row[step] == "yes" else "-" if missing else row["reason"].replace("|", "/"))
            missing = missing or row[step] != "yes"
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    with door():
        main()
