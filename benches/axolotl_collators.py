"""The padding collators, against Axolotl's own: interleaved minima.

    python benches/axolotl_collators.py [--quick] [--only COLLATOR]

Both get the same fresh features in each call; ours is the dispatched form, as it is installed.
"""

import functools
import random
from typing import Any

import seam_bench

import fast_axolotl  # noqa: F401
from fast_axolotl.axolotl.seams.collators import SEAMS, _collator, _feature

BATCHES = [(8, 8192), (2, 2048), (16, 512), (8, 64), (4, 16), (1, 8), (1, 1)]
GOALS: dict[str, dict[tuple[int, int], float]] = {
    "pad_collator": {(8, 8192): 20, (2, 2048): 5},
    "batch_sampler_collator": {(8, 8192): 20},
    "v2_batch_sampler_collator": {(8, 8192): 10},
    "pretraining_collator": {(8, 8192): 20},
}


def rows_of(kind: str, rows: int, length: int, form: str) -> list[Any]:
    import numpy

    drawn = random.Random(0)
    features: list[Any] = [
        _feature(max(1, length - drawn.randrange(length // 8 + 1))) for _ in range(rows - 1)
    ]
    features.append(_feature(length))
    if form == "arrays":
        features = [{k: numpy.array(v) for k, v in feature.items()} for feature in features]
    if kind == "pretraining_collator":
        return [{key: [each[key] for each in features] for key in features[0]}]
    if kind == "pad_collator":
        return features
    return [features]


def fresh(kind: str, features: list[Any]) -> Any:
    if kind == "pad_collator":
        return [dict(feature) for feature in features]
    return features[0] if kind == "pretraining_collator" else features


def batches(name: str, quick: bool) -> list[seam_bench.Row]:
    import axolotl.utils.collators.batching  # noqa: F401

    rows = []
    for seam in SEAMS:
        if seam.name != name:
            continue
        stock, ours = seam_bench.seam(seam.name)
        collator = _collator(seam.attribute.split(".")[0])
        for count, length in BATCHES[: 2 if quick else None]:
            for form in ("lists", "arrays"):
                features = rows_of(seam.name, count, length, form)
                small = count * length < 5000
                rows.append(
                    seam_bench.compare(
                        f"{seam.name}, {count} x {length}, {form}",
                        stock,
                        ours,
                        lambda c=collator, n=seam.name, f=features: (c, fresh(n, f)),
                        GOALS[seam.name].get((count, length)) if form == "lists" else None,
                        rounds=(3 if quick else 6) * (3 if small else 1),
                        number=20,
                    )
                )
    return rows


if __name__ == "__main__":
    seam_bench.run(
        __doc__,
        "axolotl_collators.json",
        {seam.name: functools.partial(batches, seam.name) for seam in SEAMS},
    )
