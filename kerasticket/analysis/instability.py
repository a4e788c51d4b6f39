"""Instability analysis: are the ends of two trainings that differ in SGD noise alone linearly connected?"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from kerasticket.analysis.connectivity import check_statistics, grid, linear_path
from kerasticket.analysis.objective import Objective
from kerasticket.analysis.results import Instability, Pair
from kerasticket.params import Params
from kerasticket.tickets import masking
from kerasticket.tickets.ticket import Ticket
from kerasticket.training.recipe import Recipe, train


def instability(
    tickets: Ticket | Sequence[Ticket],
    data: Any,
    recipe: Recipe,
    *,
    test: Any = None,
    data_orders: Sequence[int] = (1, 2),
    alphas: int | Sequence[float] = 11,
    statistics: str = "interpolate",
    on_trained: Callable[[int, int, Params], None] | None = None,
) -> Instability:
    """Trains each ticket once per data order and walks the line between the ends of every two of them.

    The instability analysis of Frankle et al. 2020 (arXiv 1912.05671, section 2): the trainings of a ticket
    share initial weights, mask and recipe, and differ in the order of the images, their augmentation and CutMix.
    Loss and accuracy on the lines are those of the images as they are, without augmentation.

    With more than two data orders there is a pair for every two of them. Pairs that share a training are not
    independent, so the standard deviation over them is too small; over tickets of different initializations, and
    over pairs of different data orders, it is not.

    Args:
        tickets: one, or several of one architecture, e.g. of other initializations.
        data: training images, an `ImageSet` or `DistilledSet`.
        recipe: how to train.
        test: images for a second curve beside that of the training images.
        data_orders: seeds of the SGD noise, at least two.
        alphas, statistics: as in `linear_path`. McDermott & Parhi take 11 alphas, Frankle et al. 30.
        on_trained: called with (position of the ticket, data order, trained params) after each training.

    Raises:
        ValueError: fewer than two data orders, or the same twice; whatever `linear_path` refuses.
        FloatingPointError: a training diverges.

    Example:

    >>> import kerasticket as kt
    >>> digits = kt.data.load("digits", images_per_class=4)
    >>> ticket = Ticket.dense(kt.masked(kt.models.convnet(digits.input_shape, 10, width=4, seed=0)))
    >>> result = instability(ticket, digits, Recipe(epochs=1), alphas=2)
    >>> result.curve.alphas.tolist(), result.barrier < 0.1, result.pairs[0].data_orders
    ([0.0, 0.5, 1.0], True, (1, 2))
    """
    tickets = [tickets] if isinstance(tickets, Ticket) else list(tickets)
    _check(tickets, data_orders)
    check_statistics(statistics)
    grid(alphas)
    model = tickets[0].model()
    pipelines = {order: recipe.pipeline(data, order) for order in data_orders}
    recipe.compile(model, pipelines[data_orders[0]])
    objectives = [Objective(model, images) for images in (data, test) if images is not None]
    pairs: list[Pair] = []
    for index, ticket in enumerate(tickets):
        ends: dict[int, Params] = {}
        for order in data_orders:
            ticket.apply(model)
            train(model, pipelines[order], recipe, first_epoch=ticket.rewind_epoch)
            ends[order] = masking.get_params(model)
            if on_trained:
                on_trained(index, order, ends[order])
        for first, second in itertools.combinations(data_orders, 2):
            curves = [
                linear_path(model, ends[first], ends[second], images, alphas=alphas, statistics=statistics)
                for images in objectives
            ]
            pairs.append(Pair(index, (first, second), curves[0], curves[1] if test is not None else None))
    return Instability(tuple(pairs))


def _check(tickets: list[Ticket], data_orders: Sequence[int]) -> None:
    if not tickets or not all(isinstance(ticket, Ticket) for ticket in tickets):
        raise ValueError(f"Expected a Ticket, or a list of some. Received: {tickets!r}.")
    if len(data_orders) < 2 or len(set(data_orders)) < len(data_orders):
        raise ValueError(f"Expected at least two different data orders. Received: data_orders={tuple(data_orders)}.")
