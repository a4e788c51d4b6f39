"""What a seed is."""


def check_seed(seed: int) -> None:
    """Raises ValueError unless it is a whole number of at least 0."""
    if not (isinstance(seed, int) and seed >= 0):
        raise ValueError(f"Expected a seed that is a whole number of at least 0. Received: seed={seed!r}.")
