"""Plain-text tables: columns of equal width, and numbers short enough for them."""

from collections.abc import Sequence


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with the cells of each column below each other, two spaces between columns.

    >>> table([("layer", "units"), ("hidden_1", "8"), ("out", "10")])
    ['layer     units', 'hidden_1  8', 'out       10']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return [line.rstrip() for line in padded]


def short(number: float | None) -> str:
    """Three or four digits and a unit: thousands (k), millions (M), billions (G); "unknown" for None.

    >>> short(812), short(4608), short(999_999), short(37748736), short(None)
    ('812', '4.61k', '1.00M', '37.75M', 'unknown')
    """
    if number is None:
        return "unknown"
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= 0.999995 * size:  # what would be rounded to 1000 of the unit below
            return f"{number / size:.2f}{unit}"
    return f"{number:.0f}"


def shortened(name: str, most: int = 30) -> str:
    """The name itself, or the end of it behind dots.

    >>> shortened("encoder/block_1/attention/query", 20)
    '.../attention/query'
    """
    if len(name) <= most:
        return name
    end = name[-(most - 4) :]
    return f".../{end.partition('/')[2] or end}"
