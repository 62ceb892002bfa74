"""The inference task: an image or the objects in it in, class names out."""

import copy
import logging
import sys
from pathlib import Path
from time import perf_counter

from ikomia import core, dataprocess

NAME = "infer_torchvision_mnasnet"
NEEDS = "1.0.0"  # the oldest mnasnet package this plugin works with
FOLDER = Path(__file__).parent
CHECKOUT = FOLDER.resolve().parent
SOURCE = f'-e "{CHECKOUT}"' if (CHECKOUT / "pyproject.toml").exists() else f'-r "{FOLDER / "requirements.txt"}"'
EMBEDDED = not Path(sys.executable or "").name.lower().startswith("python")  # in a program such as STUDIO
PYTHONS = [Path(sys.prefix) / name for name in ("python.exe", "Scripts/python.exe", "bin/python3", "bin/python")]
PYTHON = next((path for path in PYTHONS if EMBEDDED and path.is_file()), sys.executable)
CURE = f'"{PYTHON}" -m pip install {SOURCE}'

try:
    from mnasnet.plugin.labels import (
        annotated,
        as_dict,
        class_colors,
        confidence_text,
        rounded,
        show_pairs,
    )
    from mnasnet.plugin.metadata import describe
    from mnasnet.plugin.objects import announce_objects, has_detector, input_objects, without_parts
    from mnasnet.plugin.params import SettingsParam, workflow_text
    from mnasnet.plugin.printing import lines_on_stdout
    from mnasnet.plugin.task import (
        ResultsIO,
        connected_path,
        input_image,
        is_saved_film,
        require_version,
        running,
        told_of_films,
    )
    from mnasnet.settings import InferSettings
    from mnasnet.words import UNKNOWN
except ImportError as error:
    lacking = (error.name or "").partition(".")[0]
    if not lacking:
        raise
    raise ImportError(
        f"{NAME}: the package {lacking} is missing or too old; run this command and restart Ikomia: {CURE}"
    ) from error

_log = logging.getLogger("mnasnet.plugin")

MODEL_INPUT = 2
# settings that need no new model
AFTER_LOADING = {"top_k": 1, "confidence_threshold": 0.0, "label_style": "none", "draw_on_image": False}
NOTHING_TO_NAME = (
    "no objects came from the task before, so there is nothing to classify; to name the whole image add this task "
    "without auto_connect and call wf.connect_tasks(wf.root(), task)"
)
NOTHING_INSIDE = (
    "no object of the task before has 2 x 2 pixels or more inside the image, so there is nothing to classify; its "
    "boxes must be in pixels of this image"
)
SOME_LEFT_OUT = (
    "some objects of the task before have less than 2 x 2 pixels inside the image and get no name; left_out in output "
    "4 lists the id of each"
)
SWAPPED_COLOURS = (
    "Ikomia saves the film of the task before, which swaps red and blue in the frames that it hands over: names may be "
    "wrong; leave that film out, with task_before.set_auto_save(False) after wf.set_auto_save(True)"
)
MAX_BATCH = 64  # objects in one forward pass; bounds memory on crowded frames


class InferTorchvisionMnasnetParam(SettingsParam):
    kind = InferSettings


class InferTorchvisionMnasnetParamFactory(dataprocess.CTaskParamFactory):
    def __init__(self):
        dataprocess.CTaskParamFactory.__init__(self)
        self.name = NAME

    def create(self):
        return InferTorchvisionMnasnetParam()


class InferTorchvisionMnasnet(dataprocess.CClassificationTask):
    def __init__(self, name, param):
        dataprocess.CClassificationTask.__init__(self, name)
        require_version(NAME, NEEDS, CURE)
        self.add_input(dataprocess.CPathIO(core.IODataType.FILE_PATH))  # the model file of a training task, or nothing
        self.add_output(ResultsIO())
        self.set_param_object(InferTorchvisionMnasnetParam() if param is None else copy.deepcopy(param))
        self._classifier = None
        self._loaded_for = None
        self._boxes = None  # of the objects that the last run named; None when it named the whole image
        self._results = []
        self._frame = None  # of a film that Ikomia saves: the picture of the last run as it was before that
        self._ran_with = None  # settings of the last run
        self._told = set()  # lines, so that a film does not repeat them with each frame
        self._stopped = False
        self.beginning = False  # kept by running()

    def set_parameters(self, values):
        """Take typed or text values under today's or old names; an unknown name or a wrong value raises."""
        super().set_parameters(workflow_text(self.get_param_object(), values))

    def get_progress_steps(self):
        return 1

    def init_long_process(self):
        """Load the model before the first image, when the user asks for that."""
        if not self.beginning:  # within a run an error would be wrapped twice; run loads by itself
            self._classifier_for(self.get_param_object().settings)
        super().init_long_process()

    def begin_task_run(self):
        if self.get_input(0) is None:  # Ikomia's own refusal does not say what is missing; run does
            self.set_input(dataprocess.CImageIO(), 0)
        super().begin_task_run()

    def stop(self):
        super().stop()
        self._stopped = True

    def run(self):
        self._stopped = False
        self._results, self._boxes, self._frame = [], None, None
        self._ran_with = settings = self.get_param_object().settings
        with running(self), told_of_films(self):
            image = input_image(self, connected_path(self, MODEL_INPUT))
            if is_saved_film(self.get_input(0)):
                self._tell_once(SWAPPED_COLOURS, logging.WARNING)
            classifier = self._classifier_for(settings)
            has_objects = has_detector(self) or not self.is_whole_image_classification()
            announce_objects(self, has_objects=has_objects)
            if has_objects:
                self._name_objects(classifier, image, settings)
            else:
                self._name_image(classifier, image, settings)
        if self._stopped:
            return
        self._show(self._annotated(image, settings) if settings.draw_on_image else image, settings)

    def _show(self, picture, settings):
        """Put what Ikomia has not put there by itself into the image output.

        Saving a film swaps red and blue in the very frame that all tasks share, so it gets one of its own.
        """
        output = self.get_output(0)
        if is_saved_film(output):
            self._frame = picture
            output.set_image(picture.copy())
        elif settings.draw_on_image or output.get_image() is None:  # None: a file that only our reader can read
            output.set_image(picture)

    def get_image_with_graphics(self):
        """The image with its labels: sharp at any size and in any script, which Ikomia's own drawing is not."""
        image = self.get_output(0).get_image()
        if image is not None and self._frame is not None:
            image = self._frame
        if image is None or self._ran_with is None or self._ran_with.draw_on_image:
            return image
        return self._annotated(image, self._ran_with)

    def get_results(self):
        """(class, confidence) pairs of the last run: the most likely classes of the image, or the label of each object.

        Output 4 has everything as JSON. Empty where the last run ended before this task, as its outputs then are.
        """
        return rounded(self._results) if self.get_output(4).data else []

    def _tell_once(self, line, level=logging.INFO):
        if line not in self._told:
            self._told.add(line)
            with lines_on_stdout():
                _log.log(level, line)

    def _annotated(self, image, settings):
        return annotated(image, self._results, self._boxes, settings.label_style)

    def _classifier_for(self, settings):
        """Load again only when something differs that the loaded classifier depends on, the files' content included."""
        from mnasnet.zoo import carries_names, files_of

        connected = connected_path(self, MODEL_INPUT)
        model = connected or settings.model_weight_file
        files = tuple(_state_of(path) for path in (*files_of(model), settings.class_file))
        wanted = (settings.model_copy(update=AFTER_LOADING), model, files)
        if wanted != self._loaded_for:
            from mnasnet.classify import Classifier  # the engines start here, not with Ikomia

            own, class_file = settings.model_weight_file, settings.class_file
            if connected and own not in ("", connected):
                self._tell_once(f"{connected} comes from the task before, so model_weight_file {own} is not read")
            if connected and class_file and carries_names(connected):
                self._tell_once(f"the model of the task before has class names, so class_file {class_file} is not read")
                class_file = ""
            with lines_on_stdout():
                self._classifier = Classifier.load(
                    model or settings.model_name,
                    class_file=class_file or None,
                    input_size=settings.input_size or None,
                    runtime=settings.runtime,
                    device=settings.device,
                    precision=settings.precision,
                )
            self._loaded_for = wanted
            names = [*self._classifier.class_names, UNKNOWN]
            self.set_names(names)
            self.set_colors(class_colors(names))
            if not model and settings.model_name == "auto":
                self._tell_once(
                    f"model_name auto is {self._classifier.model.name}, which knows {', '.join(names[:-1])}; "
                    "for ImageNet's 1000 classes set model_name to mnasnet1_0"
                )
        return self._classifier

    def _name_image(self, classifier, image, settings):
        start = perf_counter()
        prediction = classifier.predict([image], settings.top_k)[0]
        self._report(classifier, start, **as_dict(prediction, settings.confidence_threshold))
        shown = prediction.or_unknown(settings.confidence_threshold)
        rows = [(shown.label, shown.confidence)] if shown.is_unknown else []
        rows += shown.pairs
        self.set_whole_image_results([name for name, _ in rows], [confidence_text(value) for _, value in rows])
        self._results = list(shown.shown_pairs)
        drawn_elsewhere = settings.draw_on_image or settings.label_style == "none"
        show_pairs(self.get_output(2), NAME, [] if drawn_elsewhere else self._results, image.shape)

    def _name_objects(self, classifier, image, settings):
        start = perf_counter()
        items = without_parts(self.get_input_objects())
        objects = input_objects(items, image)
        named = {found.item.get_id() for found in objects}
        left_out = [item.get_id() for item in items if item.get_id() not in named]
        if not objects:
            self._tell_once(NOTHING_INSIDE if items else NOTHING_TO_NAME)
        elif left_out:
            self._tell_once(SOME_LEFT_OUT)
        predictions = []
        for first in range(0, len(objects), MAX_BATCH):
            if self._stopped:
                return
            batch = [found.pixels for found in objects[first : first + MAX_BATCH]]
            predictions += classifier.predict(batch, settings.top_k)
        threshold = settings.confidence_threshold
        described = [
            {"id": found.item.get_id(), "box": list(found.box), **as_dict(prediction, threshold)}
            for found, prediction in zip(objects, predictions)
        ]
        self._report(classifier, start, objects=described, left_out=left_out)
        shown = [prediction.or_unknown(threshold) for prediction in predictions]
        indices = {name: index for index, name in enumerate(classifier.class_names)}
        for found, prediction in zip(objects, shown):
            index = len(classifier.class_names) if prediction.is_unknown else indices[prediction.label]
            self.add_object(found.item, index, round(prediction.confidence, 3))
        self._results = [prediction.shown_pairs[0] for prediction in shown]
        if shown:
            confidences = [confidence_text(prediction.confidence) for prediction in shown]
            self.get_output(3).add_value_list(confidences, "Confidence", [prediction.label for prediction in shown])
        self._boxes = [found.box for found in objects]

    def _report(self, classifier, start, **results):
        """Fill the JSON output; ``ms`` is preparation and network together, without reading the file."""
        self.get_output(4).data = {
            "model": classifier.model.name,
            "engine": classifier.description,
            "input_size": classifier.preprocess.input_size,
            "ms": round(1000 * (perf_counter() - start), 1),
            **results,
        }


class InferTorchvisionMnasnetFactory(dataprocess.CTaskFactory):
    def __init__(self):
        dataprocess.CTaskFactory.__init__(self)
        describe(
            self.info,
            name=NAME,
            version="3.0.0",
            short_description="Classify images and detected objects with MnasNet, offline from the first run",
            keywords="classification,mnasnet,mobile,edge,onnx,openvino,torchvision",
            algo_type=core.AlgoType.INFER,
            algo_tasks="CLASSIFICATION",
            min_cpu=1,
            min_ram_gb=2,
        )

    def create(self, param=None):
        return InferTorchvisionMnasnet(self.info.name, param)


def _state_of(path):
    """What changes with a file's content: its size and times; a copy may keep the first time, never the second."""
    if not path:
        return None  # Path("") would be the working folder
    try:
        status = Path(path).stat()
    except (OSError, ValueError):
        return None  # a missing file, or no path at all: Classifier.load says so
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns
