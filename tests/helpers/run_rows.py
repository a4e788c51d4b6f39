"""Rows of a run that are made by hand: two initializations, every kind."""


def row(kind: str, round: int, accuracy: float, seed: int = 0, **images) -> dict:
    sparsity = 1 - 0.8**round
    return {"kind": kind, "round": round, "init_seed": seed, "sparsity": sparsity, "accuracy": accuracy} | {
        "stored": images.get("stored", 0),
        "decoded": images.get("decoded", 0),
    }


ROWS = [
    *(row("dense", 0, accuracy, seed) for seed, accuracy in enumerate((0.90, 0.92))),
    *(row("imp", 1, accuracy, seed, stored=5000, decoded=5000) for seed, accuracy in enumerate((0.90, 0.93))),
    *(row("imp", 2, accuracy, seed, stored=9000, decoded=9000) for seed, accuracy in enumerate((0.90, 0.909))),
    *(row("imp", 3, accuracy, seed, stored=12000, decoded=12000) for seed, accuracy in enumerate((0.91, 0.90))),
    row("synthetic", 1, 0.95, stored=10, decoded=40),
    row("random", 1, 0.5),
]
