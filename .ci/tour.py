"""Runs the first block of Python of a README, as a reader would who pastes it: python tour.py README.md"""

import re
import sys
from pathlib import Path

import kerasticket as kt

block = re.search(r"```python\n(.*?)```", Path(sys.argv[1]).read_text(), re.DOTALL)
if block is None:
    raise SystemExit("The README has no block of Python.")
print(f"the tour, with the kerasticket in {Path(kt.__file__).parent}")
exec(block[1], {"__name__": "__main__"})
