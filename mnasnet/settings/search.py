"""The settings of the search task."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator

from mnasnet.errors import SettingsError
from mnasnet.files import exists, unquoted
from mnasnet.packages import AgentRuntime
from mnasnet.preprocess import MAX_INPUT_SIZE, MIN_INPUT_SIZE
from mnasnet.reward import RewardForm
from mnasnet.settings.model import InputSize, Settings, setting
from mnasnet.spaces import SPACES

OBJECTIVES = ("latency", "multiply_adds", "parameters", "model_bytes", "peak_activation_bytes")

MeterName = Literal["onnxruntime", "openvino", "litert", "executorch", "torch", "remote", "adb"]
Cost = Literal["latency", "multiply_adds", "parameters", "model_bytes", "peak_activation_bytes", "energy"]


def objective_words(text: str) -> tuple[str, ...]:
    """The costs that ``text`` names, separated by commas; raises SettingsError for another word."""
    words = tuple(word.strip() for word in text.split(",") if word.strip())
    if text.strip() and not words:
        raise SettingsError(f"objectives must name a cost such as latency, got {text!r}; or leave it empty")
    for word in words:
        if word not in (*OBJECTIVES, "latency_ms"):
            raise SettingsError(
                f"objectives must be some of {', '.join(OBJECTIVES)}, separated by commas, got {word!r}"
            )
    return words


def _objectives(text: str) -> str:
    objective_words(text)
    return text


def _space(value: str) -> str:
    value = unquoted(value)
    is_file = "/" in value or "\\" in value or Path(value).suffix or exists(Path(value))
    if value not in SPACES and not is_file:
        raise ValueError("unknown")
    return value


def _limit(meaning: str) -> Any:
    """What no network may exceed."""
    return setting(0.0, f"{meaning}; `0` is no limit.", unset="no limit", ge=0.0, advanced=True)


class SearchSettings(Settings):
    """Settings of the search task, `search_mnasnet`."""

    target_latency_ms: float = setting(
        10.0, "How long the network may take for one image on the device, in milliseconds.", gt=0.0, le=1e6
    )
    minutes: float = setting(
        60.0,
        "Time for everything, from the first measurement to the report: epochs and finalists follow from it, and too "
        "little is refused; `0` is no limit, then `trials` must say how many.",
        unset="no limit",
        ge=0.0,
    )
    trials: int = setting(
        0,
        "How many networks to judge. `0`: as many as the minutes allow. With both set, the search ends at whichever "
        "limit comes first.",
        unset="auto",
        ge=0,
        le=1_000_000,
    )
    space: Annotated[str, AfterValidator(_space)] = setting(
        "small",
        f"What is searched: {', '.join(f'`{name}`' for name in SPACES)}, or your own space as a YAML or JSON file.",
        rule=f"one of {', '.join(SPACES)}, or a YAML or JSON file",
        suggestions=tuple(SPACES),
    )
    algorithm: Literal["guided", "ppo", "evolution", "tpe", "nsga2", "random"] = setting(
        "guided",
        "How networks are proposed: `guided` learns accuracy from the trials so far, `ppo` is the paper's controller.",
    )
    input_size: InputSize = setting(
        0,
        f"Side of the network's square input in pixels, {MIN_INPUT_SIZE} to {MAX_INPUT_SIZE}; `0` suits the images: at "
        "most 128 on a CPU, 224 on a GPU. A space with input sizes of its own decides itself.",
        rule=f"0 (chosen by the images) or a whole number from {MIN_INPUT_SIZE} to {MAX_INPUT_SIZE}",
        unset="auto",
        ge=0,
        le=MAX_INPUT_SIZE,
    )
    reward: RewardForm = setting(
        "hard",
        "How accuracy is weighed against cost: `hard` keeps to the target; `soft` fixes an exchange and ignores the "
        "target; `absolute` pulls to the target from both sides; `product` has the exponents `alpha` and `beta`.",
        advanced=True,
    )
    strict: bool = setting(
        True,
        "With the `hard` reward spend no training on networks above the target; without it they lose reward only.",
        advanced=True,
    )
    accuracy: Literal["top1", "worst_recall"] = setting(
        "top1", "What counts as accuracy: all images alike, or the recall of the class recognised worst.", advanced=True
    )
    cost: Cost = setting("latency", "What the target is about. Any but `latency` needs `target_cost`.", advanced=True)
    target_cost: float = setting(
        0.0,
        "The target of another `cost`, in its own unit: operations, parameters, bytes or millijoules.",
        unset="none",
        ge=0.0,
        advanced=True,
    )
    meter: MeterName = setting(
        "onnxruntime",
        "Who measures latency: an engine of this machine, `remote` for a device with our agent, `adb` for a phone.",
    )
    agent_url: str = setting(
        "",
        "Address of the device that runs `python -m mnasnet agent`, such as `https://192.168.1.20:8765`, for the meter "
        "`remote`.",
    )
    agent_token_file: str = setting(
        "",
        "File with the agent's token; empty takes the environment variable `MNASNET_AGENT_TOKEN`.",
        path="file",
        advanced=True,
    )
    agent_ca_file: str = setting(
        "", "Certificate that an agent behind https is checked against.", path="file", advanced=True
    )
    agent_wait_minutes: float = setting(
        0.0, "How long to wait for a device that is away; `0` gives up after a few attempts.", ge=0.0, advanced=True
    )
    agent_runtime: AgentRuntime = setting("onnxruntime", "Engine of the device behind the agent.", advanced=True)
    adb_serial: str = setting(
        "",
        "Serial of the phone for the meter `adb`, as `adb devices` lists it; empty is the only one connected.",
        advanced=True,
    )
    adb_tool: str = setting(
        "", "The `benchmark_model` program to push to the phone, where it has none.", path="file", advanced=True
    )
    latency: Literal["measured", "table"] = setting(
        "measured",
        "`measured` runs each network on the device; `table` adds up times of its pieces, measured once. Finalists "
        "are always measured.",
        advanced=True,
    )
    latency_table: str = setting(
        "",
        "A table that `python -m mnasnet profile` wrote; empty makes one at the start where it is needed.",
        path="file",
        advanced=True,
    )
    meter_device: Literal["cpu", "cuda"] = setting(
        "cpu",
        "Where an engine of this machine is timed: processor cores, or its NVIDIA GPU through the meters `onnxruntime` "
        "and `torch`. Where networks train is set by `device`.",
        advanced=True,
    )
    meter_threads: int = setting(
        1, "Threads that work on one image when latency is measured.", ge=1, le=1024, advanced=True
    )
    precision: Literal["fp32", "bf16", "int8"] = setting("fp32", "Arithmetic when latency is measured.", advanced=True)
    profile: bool = setting(
        True,
        "Make a latency table first, in a tenth of the minutes at most, so that networks too slow are not even "
        "built; only `guided` and `evolution` look at it.",
        advanced=True,
    )
    max_latency_ms: float = _limit("The highest latency a network may have")
    max_multiply_adds: float = _limit("The most multiply-adds a network may take for one image")
    max_parameters: float = _limit("The most weights a network may have")
    max_model_mb: float = _limit("The largest model file a network may have, in MB of float32: flash")
    max_peak_mb: float = _limit("The most activations a network may hold at once, in MB of float32: RAM")
    objectives: Annotated[str, AfterValidator(_objectives)] = setting(
        "",
        "Look for the best trade-offs of accuracy against these costs, separated by commas, such as `latency` or "
        "`latency, model_bytes`; empty looks for the highest reward.",
        suggestions=("", "latency", "latency, model_bytes"),
        advanced=True,
    )
    alpha: float = setting(0.0, "Exponent of `product` up to the target.", ge=-10.0, le=0.0, advanced=True)
    beta: float = setting(-1.0, "Exponent of `product` above the target.", ge=-10.0, le=0.0, advanced=True)
    slope: float = setting(-0.1, "Slope of `absolute`.", ge=-10.0, le=0.0, advanced=True)
    evaluator: Literal["auto", "short", "shared"] = setting(
        "auto",
        "Who judges accuracy: `short` trains each network for some epochs, `shared` trains once the weights that all "
        "networks share; `auto` is `shared` from 1,000 training images on, where there is time for it and the space "
        "does not mix operators. Their order is rough, so the largest networks are trained longer too; "
        "`check_ranking` measures how rough.",
    )
    shared_epochs: int = setting(
        0,
        "Epochs of the shared weights; `0` fits them to the minutes, or without minutes takes 25 (`single`: 50).",
        unset="auto",
        ge=0,
        le=10_000,
        advanced=True,
    )
    shared_rule: Literal["sandwich", "single"] = setting(
        "sandwich",
        "What learns in each step of the shared weights: `sandwich` is the largest network, the smallest and another "
        "one; `single` one alone, each option of each choice in its turn.",
        advanced=True,
    )
    shrinking: bool = setting(
        False, "Offer small kernels first, then fewer layers, then fewer channels to the shared weights.", advanced=True
    )
    check_ranking: int = setting(
        0,
        "Train so many networks alone after the search, to see how far the order by shared weights can be trusted; "
        "24 tell something.",
        unset="off",
        ge=0,
        le=1000,
        advanced=True,
    )
    proxy_epochs: int = setting(5, "Epochs of the short training.", ge=1, le=1000, advanced=True)
    proxy_share: float = setting(
        0.0,
        "Share of the training images that the short training or the shared weights see; `0` fits that of the short "
        "training to the minutes, so that enough networks are tried, and is all of them for shared weights.",
        unset="auto",
        ge=0.0,
        le=1.0,
        advanced=True,
    )
    proxy_input_size: InputSize = setting(
        0,
        "Input size in pixels of the short training or the shared weights; `0` is the network's own. Latency is always "
        "that of the network's own size.",
        rule=f"0 (the network's own) or a whole number from {MIN_INPUT_SIZE} to {MAX_INPUT_SIZE}",
        unset="auto",
        ge=0,
        le=MAX_INPUT_SIZE,
        advanced=True,
    )
    pruning: bool = setting(
        True, "End a short training that lags behind the median of earlier ones at the same epoch.", advanced=True
    )
    finalists: int = setting(
        3,
        "How many networks are trained longer to choose the winner: by turns the best and the largest within the "
        "target; `0` or `1` takes the best trial.",
        ge=0,
        le=100,
        advanced=True,
    )
    finalist_epochs: int = setting(
        0,
        "Epochs of the finalists' training; `0` fits them to the minutes, else four times `proxy_epochs`.",
        unset="auto",
        ge=0,
        le=10_000,
        advanced=True,
    )
    final_epochs: int = setting(
        0,
        "Epochs of the winner's full training; `0` fits them to the minutes, else ten times `proxy_epochs`.",
        unset="auto",
        ge=0,
        le=10_000,
        advanced=True,
    )
    teacher: str = setting(
        "",
        "A trained model of the same classes, usually a larger one: a model file, a run folder or a model's name. "
        "Finalists, winner and published networks learn its answers beside the labels (distillation).",
        path="file",
    )
    references: bool = setting(
        True,
        "Also train MnasNet-A1, B1, small and MobileNetV2, scaled to the winner's cost, under the same recipe, where "
        "the minutes hold that; else the report says how to add them.",
    )
    val_fraction: float = setting(
        0.2,
        "Share of the training images that validate where the dataset has no part for it.",
        gt=0.0,
        le=0.5,
        advanced=True,
    )
    test_fraction: float = setting(
        0.2,
        "Share of the images kept apart for the final figure where the dataset has no part for it.",
        gt=0.0,
        le=0.5,
        advanced=True,
    )
    grouping: Literal["images", "frames"] = setting(
        "images", "`frames` keeps the frames of one video together when splitting.", advanced=True
    )
    flip: bool = setting(
        True, "Mirror training images at random; turn it off where left and right differ, as in text.", advanced=True
    )
    seed: int = setting(0, "The same seed, data and costs give the same search.", ge=0, le=2**31 - 1, advanced=True)
    workers: int = setting(
        1, "Processes of this machine that judge networks at the same time.", ge=1, le=1024, advanced=True
    )
    ray: str = setting(
        "",
        "Address of a Ray cluster that judges networks, `auto` for the one of this machine; `workers` is then how many "
        "it judges at once, for the estimate. Its machines need the images under the same path.",
        advanced=True,
    )
    ray_cpus: float = setting(1.0, "Cores of the cluster for each network.", gt=0.0, le=1024, advanced=True)
    ray_gpus: float = setting(0.0, "GPUs of the cluster for each network, also a part of one.", ge=0.0, advanced=True)
    storage: str = setting(
        "",
        "Where trials are kept: empty is a file in the run folder, `postgresql://user@host/name` a database that other "
        "programs can read meanwhile.",
        advanced=True,
    )
    device: Literal["auto", "cpu", "cuda"] = setting(
        "auto", "Where networks are trained; `auto` takes an NVIDIA GPU where one answers.", advanced=True
    )
    train_threads: int = setting(
        0, "Processor threads of a training; `0` takes all cores.", unset="all cores", ge=0, le=1024, advanced=True
    )
    cache_mb: int = setting(
        2000, "Memory in MB for decoded images; what does not fit is decoded again.", ge=0, advanced=True
    )
    max_bad: float = setting(
        0.05,
        "Share of unreadable training images that is tolerated; they are left out and named.",
        ge=0.0,
        le=1.0,
        advanced=True,
    )
    name: str = setting("", "Name of the run folder; empty is the name of the dataset's folder.", advanced=True)
    output_folder: str = setting(
        "", "Where run folders are made; empty is a folder of Ikomia's data, or `runs/search` elsewhere.", path="folder"
    )
    resume_folder: str = setting(
        "",
        "The folder of a search that was stopped or killed, to go on with it. The run's own parameters are used.",
        path="folder",
    )

    def arguments(self) -> dict[str, Any]:
        """What :class:`mnasnet.search.searching.Searching` takes, except data and output folder."""
        values = self.model_dump()
        for name in ("output_folder", "resume_folder"):
            values.pop(name)
        return values
