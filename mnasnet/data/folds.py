"""Cross-validation's splits: every image validates once, so that few images give an accuracy worth reading."""

from __future__ import annotations

from collections import defaultdict

from mnasnet.data.folder import Dataset, Sample
from mnasnet.data.split import Split, seeded_rank
from mnasnet.errors import DataError


def folds(dataset: Dataset, count: int, *, seed: int = 0) -> list[Split]:
    """``count`` splits of the training and validation images; the images of each class are dealt out evenly.

    A class with a single image trains in every fold and validates in none. Test images stay test images. The choice
    depends on the seed and the relative paths alone. Raises DataError where ``count`` is less than 2 or no class has
    that many images, so that a fold would validate nothing.
    """
    by_class: dict[str, list[Sample]] = defaultdict(list)
    samples = sorted((*dataset.train, *dataset.val))
    for sample in samples:
        by_class[sample.class_name].append(sample)
    most = max(map(len, by_class.values()), default=0)
    if not 2 <= count <= most:
        raise DataError(
            f"folds must be from 2 to {most}, the number of images in the largest class, got {count}; 5 is usual"
        )
    fold_of: dict[Sample, int] = {}
    for members in by_class.values():
        if len(members) > 1:
            dealt = sorted(members, key=lambda sample: seeded_rank(sample.path, seed))
            fold_of |= {sample: place % count for place, sample in enumerate(dealt)}
    return [
        Split(
            class_names=dataset.class_names,
            train=tuple(sample for sample in samples if fold_of.get(sample) != number),
            val=tuple(sample for sample in samples if fold_of.get(sample) == number),
            test=dataset.test,
            made_by="seed",
            val_fraction=1 / count,
            seed=seed,
            notes=(f"fold {number + 1} of {count}",),
        )
        for number in range(count)
    ]
