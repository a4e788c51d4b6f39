"""Second derivatives along single weights by second-order Taylor mode."""

from kerasticket.analysis.taylor.lines import AlongLines

__all__ = ["AlongLines"]
