"""How good distilled sets are, our own and others': test accuracy of fresh networks trained on them.

    python scripts/evaluate_distilled.py assets/distilled/digits_ipc10.h5 --csv digits.csv --architectures convnet3 resnet10
    python scripts/evaluate_distilled.py images_best.pt --format mtt --dataset cifar10 --width 128 --epochs 200 --learning-rate 0.02

Each set stands beside random real images of the same number, in multi-formation beside real images in its cells, and
with soft labels beside itself with hard ones. Sets of other projects are checked against the real data; for those in
ZCA space the test images are whitened too. With --csv, rows that are there are not measured again, and a run that was
killed goes on where it was, at most minutes back, to the same numbers.
"""  # noqa: E501  (commands that can be pasted)

from kerasticket.backend.quiet import import_keras
from kerasticket.cli.bars import Bars
from kerasticket.cli.flags import read
from kerasticket.experiments.settings import EvaluationSettings


def main(settings: EvaluationSettings) -> None:
    import_keras()
    from kerasticket.experiments.jobs.evaluate import evaluate

    with Bars() as bars:
        evaluate(settings, bars)
    if settings.csv:
        print(f"Results: {settings.csv}")


def run(arguments: list[str]) -> None:
    main(read(EvaluationSettings, arguments, __doc__))
