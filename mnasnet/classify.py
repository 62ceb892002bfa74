"""Classify images: load once, predict often, from arrays, files, folders of any length and videos."""

from __future__ import annotations

import io
import itertools
import logging
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image as PILImage

from mnasnet.checks import is_whole, plain
from mnasnet.data.images import read_image, to_rgb
from mnasnet.data.threads import in_threads
from mnasnet.data.transforms import prepare
from mnasnet.data.unreadable import reason_of
from mnasnet.errors import DataError, SettingsError, WeightsError
from mnasnet.export.exported import ExportedModel
from mnasnet.files import expanded
from mnasnet.machine import usable_cores
from mnasnet.modelfile import ModelFile
from mnasnet.preprocess import MAX_INPUT_SIZE, MIN_INPUT_SIZE, Preprocess
from mnasnet.runtime.passes import in_passes
from mnasnet.runtime.session import Precision, Runtime, Session, open_session
from mnasnet.words import UNKNOWN

Image = NDArray[Any] | PILImage | str | Path
_log = logging.getLogger(__name__)

#: what is one image or none at all, though some of it could be gone through
_ONE = (str, Path, PILImage, bytes, bytearray, memoryview, io.IOBase)
_Item = TypeVar("_Item")
_Model = TypeVar("_Model", bound=ModelFile | ExportedModel)


@dataclass(frozen=True, slots=True)
class Prediction:
    """Class names with their confidences, 0 to 1, most likely first."""

    names: tuple[str, ...]
    confidences: tuple[float, ...]
    is_unknown: bool = False  # less sure than was asked for

    @property
    def label(self) -> str:
        """The most likely class, or ``unknown``."""
        return UNKNOWN if self.is_unknown else self.names[0]

    @property
    def confidence(self) -> float:
        """The confidence of the most likely class."""
        return self.confidences[0]

    @property
    def pairs(self) -> tuple[tuple[str, float], ...]:
        """Each class with its confidence, most likely first."""
        return tuple(zip(self.names, self.confidences, strict=True))

    @property
    def shown_pairs(self) -> tuple[tuple[str, float], ...]:
        """The pairs to show on an image: nothing but ``unknown`` when that is the label."""
        return ((self.label, self.confidence),) if self.is_unknown else self.pairs

    def or_unknown(self, threshold: float) -> Prediction:
        """This prediction, its label ``unknown`` when it is less sure than ``threshold``; its classes stay."""
        return self if self.confidence >= threshold else replace(self, is_unknown=True)


@dataclass(frozen=True, slots=True)
class FileResult:
    """What became of one file: a prediction, or the reason there is none."""

    path: Path
    prediction: Prediction | None = None
    error: str = ""


class Classifier:
    """A network ready to classify, with its class names and preprocessing."""

    def __init__(
        self,
        model: ModelFile | ExportedModel,
        *,
        input_size: int | None = None,
        runtime: Runtime | Literal["auto"] = "auto",
        device: Literal["auto", "cpu", "cuda"] = "auto",
        precision: Precision = "fp32",
        threads: int | None = None,
    ) -> None:
        if not isinstance(model, (ModelFile, ExportedModel)):
            raise SettingsError(
                f"Classifier takes a model that is open, got {type(model).__name__}; give names and files to "
                "Classifier.load"
            )
        if model.in_channels != 3:
            raise SettingsError(
                f"images have 3 channels, this network takes {model.in_channels}; take it as a torch network by "
                "modelfile.network_of"
            )
        input_size, threads = plain(input_size), plain(threads)
        if input_size is not None:
            if not is_whole(input_size) or not MIN_INPUT_SIZE <= input_size <= MAX_INPUT_SIZE:
                raise SettingsError(
                    f"input_size must be a whole number from {MIN_INPUT_SIZE} to {MAX_INPUT_SIZE}, got {input_size!r}"
                )
            model = at_size(model, input_size)
        self.model = model
        self._threads = usable_cores() if threads is None else threads
        self._options: dict[str, Any] = {"runtime": runtime, "device": device, "precision": precision}
        self._session = self._opened(self._threads)
        self._bulk_session: Session | None = None

    def __getstate__(self) -> dict[str, Any]:
        """What another process needs to open it again: a session itself cannot be sent there."""
        return {"model": self.model, "threads": self._threads, "options": self._options}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.model, self._threads, self._options = state["model"], state["threads"], state["options"]
        self._session = self._opened(self._threads)
        self._bulk_session = None

    @classmethod
    def load(
        cls,
        model: str | Path | None = "auto",
        *,
        class_file: str | Path | None = None,
        input_size: int | None = None,
        runtime: Runtime | Literal["auto"] = "auto",
        device: Literal["auto", "cpu", "cuda"] = "auto",
        precision: Precision = "fp32",
        threads: int | None = None,
    ) -> Classifier:
        """Open a model and make it ready.

        ``model`` is the bundled model (``auto``, ``photos10`` or None), the name of published weights, any weights or
        model file, or an exported ``.onnx``, ``.xml``, ``.tflite`` or ``.pte``; ``class_file`` has one class name
        a line and is needed only where the weights carry none. The other options are those of the constructor.
        """
        from mnasnet.zoo import open_runnable

        if model is not None and not isinstance(model, (str, os.PathLike)):
            raise SettingsError(
                f"Classifier.load takes a name or a file, got {type(model).__name__}; give a model that is open to "
                "Classifier"
            )
        return cls(
            open_runnable("auto" if model is None else model, class_file=class_file),
            input_size=input_size,
            runtime=runtime,
            device=device,
            precision=precision,
            threads=threads,
        )

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes in the order of the network's outputs."""
        return self.model.class_names

    @property
    def preprocess(self) -> Preprocess:
        """How an image becomes the network's input."""
        return self.model.preprocess

    @property
    def description(self) -> str:
        """The engine in words: runtime and version, device, precision, threads."""
        return self._session.description

    def predict(self, images: Iterable[Image] | Image, top_k: int = 5) -> list[Prediction]:
        """Classify ``images`` in one batch; a single image is a batch of one.

        An image is a path, or an array or Pillow image as :func:`mnasnet.data.images.to_rgb` takes it. Raises
        DataError when one cannot be read; see :meth:`classify_files` for the way that goes on.
        """
        _require_top_k(top_k)
        is_one = isinstance(images, _ONE) or (isinstance(images, np.ndarray) and images.ndim < 4)
        several: Iterable[Image] = (images,) if is_one or not isinstance(images, Iterable) else images  # type: ignore[assignment]
        prepared = [self.prepare(image) for image in several]
        return self._predict_prepared(prepared, top_k, self._session) if prepared else []

    def prepare(self, image: Image) -> NDArray[np.uint8]:
        """The square RGB image, S x S x 3, that the network sees."""
        if isinstance(image, (str, Path)):
            image = read_image(expanded(image), min_side=self.preprocess.resize)
        elif isinstance(image, memoryview):
            image = np.asarray(image)
        elif isinstance(image, io.IOBase):
            raise DataError(
                "an image is a path, an array or a Pillow image, got an open file; open it by PIL.Image.open"
            )
        return prepare(to_rgb(image), self.preprocess)

    def classify_files(
        self, paths: Iterable[str | Path] | str | Path, top_k: int = 5, batch_size: int = 16
    ) -> Iterator[FileResult]:
        """Classify any number of files, in order, with flat memory; a bad file gives its reason and no more.

        Each core reads, prepares and classifies batches of its own. A single path is one file.
        """
        _require_top_k(top_k)
        batch_size = plain(batch_size)
        if not is_whole(batch_size) or batch_size < 1:
            raise SettingsError(f"batch_size must be a whole number >= 1, got {batch_size!r}")
        files = map(_as_path, [paths] if isinstance(paths, (str, Path)) else paths)
        if self._bulk_session is None:
            self._bulk_session = self._opened(1)
        session = self._bulk_session

        def classify(batch: tuple[Path, ...]) -> list[FileResult]:
            return self._classify_batch(batch, top_k, session)

        for results in in_threads(classify, _batched(files, batch_size), threads=self._threads):
            yield from results

    def _opened(self, threads: int) -> Session:
        session = open_session(self.model, threads=threads, **self._options)
        return in_passes(session, self.preprocess.input_size)

    def _classify_batch(self, paths: tuple[Path, ...], top_k: int, session: Session) -> list[FileResult]:
        prepared, results = [], []
        for path in paths:
            try:
                prepared.append(self.prepare(path))
                results.append(FileResult(path))
            except DataError as error:
                results.append(FileResult(path, error=reason_of(error)))
        predictions = iter(self._predict_prepared(prepared, top_k, session)) if prepared else iter(())
        return [result if result.error else replace(result, prediction=next(predictions)) for result in results]

    def _predict_prepared(self, prepared: list[NDArray[np.uint8]], top_k: int, session: Session) -> list[Prediction]:
        batch = prepared[0][np.newaxis] if len(prepared) == 1 else np.stack(prepared)
        scores = session.run(batch)
        # the sum of squares is a number only where all scores are, or very large ones overflow
        if not math.isfinite(np.vdot(scores, scores)) and not np.isfinite(scores).all():
            raise WeightsError(
                f"{self.model.name or 'the network'} gives scores that are no numbers, so its weights are damaged or "
                "its training diverged; give an earlier file"
            )
        return [self._most_likely(row, top_k) for row in softmax(scores)]

    def _most_likely(self, probabilities: NDArray[np.float32], top_k: int) -> Prediction:
        """The best ``top_k`` classes of one image, equal ones in class order; uses ``probabilities`` up."""
        names, confidences = [], []
        for _ in range(min(top_k, len(probabilities))):
            best = int(probabilities.argmax())  # a few maxima cost less than a sort of 1,000 classes
            names.append(self.class_names[best])
            confidences.append(float(probabilities[best]))
            probabilities[best] = -1
        return Prediction(tuple(names), tuple(confidences))


def _as_path(path: object) -> Path:
    if isinstance(path, (str, os.PathLike)):
        return expanded(Path(path))
    raise DataError(f"classify_files takes paths, got {type(path).__name__}; give arrays and images to predict")


def _require_top_k(top_k: object) -> None:
    if not isinstance(top_k, (int, np.integer)) or isinstance(top_k, bool) or top_k < 1:
        raise SettingsError(f"top_k must be a whole number >= 1, got {top_k!r}")


def at_size(model: _Model, input_size: int | None) -> _Model:
    """``model`` for another input size, or the nearest one where its header says which sizes it is made for.

    Raises SettingsError for an exported file, whose size is fixed.
    """
    if input_size is None or input_size == model.preprocess.input_size:
        return model
    if isinstance(model, ExportedModel):
        raise SettingsError(
            f"an exported file has one input size, this one {model.preprocess.input_size} px, got {input_size}; "
            "leave it out, or export the model again with --input-size"
        )
    smallest, largest = model.training.get("input_sizes", (input_size, input_size))
    usable = min(max(input_size, smallest), largest)
    if usable != input_size:
        sizes = f"{smallest} px" if smallest == largest else f"{smallest} to {largest} px"
        _log.warning(
            "%s is made for %s: it works at %d px, and input_size %d is not used", model.name, sizes, usable, input_size
        )
    return replace(model, preprocess=model.preprocess.at(usable))


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities, N x classes, from scores; safe for large scores."""
    probabilities: NDArray[np.float32] = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return probabilities


def _batched(items: Iterable[_Item], size: int) -> Iterator[tuple[_Item, ...]]:
    iterator = iter(items)
    while batch := tuple(itertools.islice(iterator, size)):
        yield batch
