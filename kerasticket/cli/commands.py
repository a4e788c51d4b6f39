"""All commands by name: `kerasticket NAME ...`, and scripts/ that calls them after what they do."""

import importlib
import sys

from kerasticket.checks import check_choice
from kerasticket.cli.door import door

COMMANDS = {
    "prune": "tickets of IMP, of distilled pruning and random ones, at every sparsity",
    "sweep": "tickets at every point of a grid of settings: accuracy and barrier",
    "distill": "a distilled set of a data set, its accuracy and previews",
    "evaluate": "how good distilled sets are, beside random real images",
    "stability": "barriers between data orders of a run's tickets",
    "ratios": "synthetic over IMP tickets: accuracy against barrier",
    "landscape": "loss and accuracy on a plane through trained networks",
    "hessian": "the diagonal of the Hessian at a run's trained tickets",
    "masks": "overlap, sparsity of each layer, initial magnitudes of what is pruned",
    "compare": "tickets that different distilled sets find",
    "criteria": "IMP, SNIP, GraSP, SynFlow, magnitude and random masks side by side",
    "precision": "what differs between two runs: masks, accuracy, barrier",
    "bench": "speed and memory beside plain PyTorch, from a checkout",
}


def main() -> None:
    """`kerasticket COMMAND FLAGS...`, the program that installing the package makes."""
    arguments = sys.argv[1:]
    name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help"):
        print(_usage())
    else:
        with door():
            check_choice(name, COMMANDS, "command")
        sys.argv = [f"kerasticket {name}", *arguments[1:]]
        run(name)


def run(name: str) -> None:
    """Runs a command with the arguments of this process; errors of files, flags, disk and loss end it in one line."""
    with door():
        importlib.import_module(f"kerasticket.cli.{name}").run(sys.argv[1:])


def _usage() -> str:
    longest = max(map(len, COMMANDS))
    lines = [f"  {name:{longest}}  {does}" for name, does in COMMANDS.items()]
    return "\n".join(["usage: kerasticket COMMAND [FLAGS]; kerasticket COMMAND --help shows its flags", "", *lines])
