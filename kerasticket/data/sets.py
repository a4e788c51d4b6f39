"""The distilled sets that travel with the package, by name."""

from pathlib import Path

from kerasticket.checks import suggestion

# In a wheel they lie within the package, in a checkout at its top; pyproject.toml copies them.
_PACKAGE = Path(__file__).parents[1]
IN_A_CHECKOUT = Path("assets/distilled")
_FOLDERS = (_PACKAGE / "assets" / "distilled", _PACKAGE.parent / "assets" / "distilled")


def distilled_sets() -> list[str]:
    """Names of the distilled sets that come with kerasticket; `DistilledSet.load` takes them in place of a path.

    The number of images per class (ipc) and how each was made is in the set itself: `method`, `settings`, `accuracy`.

    Example:
        >>> import kerasticket as kt
        >>> "digits_ipc10" in kt.data.distilled_sets()
        True
        >>> len(kt.data.DistilledSet.load("digits_ipc10").images)
        100
    """
    return sorted(_files())


def located(path: str | Path) -> Path:
    """The file of that name among ours, or the path itself: a file that exists, and all that has a folder or a suffix.

    "assets/distilled/NAME.h5", as it lies in a checkout, is found outside one too.

    Raises:
        ValueError: it is a bare name, and neither a file nor one of ours.
    """
    path, known = Path(path), _files()
    if path.parent == IN_A_CHECKOUT and not path.exists():
        return known.get(path.stem, path)
    if path.suffix or path.parent != Path() or path.is_file():
        return path
    if path.name not in known:
        raise ValueError(
            f"Expected the path of a distilled set, or one of {sorted(known)}. Received: '{path}', which is neither."
            f"{suggestion(path.name, known)}"
        )
    return known[path.name]


def file_of(path: str | Path) -> Path | None:
    """As `located`; None if there is no such file."""
    try:
        found = located(path)
    except ValueError:
        return None
    return found if found.is_file() else None


def _files() -> dict[str, Path]:
    return {file.stem: file for folder in _FOLDERS for file in folder.glob("*.h5")}
