"""What a search is asked for: one value that is stored with every run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from mnasnet.checks import make_as_declared
from mnasnet.data.split import Grouping
from mnasnet.errors import SettingsError
from mnasnet.files import expanded
from mnasnet.preprocess import MIN_INPUT_SIZE
from mnasnet.reward import Reward, RewardForm
from mnasnet.runtime.session import ON_CUDA, Device, Runtime
from mnasnet.search.costs import LATENCY, METERS, UNITS
from mnasnet.search.curriculum import Curriculum, Rule
from mnasnet.search.samplers import PARETO, SAMPLERS
from mnasnet.settings.search import Cost, MeterName, objective_words
from mnasnet.space import SearchSpace
from mnasnet.space_file import open_space
from mnasnet.train.plan import from_any_folder

FEWEST_RANKED = 3  # networks whose order can be compared

_FILES = ("agent_token_file", "agent_ca_file", "adb_tool", "latency_table", "storage")
_PATHS = (*_FILES, "space")  # which may be a built-in space's name too

#: setting -> what it limits, and its unit
_LIMITS = {
    "max_latency_ms": (LATENCY, 1.0),
    "max_multiply_adds": ("multiply_adds", 1.0),
    "max_parameters": ("parameters", 1.0),
    "max_model_mb": ("model_bytes", 1e6),
    "max_peak_mb": ("peak_activation_bytes", 1e6),
}

_NOT_NEGATIVE = (
    "minutes",
    "trials",
    "shared_epochs",
    "check_ranking",
    "finalists",
    "finalist_epochs",
    "final_epochs",
    "seed",
    "cache_mb",
)


@dataclass(frozen=True, slots=True)
class Searching:
    """What is searched on which images, for which device; 0 and the empty text leave a choice to us.

    ``space`` is a built-in space's name or a file; ``meter`` measures on ``meter_threads`` threads of ``meter_device``,
    while trainings run on ``device``. ``proxy_share`` is the share of the training images that a short training sees
    for ``proxy_epochs`` at ``proxy_input_size`` pixels; shared weights get ``shared_epochs``, and ``check_ranking``
    networks are trained alone to see how far they can be trusted. ``minutes`` are for all of that, finalists and final
    training included; ``references`` are trained where they hold those too. All these longer trainings learn the
    answers of ``teacher`` too, where one is named. The fields are those of
    :class:`mnasnet.settings.SearchSettings`, explained there.
    """

    data: Path
    target_latency_ms: float = 10.0
    minutes: float = 60.0
    trials: int = 0
    space: str = "small"
    algorithm: str = "guided"
    input_size: int = 0
    reward: RewardForm = "hard"
    strict: bool = True
    accuracy: Literal["top1", "worst_recall"] = "top1"
    cost: Cost = "latency"
    target_cost: float = 0.0
    meter: MeterName = "onnxruntime"
    agent_url: str = ""
    agent_token_file: str = ""
    agent_ca_file: str = ""
    agent_wait_minutes: float = 0.0
    agent_runtime: Literal["onnxruntime", "litert"] = "onnxruntime"
    adb_serial: str = ""
    adb_tool: str = ""
    latency: Literal["measured", "table"] = "measured"
    latency_table: str = ""
    meter_device: Device = "cpu"
    meter_threads: int = 1
    precision: Literal["fp32", "bf16", "int8"] = "fp32"
    profile: bool = True
    max_latency_ms: float = 0.0
    max_multiply_adds: float = 0.0
    max_parameters: float = 0.0
    max_model_mb: float = 0.0
    max_peak_mb: float = 0.0
    objectives: str = ""
    alpha: float = 0.0
    beta: float = -1.0
    slope: float = -0.1
    evaluator: Literal["auto", "short", "shared"] = "auto"
    shared_epochs: int = 0
    shared_rule: Rule = Curriculum().rule
    shrinking: bool = False
    check_ranking: int = 0
    proxy_epochs: int = 5
    proxy_share: float = 0.0
    proxy_input_size: int = 0
    pruning: bool = True
    finalists: int = 3
    finalist_epochs: int = 0
    final_epochs: int = 0
    teacher: str = ""
    references: bool = True
    val_fraction: float = 0.2
    test_fraction: float = 0.2
    grouping: Grouping = "images"
    flip: bool = True
    seed: int = 0
    workers: int = 1
    ray: str = ""
    ray_cpus: float = 1.0
    ray_gpus: float = 0.0
    storage: str = ""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    train_threads: int = 0
    cache_mb: int = 2000
    max_bad: float = 0.05
    output_folder: Path = Path("runs/search")
    name: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.objectives, list | tuple) and all(isinstance(word, str) for word in self.objectives):
            object.__setattr__(self, "objectives", ", ".join(self.objectives))
        make_as_declared(self)
        self._require_end_and_algorithm()
        self._require_device_settings()
        self._require_reward()
        self._require_numbers()

    def _require_end_and_algorithm(self) -> None:
        if not self.minutes and not self.trials:
            raise SettingsError("a search needs an end: set minutes or trials, got 0 for both")
        if self.algorithm not in SAMPLERS:
            raise SettingsError(f"algorithm must be one of {', '.join(SAMPLERS)}, got {self.algorithm!r}")

    def _require_device_settings(self) -> None:
        for meter, named in (("remote", ("agent_url",)), ("adb", ("adb_serial", "adb_tool"))):
            for name in named:
                if getattr(self, name) and self.meter != meter:
                    raise SettingsError(
                        f"{name} names a device for meter {meter}, got meter {self.meter}; set meter to {meter}, or "
                        f"leave {name} empty"
                    )
        if self.meter == "remote" and not self.agent_url:
            raise SettingsError("meter remote needs agent_url, such as https://pi.local:8765, got none")
        if self.meter_device == "cuda" and self.meter not in ON_CUDA:
            raise SettingsError(
                f"meter_device cuda is timed by meter {' or '.join(ON_CUDA)}, got meter {self.meter}; set meter to one "
                "of them, or meter_device to cpu"
            )
        if self.cost == "energy":
            if self.meter_device != "cpu":
                raise SettingsError("cost energy is counted of the processor alone, meter_device must be cpu")
            if self.meter not in get_args(Runtime):
                raise SettingsError(f"cost energy is counted by this machine alone, meter must not be {self.meter}")
            if self.precision == "int8":
                raise SettingsError("cost energy is counted of fp32 or bf16 networks, precision must not be int8")

    def _require_reward(self) -> None:
        if self.cost != "latency" and not self.target_cost:
            raise SettingsError(
                f"cost {self.cost} needs target_cost, in {UNITS[self.cost]}; target_latency_ms is for latency alone"
            )
        for name in _without_effect(asdict(self)):
            setting, values = _USED_WITH[name]
            raise SettingsError(
                f"{name} is for {setting} {' or '.join(values)} alone, got {getattr(self, name):g} with {setting} "
                f"{getattr(self, setting)}; set {setting}, or leave {name} at {_DEFAULTS[name]:g}"
            )
        _ = self.reward_function  # raises SettingsError for numbers that make no reward
        if self.objective_names and self.algorithm not in PARETO:
            raise SettingsError(
                f"{self.algorithm} maximises one reward and cannot look for trade-offs; set algorithm to "
                f"{', '.join(PARETO)}, or leave objectives empty"
            )

    def _require_numbers(self) -> None:
        for name in ("input_size", "proxy_input_size"):
            if getattr(self, name) and getattr(self, name) < MIN_INPUT_SIZE:
                raise SettingsError(f"{name} must be 0 or >= {MIN_INPUT_SIZE} pixels, got {getattr(self, name)}")
        if self.check_ranking and (self.evaluator == "short" or self.check_ranking < FEWEST_RANKED):
            raise SettingsError(
                f"check_ranking compares shared weights on {FEWEST_RANKED} or more networks trained alone, got "
                f"{self.check_ranking} with evaluator {self.evaluator}; set evaluator to shared or auto, or it to 0"
            )
        for name in (*_NOT_NEGATIVE, *_LIMITS, "proxy_share"):
            if getattr(self, name) < 0:
                raise SettingsError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.proxy_share > 1:
            raise SettingsError(f"proxy_share must be a share of the training images, 0 to 1, got {self.proxy_share:g}")
        if self.workers < 1 or self.proxy_epochs < 1:
            raise SettingsError(f"workers and proxy_epochs must be >= 1, got {self.workers} and {self.proxy_epochs}")

    @property
    def reward_cost(self) -> str:
        """The name of the meter that the target is about."""
        return METERS.get(self.cost, self.cost)

    @property
    def target(self) -> float:
        """The target in the unit of the cost."""
        return self.target_latency_ms if self.cost == "latency" else self.target_cost

    @property
    def reward_function(self) -> Reward:
        """The reward as a function of accuracy and cost."""
        return Reward(self.target, self.reward, alpha=self.alpha, beta=self.beta, slope=self.slope)

    @property
    def objective_names(self) -> tuple[str, ...]:
        """The meters that trade-offs are looked for against; empty for a search by reward."""
        words = objective_words(self.objectives)
        return tuple(dict.fromkeys(LATENCY if word == "latency" else word for word in words))

    @property
    def traded_costs(self) -> tuple[str, ...]:
        """The meters that accuracy is weighed against: those of the trade-offs, or that of the target."""
        return self.objective_names or (self.reward_cost,)

    @property
    def limits(self) -> dict[str, float]:
        """Upper bounds by meter name; a strict hard reward's target is one."""
        asked = {cost: unit * getattr(self, name) for name, (cost, unit) in _LIMITS.items()}
        limits = {name: limit for name, limit in asked.items() if limit > 0}
        if self.strict and self.reward == "hard" and not self.objective_names:
            limits[self.reward_cost] = min(self.target, limits.get(self.reward_cost, self.target))
        return limits

    @property
    def sought_costs(self) -> tuple[str, ...]:
        """The meters whose costs decide something: those that are traded or limited; all others are only recorded."""
        return tuple(dict.fromkeys((*self.traded_costs, *self.limits)))

    @property
    def needs_latency(self) -> bool:
        """Whether each network's latency must be known."""
        return LATENCY in (self.reward_cost, *self.sought_costs)

    def open_space(self) -> SearchSpace:
        """The space as a value; raises SpecError for an unknown name or a faulty file."""
        return open_space(self.space)

    def with_home(self) -> Searching:
        """The same with the home folder for ``~``, which no shell has looked at where a path is written in Python."""
        texts: dict[str, Any] = {
            name: str(expanded(getattr(self, name))) for name in _PATHS if getattr(self, name).startswith("~")
        }
        data, output_folder = expanded(self.data), expanded(self.output_folder)
        if ":///~/" in self.storage:
            texts["storage"] = _absolute(self.storage)
        return replace(self, data=data, output_folder=output_folder, **texts)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for YAML; paths are absolute, so that a search may go on from another folder."""
        files = {name: _absolute(getattr(self, name)) for name in _FILES}
        return {
            **asdict(self),
            **files,
            "teacher": from_any_folder(self.teacher),
            "data": str(expanded(self.data).absolute()),
            "output_folder": str(expanded(self.output_folder).absolute()),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Searching:
        """The inverse of :meth:`to_dict`; fields of other releases are left out, and numbers they let go unused."""
        known = {field.name: values[field.name] for field in fields(cls) if field.name in values}
        known = {name: value for name, value in known.items() if name not in _without_effect(known)}
        return cls(**{**known, "data": Path(known["data"]), "output_folder": Path(known["output_folder"])})


#: number -> the setting on which it depends whether anybody looks at it, and the values with which somebody does
_USED_WITH: dict[str, tuple[str, tuple[str, ...]]] = {
    "target_cost": ("cost", tuple(cost for cost in get_args(Cost) if cost != "latency")),
    "alpha": ("reward", ("product",)),
    "beta": ("reward", ("product",)),
    "slope": ("reward", ("absolute",)),
}

_DEFAULTS = {field.name: field.default for field in fields(Searching)}


def _without_effect(values: Mapping[str, Any]) -> list[str]:
    """The numbers among ``values`` that were set and that another of them leaves unused."""
    return [
        name
        for name, (setting, used) in _USED_WITH.items()
        if values.get(name, _DEFAULTS[name]) != _DEFAULTS[name] and values.get(setting, _DEFAULTS[setting]) not in used
    ]


def _absolute(file: str) -> str:
    """The path of a file, also that of SQLite's URL, but no other URL and not nothing."""
    scheme, is_url, path = file.partition("://")
    if not is_url:
        return str(expanded(file).absolute()) if file else file
    if scheme.partition("+")[0] != "sqlite" or not path.startswith("/") or path in ("/", "/:memory:"):
        return file
    place = expanded(path[1:]) if path.startswith("/~/") else Path(path[1:])
    return f"{scheme}:///{place.absolute()}"  # of an absolute path nothing changes
