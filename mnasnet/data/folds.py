"""Cross-validation's splits: every image validates once, so that few images give an accuracy worth reading."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from mnasnet.data.folder import Dataset, Sample
from mnasnet.data.split import Grouping, Split, seeded_rank, sequence_of
from mnasnet.errors import DataError

_Sequences = dict[str, list[Sample]]  # what stays together -> its images of one class


def folds(
    dataset: Dataset,
    count: int,
    *,
    seed: int = 0,
    grouping: Grouping = "images",
    identical: Iterable[Sequence[str]] = (),
) -> list[Split]:
    """``count`` splits of the training and validation images; the images of each class are dealt out evenly.

    What a class leaves over goes to the folds that are smallest so far, so that all validate about as many images.
    The paths of each group in ``identical``, files of the same content, are dealt out together; with
    ``grouping="frames"`` the frames of one video are. A class with a single image, or a single video, trains in every
    fold and validates in none. Test images stay test images. The choice depends on the seed, the relative paths and
    ``identical`` alone. Raises DataError where ``count`` is less than 2 or a fold would validate nothing.
    """
    by_class: dict[str, _Sequences] = defaultdict(lambda: defaultdict(list))
    samples = sorted((*dataset.train, *dataset.val))
    keys = _kept_together(samples, grouping, identical)
    for sample, key in zip(samples, keys, strict=True):
        by_class[sample.class_name][key].append(sample)
    most = max(map(len, by_class.values()), default=0)
    things = "videos" if grouping == "frames" else "different images"
    if most < 2:
        raise DataError(
            f"folds need a class of two {things} or more, one to train and one to validate, and no class here has two"
        )
    if not 2 <= count <= most:
        raise DataError(
            f"folds must be from 2 to {most}, the number of {things} in the largest class, got {count}; 5 is usual"
        )
    fold_of = _dealt(by_class, count, seed)
    folds_of = [fold_of[key] for key in keys]
    empty = sorted(set(range(count)) - set(folds_of))
    if empty:
        raise DataError(
            f"folds must be fewer than {count}: classes share images or videos, and fold {empty[0] + 1} would validate "
            "nothing"
        )
    return [
        Split(
            class_names=dataset.class_names,
            train=tuple(sample for sample, fold in zip(samples, folds_of, strict=True) if fold != number),
            val=tuple(sample for sample, fold in zip(samples, folds_of, strict=True) if fold == number),
            test=dataset.test,
            made_by="seed",
            val_fraction=1 / count,
            seed=seed,
            grouping=grouping,
            fold=f"fold {number + 1} of {count}",
        )
        for number in range(count)
    ]


def _kept_together(samples: Sequence[Sample], grouping: Grouping, identical: Iterable[Sequence[str]]) -> list[str]:
    """What is equal for samples of one fold; a frame that is in several videos, such as a black one, joins none."""
    if grouping == "frames":
        return [sequence_of(sample, grouping) for sample in samples]
    first = {path: paths[0] for paths in identical for path in paths}
    return [first.get(sample.path, sample.path) for sample in samples]


def _dealt(by_class: dict[str, _Sequences], count: int, seed: int) -> dict[str, int | None]:
    """The fold that each sequence validates in; None for one that trains in every fold."""
    fold_of: dict[str, int | None] = {}
    images_of: Counter[str] = Counter()  # in all classes
    for sequences in by_class.values():
        images_of.update({key: len(images) for key, images in sequences.items()})
    totals = [0] * count
    # the classes with the fewest choose first: a video shared with a larger class is then dealt out already
    for sequences in sorted(by_class.values(), key=len):
        sizes = [0] * count
        keys = sorted(sequences, key=lambda key: (key not in fold_of, seeded_rank(key, seed)))
        for key in keys:
            if key not in fold_of:
                _, total, chosen = min(zip(sizes, totals, range(count), strict=True))
                fold_of[key], totals[chosen] = chosen, total + images_of[key]
            fold = fold_of[key]
            if fold is not None:
                sizes[fold] += len(sequences[key])
        if len({fold_of[key] for key in keys}) == 1:  # one fold would train without this class
            fold = fold_of[keys[-1]]
            if fold is not None:
                totals[fold] -= images_of[keys[-1]]
            fold_of[keys[-1]] = None
    return fold_of
