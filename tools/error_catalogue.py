"""The page of errors: what each error of ours means and how to fix it, by situation."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass

import error_examples as mistakes
from error_messages import GAP, Raised, raised

import mnasnet.errors as errors
from mnasnet.errors import MnasNetError

_HEAD = """# Errors

Every error of this package is one sentence: the rule, what was received, the next step. The command line prints it
after `error:` and ends with exit code 2; an Ikomia task shows it in its log and fails; in Python it is an exception
of the family named here, all of them children of `mnasnet.errors.MnasNetError`. The messages on this page were
raised by the code when the page was made; the site that `make docs` makes ends with a list of every message.

Anything that ends in a traceback is our bug:
[please tell us](../CONTRIBUTING.md#report-a-bug).
"""


@dataclass(frozen=True)
class Entry:
    """A situation: its errors share ``meaning`` and ``fix``.

    An error belongs here when its ``family`` is the entry's, or one of ``also``, and one of ``messages``, regular
    expressions, is found in its fixed words; where a message has none, in the place that raises it (file:function).
    ``mistake`` is a call that raises one of them.
    """

    family: type[MnasNetError]
    title: str
    meaning: str
    fix: str
    messages: tuple[str, ...] = ()
    mistake: Callable[[], object] | None = None
    also: tuple[type[MnasNetError], ...] = ()

    def holds(self, error: Raised) -> bool:
        """Whether ``error`` belongs to this entry."""
        if error.family not in {kind.__name__ for kind in (self.family, *self.also)}:
            return False
        return any(re.search(message, error.sign) for message in self.messages)


def entry_of(error: Raised) -> Entry | None:
    """The first entry that ``error`` belongs to."""
    return next((entry for entry in ENTRIES if entry.holds(error)), None)


def error_page() -> str:
    """The page: a table of families, then every family's situations."""
    families = [kind for kind in vars(errors).values() if inspect.isclass(kind) and kind is not MnasNetError]
    lines = [_HEAD, "| Error | Means | Is also a |", "| --- | --- | --- |"]
    for kind in families:
        lines.append(f"| [`{kind.__name__}`](#{kind.__name__.lower()}) | {_meaning(kind)} | `{_also(kind)}` |")
    with mistakes.empty_folder():
        for kind in families:
            lines += ["", f"## {kind.__name__}", "", _meaning(kind)]
            for entry in (entry for entry in ENTRIES if entry.family is kind):
                lines += ["", f"### {entry.title}", "", entry.meaning]
                if entry.mistake:
                    lines += ["", "```text", mistakes.message_of(entry.mistake, kind), "```"]
                lines += ["", f"**Fix:** {entry.fix}"]
    return "\n".join(lines) + "\n"


def messages_page() -> str:
    """A section of Markdown: every message, with the entry that tells its meaning and fix."""
    rows = set()
    for error in raised():
        entry = entry_of(error)
        if entry and error.has_words:
            rows.add(f"| {_cell(error.words)} | [{entry.title}](#{anchor(entry.title)}) |")
    head = ["## Every message", "", f"{GAP} stands for a value: a path, a number, a list of what is valid.", ""]
    return "\n".join([*head, "| Message | Meaning and fix |", "| --- | --- |", *sorted(rows)]) + "\n"


def anchor(title: str) -> str:
    """The anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _meaning(kind: type[MnasNetError]) -> str:
    return (kind.__doc__ or "").strip()


def _also(kind: type[MnasNetError]) -> str:
    """The nearest other class that an ``except`` may name."""
    return next(base.__name__ for base in kind.__mro__[1:] if base is not MnasNetError)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")


ENTRIES = (
    Entry(
        errors.SpecError,
        "A block or network that cannot be built",
        "A number of a block, or of the network around the blocks, breaks a rule.",
        "Change the value that the sentence names. [The paper's space](how_the_search_works.md#the-space) has blocks "
        "that work.",
        (
            "^kernel must be odd",
            "^stride must be",
            "^stem_stride must be",
            "^se_ratio must lie",
            "^skip must be one of",
            "^operator must be one of",
            "^an inverted block needs expansion",
            "^only inverted blocks expand",
            "^an architecture needs at least one block",
            "^bn_epsilon must lie",
            "^width must lie",
            "^num_classes must be",
            "^a network is built of an ArchitectureSpec",
            "^each block must be a BlockSpec",
            "^… must be a whole number >= 1",
            "^… must be at most",
        ),
        mistakes.even_kernel,
    ),
    Entry(
        errors.SpecError,
        "A network under a name that does not exist",
        "The name is none of the published networks; the sentence has the nearest.",
        "`python -m mnasnet models` lists all names.",
        ("^no network is called", "^a published network is called by a name"),
    ),
    Entry(
        errors.SpecError,
        "A text that is no architecture or recipe",
        "JSON of an architecture or of a preprocessing lacks a field, or has one too many.",
        "Take the JSON that this package wrote, such as a search's `winner.json`, or correct the field that is named.",
        ("^not an architecture", "holds no architecture", "^not a preprocessing recipe"),
    ),
    Entry(
        errors.SpecError,
        "A preprocessing that cannot be done",
        "A size, crop, interpolation, mean or standard deviation of the image pipeline is out of bounds.",
        "Change the value that the sentence names. `input_size` and `resize` are pixels; an image is scaled to "
        "`resize`, then cut to `input_size`.",
        (
            "must be a whole number of pixels",
            "^input_size must be",
            "^resize must be",
            "^crop must be one of",
            "^interpolation must be one of",
            "^mean and std need",
            "^std must be",
        ),
    ),
    Entry(
        errors.SpecError,
        "A search space under a name that does not exist",
        "The name is no built-in space, and no file has it.",
        "`python -m mnasnet spaces` lists the built-in ones.",
        ("^no search space and no file is called",),
        mistakes.unknown_space,
    ),
    Entry(
        errors.SpecError,
        "A search space file that cannot be read",
        "The file is missing, may not be read, or is neither YAML nor JSON.",
        "Check the path and the file's rights; an editor that knows YAML shows the line at fault.",
        ("^the space file … cannot be read", "^the space file … is neither", "^the space file … is nested"),
    ),
    Entry(
        errors.SpecError,
        "A search space file with a mistake",
        "A field is misspelt, missing, or holds what it cannot.",
        "Correct the file; [a space of your own](search.md#a-space-of-your-own) has an example.",
        (
            "^space file …",
            "^a search space is a mapping",
            "^schema must be",
            "^unknown field …; a space has",
            "must be text, got",
            "^start must be the name of a network",
            "^a space has either",
            "^a search space needs 'blocks'",
            "^block …: …",
            "must be a mapping such as",
            "has the unknown field",
            "an option is a number or a word",
            "an option must be a finite number",
        ),
        mistakes.misspelt_space_file,
    ),
    Entry(
        errors.SpecError,
        "Options that do not make a choice",
        "A choice needs two or more different options, each of them valid by itself.",
        "Give another option, or write the single value outside of `vary`.",
        (
            "^choice … needs two or more",
            "^a block needs at least one option",
            "^the options of … must differ",
            "^expansion needs operator",
            "^operator inverted needs expansion",
            "must be whole numbers >= 1",
            "^layers are whole numbers",
            "^filters must lie",
            "^a search space needs at least one block",
            "^input_sizes must be",
            "^widths are one or more",
            "^a block has at most",
            "^channel_multiple must be",
        ),
    ),
    Entry(
        errors.SpecError,
        "A network outside the search space",
        "Choices were given that the space does not have, or a network that it does not contain.",
        "Take a network of this space, or a space that contains this network.",
        (
            "^… must be one of …, got …",
            "do not fit: missing",
            "has … choices, got",
            "does not hold this network",
        ),
    ),
    Entry(
        errors.NewerSchemaError,
        "A file of a newer release",
        "The file was written by a release that knows more than the one installed here.",
        "Update this package. Files of older releases always load.",
        (
            "is newer than",
            "newer than …; update",
            "this version reads up to",
            "^modelfile.py:with_header$",
            "newer release",
        ),
        mistakes.future_architecture,
        also=(errors.DataError, errors.WeightsError, errors.LatencyError, errors.TrainingError),
    ),
    Entry(
        errors.SettingsError,
        "A parameter that does not exist",
        "A parameter has a name that the task never had, or the same one twice, under its old and its new name; or "
        "what was given has no names at all.",
        "[All parameters](parameters.md) with their old names. Give each one once.",
        ("^settings/model.py:_current_names$", "was given twice", "^parameters must be a dict"),
        mistakes.misspelt_parameter,
    ),
    Entry(
        errors.SettingsError,
        "Minutes in which no search fits",
        "Measuring, ten networks and the training of a winner need longer; the sentence has the sum.",
        "Give more `minutes`, or less work by the settings that the sentence names.",
        ("^minutes must be at least",),
    ),
    Entry(
        errors.SettingsError,
        "A parameter of an earlier release with a value that says nothing today",
        "`dataset` and `cuda` are understood with their old values only.",
        "Set the parameter that the sentence names instead.",
        ("^dataset must be ImageNet or Custom", "^cuda must be True or False"),
    ),
    Entry(
        errors.SettingsError,
        "A network for which nobody has published weights",
        "Without a file of weights, only a network with published weights can classify.",
        "Take one of the names listed, or train it: `python -m mnasnet train DATA --model mnasnet_a1 --use-pretrained "
        "false`.",
        mistake=mistakes.network_without_weights,
    ),
    Entry(
        errors.SettingsError,
        "A GPU that is not there",
        "`device`, or a search's `meter_device`, is `cuda`, and torch or the meter finds no GPU that it can use.",
        "Set `device` to `auto` or `cpu`, `meter_device` to `cpu`; or install the torch that fits your GPU's driver, "
        "see [pytorch.org](https://pytorch.org/get-started/locally/).",
        ("torch sees no GPU", "has no NVIDIA driver", "reaches no NVIDIA GPU"),
    ),
    Entry(
        errors.SettingsError,
        "A runtime that cannot do what was asked",
        "Not every runtime runs on a GPU, computes in every precision or opens every file.",
        "Set `runtime` to `auto`, or to the one that the sentence names.",
        (
            "^device cuda runs through",
            "^meter_device cuda is timed by",
            "^onnxruntime could not start CUDA",
            "^an exported … file in … runs on the CPU",
            "^bf16 is computed by",
            "sends networks in fp32 or int8",
            "times processor cores, got device",
            "runs through …, got runtime",
            "does not compute in int8",
            "^an agent runs …, got",
        ),
    ),
    Entry(
        errors.SettingsError,
        "Images that the network cannot take",
        "The network has another number of input channels than photos have, or another input size.",
        "Leave `input_size` at 0, and choose a network for three channels. In Python, "
        "`mnasnet.modelfile.network_of` gives the torch network of any number of channels.",
        (
            "^images have 3 channels",
            "^networks are timed on RGB images",
            "^input_size must be",
            "^an exported file has one input size",
            "^top_k must be",
        ),
    ),
    Entry(
        errors.SettingsError,
        "An object that is not of the kind that is taken",
        "In Python a `SearchProblem` takes objects: an evaluator with `evaluate`, meters with `measure`, a `Reward`; "
        "`train` and `run_search` take listeners with `hear`, and `Classifier` an open model.",
        "Wrap a function in `FunctionEvaluator` or `FunctionMeter`; a reward of your own is a subclass of `Reward`. "
        "`Classifier.load` opens files.",
        (
            "^the evaluator must have a method",
            "^the meter of … must have a method",
            "^a listener has a method",
            "^Classifier takes a model that is open",
            "^Classifier.load takes a name or a file",
        ),
    ),
    Entry(
        errors.SettingsError,
        "A user without a home folder",
        "Downloads are kept in the user's cache; some containers run as a user who has no home.",
        "Set `MNASNET_CACHE` to a folder that may be written to.",
        ("^MNASNET_CACHE must name",),
    ),
    Entry(
        errors.SettingsError,
        "Two settings that do not go together",
        "Each is valid; the two ask for opposite things, or one needs the other.",
        "Change one of the two; the sentence says which value fits.",
        (
            "^feature_extract needs",
            "^frozen_epochs must be at most",
            "does not go with feature_extract",
            "^mixup and cutmix must be at most",
            "^crossval judges each image by a training",
            "^a search judges its winner by images",
            "^crossval trains in one process",
            "it trains none; train on these classes first",
            "^teacher must know every class",
            "^a search judges its winner by images that are new to its teacher",
            "^--only leaves out",
            "^--runtimes are engines of this machine",
            "names a device for",
            "^meter remote needs agent_url",
            "^--max-minutes is for trainings",
            "^--tracking is for trainings",
            "^the latency table is of",
            "^a search has either",
            "cannot look for a Pareto set",
            "cannot look for trade-offs",
            "^cost energy is counted",
            "^cost … needs target_cost",
            "^… is for … … alone, got … with",
            "^check_ranking compares",
            "^the reward's cost must be one of the meters",
            "has no meter",
            "^each objective counts once",
            "times one image at once",
        ),
    ),
    Entry(
        errors.SettingsError,
        "A search without an end",
        "Neither minutes nor a number of trials was given.",
        "Set `minutes`, `trials` or both.",
        ("^a search needs an end", "^extend needs trials or minutes"),
    ),
    Entry(
        errors.SettingsError,
        "A meter that lacks its file or address",
        "`table` reads a file of block times; `remote` asks an agent.",
        "Make the table with `python -m mnasnet profile`, or start the agent: [measure your own device](devices.md).",
        ("^the meter '(table|remote)' needs",),
    ),
    Entry(
        errors.SettingsError,
        "Energy that this machine does not count",
        "Joules are read from the processor's own counter (RAPL), which not every machine has and not every user "
        "may read.",
        "Let the administrator give the right to read it, or set `cost` to `latency`.",
        ("^cost energy needs",),
    ),
    Entry(
        errors.SettingsError,
        "A token that would travel unprotected",
        "Beyond the own machine, an agent is spoken to over TLS or an SSH tunnel only.",
        "[Measure your own device](devices.md#a-raspberry-pi-a-jetson-a-server) shows the tunnel and the certificate.",
        ("^http is for this machine only",),
        mistakes.agent_in_the_open,
    ),
    Entry(
        errors.SettingsError,
        "An agent without what protects it",
        "An agent that others can reach needs a token, a certificate with its key, and the names that clients use.",
        "The command is in [measure your own device](devices.md#a-raspberry-pi-a-jetson-a-server).",
        (
            "^beyond this machine an agent needs",
            "^an agent starts without asking",
            "^TLS needs a certificate",
            "is every address of this device",
            "^cannot use the certificate",
        ),
    ),
    Entry(
        errors.SettingsError,
        "An address that an agent cannot have",
        "The URL or host is misspelt, belongs to another machine, or another program listens there already.",
        "Write the URL as `https://NAME:8765`; give `--port` another number where it is taken.",
        ("^an agent's URL", "^host must be an address", "^--name takes a host", "^cannot listen on"),
    ),
    Entry(
        errors.SettingsError,
        "A token or certificate file that cannot be used",
        "The file is missing, may not be read, or holds something else.",
        "Make the token with `openssl rand -hex 32 > token.txt`; take `cert.pem` from the agent's device.",
        (
            "^cannot read the certificate",
            "^cannot read the token file",
            "^a token is",
            "^a token needs",
        ),
    ),
    Entry(
        errors.SettingsError,
        "A search algorithm under a name that does not exist",
        "The name is none of those listed.",
        "Take one that is listed; [`guided`](how_the_search_works.md#what-guided-does) is the default.",
        ("^no search algorithm is called", "^algorithm must be one of"),
    ),
    Entry(
        errors.SettingsError,
        "A file that is no training recipe",
        "The recipe has a field that does not exist, or a value of the wrong type.",
        "Correct the field that is named, or set `recipe` to one of the names in [parameters](parameters.md#train).",
        ("^not a training recipe",),
    ),
    Entry(
        errors.SettingsError,
        "Values out of bounds",
        "A value breaks its rule. All wrong values are named at once; nothing was changed or started.",
        "Each rule is in the sentence, with what was received. [All parameters](parameters.md).",
        (
            "^settings/model.py:_validated$",
            r"\bmust (not )?(be|lie|exceed)\b",  # a rule and the value received: the same fix for every one
            "^a (meter|count) is one of",
            "^objectives must be some of",
            "^objectives must name",
            "^a network needs more than 0 cores",
        ),
        mistakes.wrong_values,
    ),
    Entry(
        errors.DataError,
        "A dataset folder that is not there",
        "The path leads nowhere, or no folder was connected to the task.",
        "Correct the path. In an Ikomia workflow: `wf.set_directory_input(folder=..., index=0)`.",
        (
            "^the dataset must be an existing folder",
            "are not in … any more; give --data",
            "^there is no folder to train on",
            "^there is no file or folder",
        ),
        mistakes.missing_dataset,
    ),
    Entry(
        errors.DataError,
        "An archive or a file instead of a folder",
        "A dataset is a folder with one folder for each class.",
        "Unpack the archive and give the folder inside. Nothing is ever unpacked or written for you inside your data.",
        ("is an archive; unpack", "is a file; give the folder"),
        mistakes.archive,
    ),
    Entry(
        errors.DataError,
        "A folder that may not be read",
        "The system refuses: rights, a disk that is gone, a network drive that is away.",
        "Give it read access, or move it out of the dataset. Your file manager or `ls` would meet the same.",
        ("^cannot read the folder",),
    ),
    Entry(
        errors.DataError,
        "Folders that are not one for each class",
        "The images lie beside the class folders, or the parts `train` and `val` are not where they are looked for.",
        "[Look before you start](train.md#1-look-before-you-start) shows what is understood.",
        (
            "must lie in one folder",
            "needs a train folder beside it",
            "^a dataset needs one folder per class",
            "look like splits, not like classes",
            "looks like a dataset for detection",
            "has no class folders",
        ),
    ),
    Entry(
        errors.DataError,
        "A folder with a single class or without images",
        "A classifier chooses between classes; it needs two or more, with images in each.",
        "One folder for each class; `python -m mnasnet check FOLDER` says what else would spoil a training.",
        (
            "^needs >= 2 classes",
            "^no images in",
            "has 0 images in",
            "^data/check.py:require_usable$",
        ),
        mistakes.single_class,
    ),
    Entry(
        errors.DataError,
        "A folder with a name that is no text",
        "Linux allows names of any bytes; a model file keeps the names of its dataset and classes as text, UTF-8.",
        "Rename the folder; such names come from old archives.",
        ("^names of folders must be UTF-8",),
    ),
    Entry(
        errors.DataError,
        "A class or part without a single readable image",
        "Files are there, but none of them can be used to train, to validate or to compare an export on.",
        "`python -m mnasnet check FOLDER` names every such file with its reason; replace them, or add images.",
        (
            "has no readable training image",
            "^no validation image can be read",
            "^no image is left for validation",
            "^none of the … images can be read",
            "^no readable image in",
        ),
    ),
    Entry(
        errors.DataError,
        "Too many images that cannot be read",
        "A training leaves out unreadable images, up to a share of `max_bad`; here there are more.",
        "Replace them or remove them. Raise `max_bad` only if you can do without them.",
        ("^data/cache.py:fill$", "^train/crossval.py:_identical$", "^max_bad must lie"),
    ),
    Entry(
        errors.DataError,
        "A file that is no image or video",
        "The file is missing, empty, cut short, damaged, too large, or something else under an image's name.",
        "Copy or download it again. Other images of a folder go on; `classify` names such files.",
        (
            "^data/images.py:read_image$",
            "^data/cache.py:_decode$",
            "^data/video.py:",
            "there is no such file",
            "empty file",
        ),
        mistakes.no_image,
    ),
    Entry(
        errors.DataError,
        "An array that is no image",
        "In Python, an image is height x width x 3 of uint8; grey, alpha and 16 bits are converted for you.",
        "Pass the array as it was read, not as a batch and not scaled by yourself.",
        (
            "^data/images.py:to_rgb$",
            "^classify_files takes paths",
            "^an image is a path, an array",
            "^drawing needs an RGB image",
            "^each box needs one label",
        ),
    ),
    Entry(
        errors.DataError,
        "A workflow that hands over no photo",
        "The task got nothing to classify, or the chart of a training instead of a photo.",
        "Connect an image or a video to the task's first input; behind a training the sentence has the call.",
        ("^there is no image to classify", "is a chart of the task before"),
    ),
    Entry(
        errors.DataError,
        "A dataset that changed since the run began",
        "A run keeps which images it trains on and which it is judged on; some are gone, or classes differ.",
        "Bring the folder back to what it was, or start a new run.",
        (
            "are not those",
            "are missing in",
            "the run is kept: bring the image back",
            "the search is kept: bring the image back",
            "^the images of … are not in … any more",
        ),
    ),
    Entry(
        errors.DataError,
        "A split that cannot be read or made",
        "The file `split.json` is damaged, or the share or number of parts asked for does not exist.",
        "Start a new run, or change the value that is named; `val_fraction` 0.2 and five folds are usual.",
        ("^cannot read the split", "is not a split that", "^val_fraction must lie", "^folds must be", "^folds need"),
    ),
    Entry(
        errors.DataError,
        "A folder that the model does not fit",
        "The folder has classes that the model never learned, or lacks the part to be judged on.",
        "Rename the folders to the model's names, or choose a part that is there.",
        ("has no … images, only", "^the model does not know", "^the model has several classes called"),
    ),
    Entry(
        errors.DataError,
        "A place that cannot be written as asked",
        "A file is to be written where a folder is, or a folder where a file is, or writing is forbidden there.",
        "Name a file or folder where you may write.",
        ("takes a file to write", "takes a folder to write into", "^cannot write …: …; name a"),
    ),
    Entry(
        errors.DataError,
        "A film where OpenCV does not start",
        "OpenCV, which reads and writes films, is missing, or lacks a library of the system such as `libGL.so.1`.",
        "Run the line it prints, or install what it lacks; images are classified without it, a little more slowly.",
        ("^this needs OpenCV, which",),
    ),
    Entry(
        errors.DataError,
        "A video that cannot be written",
        "OpenCV cannot write there, or not in this size.",
        "Give another folder, one you may write to.",
        ("cannot be written there", "the video could not be written to its end"),
    ),
    Entry(
        errors.WeightsError,
        "A weights file that is not there or may not be read",
        "The path leads nowhere, to a folder, or to a file that the system keeps closed.",
        "Check the path and the file's rights.",
        ("^there is no file", "^cannot read …: …", "is a folder; …", "is a folder; give one"),
    ),
    Entry(
        errors.WeightsError,
        "A file that holds no weights",
        "A link led to a web page or a Git LFS pointer; or the file is empty, a whole program, or something else.",
        "Download the file itself. From PyTorch, save `model.state_dict()`.",
        (
            "^network/weights_file.py:_kind_of$",
            "is empty; copy",
            "holds no tensors",
            "is a TorchScript program",
            "not a state dict",
        ),
        mistakes.web_page,
    ),
    Entry(
        errors.WeightsError,
        "A PyTorch file that holds more than numbers",
        "Loading it could run anything, so it is never done here.",
        "If you trust where the file comes from, the command makes a safe file of it. "
        "[Security](../SECURITY.md) has the rules.",
        ("^network/weights_file.py:_read_pickled$", "is a pickle, which torch before"),
        mistakes.code_in_a_pickle,
    ),
    Entry(
        errors.WeightsError,
        "A file that was cut short or damaged",
        "The file's end or header is missing, or its parts do not agree.",
        "Copy it again, or export again. Ours are written whole or not at all.",
        (
            "is not a whole safetensors file",
            "^… has other weights than were exported",
            "is damaged",
            "has … outputs but … class names; export",
        ),
        mistakes.half_a_model_file,
    ),
    Entry(
        errors.WeightsError,
        "Weights that cannot be computed with",
        "The file has the same weight twice, quantised or sparse ones, or numbers that are none (NaN, infinity).",
        "Save one plain float32 `state_dict`; where the training diverged, give an earlier checkpoint.",
        (
            "with and without a prefix",
            "is quantised or sparse",
            "holds NaN or infinity",
            "scores that are no numbers",
            "holds negative variances",
            "fewer numbers than that in the file",
        ),
    ),
    Entry(
        errors.WeightsError,
        "Weights of another network",
        "The tensors belong to no MnasNet, or to another one than you asked for.",
        "Ask for `auto`, which takes the network of the file; or give the file of the network you want.",
        (
            "holds no MnasNet",
            "^network/weights.py:adopt$",
            "is …, you asked",
            "is …, but …; copy",
            "^weights do not fit their architecture",
            "has no names for",
        ),
    ),
    Entry(
        errors.WeightsError,
        "A checkpoint instead of a model",
        "A checkpoint holds what a training goes on from; it has no classes and no preprocessing.",
        "Give `weights/best.safetensors` of the run; `python -m mnasnet resume RUN` goes on with a checkpoint.",
        ("is the checkpoint of a training",),
    ),
    Entry(
        errors.WeightsError,
        "A model that could not be read again",
        "In Python, `modelfile.save` was given weights that are missing, unknown, of another shape or no numbers, or "
        "class names that are no text. A file that was there is as it was.",
        "Take the weights by `modelfile.weights_of` from a network of the model's architecture and channels.",
        ("^this model cannot be saved", "^a model needs the weights of its network"),
    ),
    Entry(
        errors.WeightsError,
        "A backbone without its classifier",
        "It was saved for its features, without the layer that names classes, as timm does with `num_classes=0`.",
        "Save it with a classifier. In Python any model of this package gives features: "
        "[as a backbone](model_file.md#as-a-backbone).",
        ("without its classifier",),
    ),
    Entry(
        errors.WeightsError,
        "Weights without class names",
        "The weights tell how many classes there are, not what they are called.",
        "Put `classes.txt` beside the file, or set `class_file`. A [model file](model_file.md) of this package has "
        "the names inside.",
        ("classes but no names; put",),
        mistakes.no_class_names,
    ),
    Entry(
        errors.WeightsError,
        "A class file that cannot be used",
        "It is missing, not UTF-8, empty, or has a name twice.",
        "One name a line, saved as UTF-8, in the order of the training.",
        ("^class file …", "^cannot read class file"),
    ),
    Entry(
        errors.WeightsError,
        "Class names that do not fit the weights",
        "Their number or order differs from the model's, so images would get wrong names.",
        "Give the class file that belongs to these weights, or leave `class_file` empty to use the names inside.",
        (
            "give the class file that belongs",
            "weights have … classes, class file",
            "which would mislabel images",
            "^a model needs one class name",
        ),
    ),
    Entry(
        errors.WeightsError,
        "A model under a name that does not exist",
        "The name is no published network, no bundled model and no file.",
        "`python -m mnasnet models` lists the names. Networks without published weights have to be trained.",
        ("^no model and no file is called", "has no published weights", "^no space, network or file is called"),
    ),
    Entry(
        errors.WeightsError,
        "An installation without its bundled model",
        "The file of the bundled model is missing from the installed package.",
        "Install the package again, in your copy of the repository: `pip install --force-reinstall --no-deps .`",
        ("lacks its bundled model",),
    ),
    Entry(
        errors.WeightsError,
        "An exported file that is not opened",
        "It holds what no file of this package has: other operators, values without a known size or too large, or "
        "entities. Somebody made it so, or a disk did.",
        "Export the model again, and do not use this file.",
        ("^… is not opened: ", "gives scores of shape"),
    ),
    Entry(
        errors.WeightsError,
        "An exported file that its engine cannot compute",
        "OpenVINO reads ONNX files, but not each one in 8 bits; or the file is damaged.",
        "Run it through the engine that it is made for, as `runtime` `auto` does, or export the model again.",
        ("cannot be run as",),
    ),
    Entry(
        errors.WeightsError,
        "An exported file where it cannot serve",
        "Exports are for running. They need our class names inside, and nothing can be trained or exported from them.",
        "Give the model file that it was exported from, or export it with `python -m mnasnet export`.",
        (
            "^an exported file ends in",
            "carries no class names and preprocessing",
            "is an exported file: ",
            "is not a model file of this package",
        ),
    ),
    Entry(
        errors.DownloadError,
        "Published weights that cannot be fetched",
        "The server is away, the network is, the disk is full, or what came is not the file (SHA-256).",
        "The sentence names the file and its place, so another machine can bring it. The bundled model and your own "
        "files need no network.",
        ("^network/download.py:", "^cannot keep …, the weights of"),
        mistakes.nothing_to_download,
    ),
    Entry(
        errors.RuntimeMissingError,
        "An optional package or program that is not installed",
        "Engines, clusters and databases are extras, so that a small installation stays small.",
        "Run the command. `onnxruntime` and `torch` are always there; `openvino` and `litert` are extras.",
        ("is not installed", "^device cuda through onnxruntime needs"),
        mistakes.missing_runtime,
    ),
    Entry(
        errors.RuntimeMissingError,
        "A plugin and a package of different versions",
        "The plugin was updated and the package was not, or the running Ikomia still has the older one loaded.",
        "Run the command if the sentence has one, and restart Ikomia.",
        ("is still loaded; restart Ikomia", "needs mnasnet … or newer"),
    ),
    Entry(
        errors.ExportError,
        "A format that is not written",
        "The name is none of the formats, or the format has no 8-bit version.",
        "Take one that is listed. ONNX is read by most other tools.",
        ("^a model can be exported to", "^int8 is written for", "^--to names one or more"),
        mistakes.unknown_format,
    ),
    Entry(
        errors.ExportError,
        "8 bits without images to set their ranges",
        "The ranges of the activations are measured on images, and the result is judged on labelled ones.",
        "Give `--data` a folder with more images.",
        ("^int8 needs", "^int8 is calibrated and judged"),
        mistakes.too_few_to_calibrate,
    ),
    Entry(
        errors.ExportError,
        "8 bits that cost too much accuracy",
        "The 8-bit network names more images wrongly than `--max-drop` allows; its file was not written.",
        "Train the model on with `--quantization-aware` ([in 8 bits](devices.md#in-8-bits)), allow more, or stay "
        "with float32.",
        ("train this model on with quantization_aware", "^max_drop is a share", "^--max-drop … is about 8 bits"),
    ),
    Entry(
        errors.ExportError,
        "A network that does not take RGB images",
        "Exports take photos and are compared on photos, so they need three input channels.",
        "`mnasnet.export.onnx.to_onnx` writes any network; compare its answers on data of your own.",
        ("3 input channels", "RGB images"),
    ),
    Entry(
        errors.ExportError,
        "An export whose answers differ",
        "The exported network answers otherwise than the original by more than rounding; no file was kept.",
        "Try another format or runtime version, and [tell us](../CONTRIBUTING.md#report-a-bug).",
        ("is not the same network",),
    ),
    Entry(
        errors.ExportError,
        "A model whose own answers are no numbers",
        "The model's weights give NaN or infinity, so no export of it can be compared.",
        "Take an earlier checkpoint, or train the model again.",
        ("which for … are no numbers",),
    ),
    Entry(
        errors.ExportError,
        "An export over somebody's weights",
        "A file of the export would take the place of the model itself, or of a `.bin` that may be weights.",
        "Give another folder with `--out`, or move the file.",
        ("^an export never replaces", "^an export only replaces"),
    ),
    Entry(
        errors.ExportError,
        "An export that cannot be written",
        "The disk is full or the folder is closed to you.",
        "Free space, or give another folder.",
        ("^cannot write to",),
    ),
    Entry(
        errors.LatencyError,
        "A device that does not answer",
        "Nobody listens at the agent's address, or the answer took too long.",
        "Start `python -m mnasnet agent` there, or give `--agent-wait-minutes`. In a search such a trial is "
        "`unmeasured`, never fast.",
        ("^the agent at … is away", "^the agent at … gave no answer"),
        mistakes.agent_away,
    ),
    Entry(
        errors.LatencyError,
        "An agent that refuses",
        "The token is wrong, the file is too large, or its network holds what an agent does not run; the reason "
        "follows the word refused.",
        "Mend what the reason names; the agent's log has the same line. It is not tried again by itself.",
        ("^the agent at … refused",),
    ),
    Entry(
        errors.LatencyError,
        "An agent that measured something else",
        "Its answer is of another size of images, number of threads, runtime or precision than it was asked for, or of "
        "times in no order, as of a program that only looks like an agent.",
        "Start `python -m mnasnet agent` of the same version there. The trial is `unmeasured`.",
        ("^the agent at … was asked for", "^the agent at … answered (with times|in other words)"),
    ),
    Entry(
        errors.LatencyError,
        "A device that dropped out while a search made its table",
        "With `latency` `table` nothing else prices networks, so the search did not begin; its timings are not kept.",
        "Bring the device back and start again, or make the table by `python -m mnasnet profile`, whose timings are "
        "kept, and give it as `latency_table`.",
        ("makes the table too and goes on where it was stopped",),
    ),
    Entry(
        errors.LatencyError,
        "A profile that cannot be written",
        "The disk is full, or no file may be made there. Timings that were written before are kept beside the table.",
        "Make room, then give the same command again: it goes on with them; or name a file in another folder.",
        ("^cannot write …: …; …$",),
    ),
    Entry(
        errors.LatencyError,
        "A certificate that is not trusted",
        "The agent shows another certificate than the one given, one for another name, or of another time.",
        "Give `--agent-ca-file` the agent's own `cert.pem`. Its names must agree with the URL, its dates with both "
        "clocks: [devices](devices.md).",
        ("^the certificate of … is not trusted",),
    ),
    Entry(
        errors.LatencyError,
        "An agent without TLS",
        "The address is https, and the agent there speaks http.",
        "On one computer, or through an SSH tunnel, the address is `http://127.0.0.1:8765`; else give the agent a "
        "certificate: [devices](devices.md).",
        ("answers without TLS",),
    ),
    Entry(
        errors.LatencyError,
        "Another device than before",
        "Another board, runtime or setting answers than the one that the search, or the table, has measured so far. In "
        "a search such a trial is `unmeasured`.",
        "Bring the first device back to its address, or start a new search or table with the other.",
        ("^latencies of two devices are never mixed",),
    ),
    Entry(
        errors.LatencyError,
        "A file that an agent does not run",
        "An agent opens ONNX and LiteRT files with plain operators of image networks, for one image input, and "
        "nothing else.",
        "Send a file that `python -m mnasnet export` wrote; ask for as many images at once as it was made for.",
        (
            "^…; send a file that",
            "neither ONNX nor LiteRT",
            "an agent has",
            "which (are|is) not run$",
            "only operators of image networks are run",
            "only (ONNX|LiteRT)'s own are run",
            "no other file is opened",
            "^a (graph|file) has (one graph of )?1 to",
            "^the LiteRT file is damaged",
            "runs … files, this one is",
            "^an image network takes",
            "^the graph takes",
            "^the input may have",
            "^images are square",
        ),
    ),
    Entry(
        errors.LatencyError,
        "A network that cannot be sent",
        "The device's runtime takes files of one format, and this network or file is not in it.",
        "Give a model file, from which the right format is made, or export it in the format that is named.",
        ("cannot be sent as", "runs … files, … is", "^a phone runs LiteRT files"),
    ),
    Entry(
        errors.LatencyError,
        "A phone that is not ready",
        "No phone is connected, several are, or the phone does not trust this computer.",
        "[An Android phone](devices.md#an-android-phone) has the steps; `adb devices` must say `device`.",
        ("^no phone is connected", "phones are connected; name one", "^the phone "),
    ),
    Entry(
        errors.LatencyError,
        "A phone without its measuring program",
        "`benchmark_model` is not on the phone, is built for another processor, or failed.",
        "Get the build for the phone's processor and give it as `--adb-tool`: "
        "[an Android phone](devices.md#an-android-phone).",
        ("^latency/adb.py:_tool_version$", "^benchmark_model gave no times", "^there is no file … to put", "^`adb …`"),
    ),
    Entry(
        errors.LatencyError,
        "A meter that gives no cost",
        "In Python, a meter of yours failed or returned what is no number above 0. The trial is `unmeasured`, no "
        "training was spent on it, and the search goes on.",
        "Mend the meter by the reason that the trial shows; run the search again to go on.",
        ("^the meter of … failed", "its meter returned …"),
    ),
    Entry(
        errors.LatencyError,
        "A runtime that fails on a network",
        "The engine cannot open or run this network, ended, hung, or gave scores that are no numbers.",
        "Try another runtime. In a search the trial is `unmeasured`, and the search goes on.",
        (
            "^… cannot run …",
            "failed to open",
            "failed while it was timed",
            "gave scores that are no numbers",
            "^latency/isolated.py:",
            "^cannot start a process to measure in",
            "did not answer within",
            "ended its process",
            "^cannot run …: …",
        ),
    ),
    Entry(
        errors.LatencyError,
        "A network that this meter cannot price",
        "Its latency or energy cannot be had for this network at this input size.",
        "The cause stands at the sentence's end. In a search the trial is `unmeasured`.",
        ("cannot be (priced|measured) at",),
    ),
    Entry(
        errors.LatencyError,
        "An energy counter that stands still",
        "The processor counted no joules during the measurement, as in most virtual machines.",
        "Set `cost` to `latency`, which energy follows on one device.",
        ("^the energy counter did not move",),
    ),
    Entry(
        errors.LatencyError,
        "A file that is no table of latencies",
        "The file is missing, damaged, or something else.",
        "`python -m mnasnet profile small --out pi.json` makes one.",
        ("^cannot read the latency table", "is not a latency table"),
        mistakes.no_table,
    ),
    Entry(
        errors.LatencyError,
        "A table without a block of this network",
        "A table knows the blocks of the space that it was profiled for, at the input size that it was profiled at.",
        "Profile the space, or the network, that has the block; give the pixels that the sentence names as "
        "`--input-size`.",
        ("lacks the piece", "px, networks take … px here"),
    ),
    Entry(
        errors.LatencyError,
        "Numbers that are no latencies",
        "A latency is above 0, of one run or more; a comparison needs as many predictions as measurements.",
        "Correct the values; in a program of your own, keep the order of networks and latencies.",
        (
            "^a latency must be",
            "^a measured latency needs",
            "^not a latency",
            "^not an agreement",
            "^not a correction",
            "^agreement needs three",
            "^a table is learned from",
        ),
    ),
    Entry(
        errors.TrainingError,
        "A folder that is not a run's",
        "The folder has no `args.yaml`, or one that cannot be used; or another of its files is damaged.",
        "`resume` takes the folder that `train` named at its end. A run without its settings has to start anew.",
        (
            "^there is no folder …; give the one that the run",
            "is not the folder of a run",
            "not of one training",
            "holds no settings of a run",
            "is damaged",
            "^cannot read …: …",
        ),
        mistakes.no_run,
    ),
    Entry(
        errors.TrainingError,
        "A run folder that is in use or cannot be made",
        "Another process trains there, the folder is closed to you or holds a link, or the name is used too often.",
        "Wait for the other process, or set `output_folder` and `name` to something else; where a link is named, put "
        "what it leads to in its place.",
        (
            "is in use by another process",
            "cannot be written to",
            "nothing is written through links",
            "^cannot make a run folder",
            "^cannot write into …",
            "holds 100,000 runs",
        ),
    ),
    Entry(
        errors.TrainingError,
        "A disk that is full, or a run that may not be written to",
        "There is no room for checkpoints or the model file, or no leave. What was written before is whole.",
        "Make room or give write access, then `python -m mnasnet resume RUN`; or move the run's folder to another disk "
        "and resume it there. A run that has not begun can have its `output_folder` on another disk.",
        (
            "MB of disk",
            "^the disk is full",
            "^cannot write the model file",
            "^cannot write …: …; the training",
            "^train/checkpoint.py:save$",
        ),
    ),
    Entry(
        errors.TrainingError,
        "Checkpoints that are damaged or gone",
        "Two are kept, and the older one is taken where the newer is damaged; neither is whole.",
        "Train again. A `weights/best.safetensors` that is there is whole and can be used.",
        ("^no whole checkpoint", "^not a whole checkpoint", "^its checksum is wrong", "has no checkpoint any more"),
        mistakes.damaged_checkpoints,
    ),
    Entry(
        errors.TrainingError,
        "A checkpoint of another training",
        "`resume` goes on with the settings of the run; one of them differs.",
        "Resume with what it was, or start a new run.",
        ("^the checkpoint belongs to another training",),
    ),
    Entry(
        errors.TrainingError,
        "A start or a teacher that was replaced",
        "Where the model lies that the run began with, there is another one now, and training has to go on with it.",
        "Bring the first one back, or start a new run.",
        ("^a run goes on with the model",),
    ),
    Entry(
        errors.TrainingError,
        "A cross-validation of an older release",
        "Each of its folds chose the epoch that it then judged, which flatters the accuracy.",
        "Start a new one: `python -m mnasnet crossval DATA`.",
        ("was begun by an older release",),
    ),
    Entry(
        errors.TrainingError,
        "Memory that does not suffice",
        "A step with this many images of this size does not fit into the memory.",
        "Set a smaller `batch_size` or `input_size`, then resume.",
        ("^memory does not suffice",),
    ),
    Entry(
        errors.DivergedError,
        "A loss or weights that are no number",
        "The training diverged; nothing after that step was kept.",
        "Set a lower `learning_rate`; the sentence names one.",
        ("^the loss is not a number", "^the weights are not numbers", "^search/stage_training.py:_train$"),
        mistakes.steps_too_large,
    ),
    Entry(
        errors.TrainingError,
        "Processes of one training that disagree",
        "Each host trains on its part of the same folder; here the folders differ.",
        "Give every host the same folder.",
        ("^the processes of this training differ",),
    ),
    Entry(
        errors.TrainingError,
        "Another process of one training that ended",
        "Under `torchrun` all processes wait for each other; one has failed or was killed, and so the others end.",
        "Read what that process printed, fix it, and start all of them with `resume`.",
        ("of this training has lost another one", "^the first process of this training has failed"),
    ),
    Entry(
        errors.SearchError,
        "A folder that is not a search's",
        "The folder was made by a training, or its files are incomplete.",
        "`join`, `extend`, `promote` and `report` take folders of searches. A damaged one has to be searched anew.",
        (
            "^there is no folder …; give the one that the search",
            "is not the folder of a search",
            "^the space in … cannot be read",
            "is not complete",
            "is missing, the search's prices",
            "is damaged .*; remove it",
            "^search/folder.py:_as_search_error$",
        ),
        mistakes.no_search,
    ),
    Entry(
        errors.SearchError,
        "A search's folder that cannot be written to",
        "`report` writes the answer's files into the search's folder.",
        "Make room or give write access as the message says, or copy the folder and report on the copy.",
        ("^… cannot be written to",),
    ),
    Entry(
        errors.SearchError,
        "Winners that cannot be trained",
        "The full trainings of the three best networks diverged, one after another; all else is kept.",
        "See that `teacher`, where one is set, classifies these images. `promote` trains any other trial.",
        ("diverged, of the last one",),
    ),
    Entry(
        errors.SearchError,
        "No network meets the limit",
        "Every network that was tried is above a limit, or failed; the nearest one is named.",
        "All trials are kept. `python -m mnasnet report RUN` shows what is possible; raise the target or take a space "
        "with smaller networks, such as `tiny`.",
        ("^search/records.py:winner$|^search/run.py:_winner_of$", "all trials are kept"),
        mistakes.out_of_reach,
    ),
    Entry(
        errors.SearchError,
        "A search that was stopped before its first trial",
        "It was stopped while it measured and prepared; nothing is left behind.",
        "Start it again.",
        ("^stopped before the first trial",),
    ),
    Entry(
        errors.SearchError,
        "A trial or ranking that does not exist",
        "The trial did not finish or has no such number; a ranking needs several networks.",
        "`python -m mnasnet report RUN` lists the trials.",
        (
            "^trial must be a finished trial",
            "ranking needs … or more",
        ),
    ),
    Entry(
        errors.SearchError,
        "Shared weights that a machine cannot read",
        "A process judges by shared weights, which lie in the run folder of the search, and does not find them.",
        "Put the run folder on a disk that all machines share, or set `evaluator` to `short`.",
        ("^the shared weights of the search lie in",),
    ),
    Entry(
        errors.SearchError,
        "A storage that cannot be reached",
        "The URL or path is misspelt, the database does not exist, or it does not let you in.",
        "Give a path, or `postgresql://user@host/database`; the database's own answer is in the sentence.",
        ("^storage must be", "^no database is called", "does not let us in", "^trials cannot be kept in"),
    ),
    Entry(
        errors.SearchError,
        "A storage that is another file",
        "`storage` names a file that is there and is no journal of trials. Nothing was written to it.",
        "Give the path of a new file. A SQLite database is named by its URL, `sqlite:///study.db`.",
        ("is no journal of trials",),
        mistakes.storage_of_another_kind,
    ),
    Entry(
        errors.SearchError,
        "Trials that are gone",
        "The file or database in which the search kept its trials is not there any more, or was emptied.",
        "Bring it back. `python -m mnasnet report RUN` does without it: it takes the trials from `trials.csv`.",
        ("^the trials of the search are not in", "^no report can be made without trials"),
    ),
    Entry(
        errors.SearchError,
        "A journal that is damaged",
        "A line in the file of trials cannot be read, as after a fault of the disk; what stands before it can.",
        "Bring back a copy of the file, or cut it off before the line that is named: the search goes on from there. "
        "`python -m mnasnet report RUN` does without it: it takes the trials from `trials.csv`.",
        ("^the journal … is damaged",),
        mistakes.damaged_journal,
    ),
    Entry(
        errors.SearchError,
        "A study that was made with other settings",
        "The storage has a study of this name with another space, reward or limit, or options that are none of ours.",
        "Go on with the same settings, or choose another name.",
        ("was made with another", "^study … is to", "^an option must be a number or a word"),
    ),
    Entry(
        errors.SearchError,
        "A search without a budget",
        "In Python, `Budget` needs a number of evaluations, minutes or both, none of them below what is said.",
        "Give one of the two.",
        ("^a search needs a budget", "^… must be a number from … on"),
    ),
    Entry(
        errors.SearchError,
        "An evaluator that reports what is no accuracy",
        "In Python, `report(step, accuracy)` takes the share of right answers so far, 0 to 1. The trial has failed.",
        "Divide per cents by 100; look why the accuracy is no number.",
        ("^the accuracy so far must lie",),
    ),
    Entry(
        errors.SearchError,
        "A reward that says nothing of a network",
        "In Python, a subclass of `Reward` failed for this accuracy and cost, or answered what is no number. The trial "
        "has failed.",
        "Let it answer with a number for every accuracy from 0 to 1 and every cost.",
        ("^the reward failed", "^the reward must be a number"),
    ),
    Entry(
        errors.SearchError,
        "A search in which nothing works",
        "The first ten networks failed or could not be measured, so it is the evaluator or the meter and not they. "
        "More trials would fail alike.",
        "Mend what the last reason names, and search on with the same study.",
        ("fix that and search on, the study keeps its trials$",),
    ),
    Entry(
        errors.SearchError,
        "Worker processes that end",
        "They could not prepare their work, or the system ended them, most often for memory. Each reads your program "
        "again, and a search that stands there without a guard would begin anew.",
        'Take fewer workers. In a program of your own, start the search below `if __name__ == "__main__":`.',
        (
            "^a worker process could not prepare",
            "^a worker process ended before it was ready",
            "worker processes ended one after the other",
            "would begin the search anew",
        ),
    ),
    Entry(
        errors.SearchError,
        "An extension of a search that is not over",
        "It was stopped or killed before its trials or minutes were spent, and an extension would drop the rest.",
        "`resume` it; `extend` it when it is done.",
        ("has not spent its trials or minutes yet",),
    ),
    Entry(
        errors.SearchError,
        "A search that cannot be joined",
        "It has not shown its first trial yet, it is over, or it counts energy.",
        "Wait for the first trial, `extend` a search that is over, or search with another cost.",
        (
            "join when the search shows its first",
            "judges no more networks",
            "^energy is counted by the machine that leads",
        ),
    ),
    Entry(
        errors.SearchError,
        "A search that measures latency on another machine",
        "The latencies of two machines cannot be compared, so a search keeps to the one that measured its first.",
        "Go on where it began. For a search that several machines can work on, take an agent, a table of the device or "
        "a counted cost.",
        ("^the search measures latency on",),
    ),
    Entry(
        errors.SearchError,
        "A Ray cluster that cannot be used",
        "No cluster answers at the address, it went away, or its machines lack what the work needs.",
        "[More than one machine](search.md#more-than-one-process-more-than-one-machine) has the commands; `resume` "
        "goes on with what is done.",
        ("Ray cluster", "^a task of the cluster could not"),
    ),
)
