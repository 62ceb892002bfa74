"""Shared weights: what candidates share, how they learn, and that a cut-out network is the same network."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from equal_runs import checkpoint_digest

from mnasnet.data.folder import scan
from mnasnet.data.transforms import normalise
from mnasnet.errors import SettingsError, SpecError, TrainingError
from mnasnet.network.build import MnasNet
from mnasnet.network.count import count
from mnasnet.network.supernet import Supernet
from mnasnet.preprocess import Preprocess
from mnasnet.search.curriculum import Curriculum, cheapest_and_dearest, drawn, extreme, mixes_operators
from mnasnet.search.images import SearchImages, divide
from mnasnet.search.supernet import SharedObjective, recalibrate, supernet_recipe, train_supernet
from mnasnet.space import BlockChoices, SearchSpace
from mnasnet.spaces import SPACES, space
from mnasnet.spec import ArchitectureSpec
from mnasnet.testing import write_image_folder
from mnasnet.train.batches import StoredImages
from mnasnet.train.checkpoint import CheckpointStore
from mnasnet.train.events import Event, Stepped
from mnasnet.train.objective import LossTerm, predict_logits
from mnasnet.train.team import Team

PAPER_LIKE = SearchSpace(
    (
        BlockChoices(operator=("separable",), channels=(8,)),
        BlockChoices(
            operator=("conv", "separable", "inverted3", "inverted6"),
            kernel=(3, 5),
            se_ratio=(0.0, 0.25),
            skip=("none", "identity", "pool"),
            channels=(16,),
            filters=(0.5, 1.0),
            repeats=(2,),
            layers=(-1, 0, 1),
            stride=(2,),
        ),
    ),
    stem_channels=8,
    head_channels=32,
    channel_multiple=4,
)
SIZED = replace(PAPER_LIKE, input_sizes=(32, 48), widths=(0.5, 1.0))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> SearchImages:
    folder = write_image_folder(tmp_path_factory.mktemp("images"), per_class=24)
    return SearchImages(folder, divide(scan(folder)), short_side=60, largest_px=48, threads=1)


def ready_supernet(searched: SearchSpace, seed: int = 0) -> Supernet:
    """Random weights and batch statistics everywhere, so that each of them matters."""
    torch.manual_seed(seed)
    supernet = Supernet(searched, 5)
    with torch.no_grad():
        for module in supernet.modules():
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(module.weight)
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 2)
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.1)
    return supernet.eval()


@pytest.mark.parametrize("name", ["paper", "published", "around_a1", "small", "tiny", "own", "sized"])
@torch.no_grad()
def test_a_network_cut_out_gives_the_same_scores(name: str) -> None:
    searched = {"own": PAPER_LIKE, "sized": SIZED}.get(name) or space(name)
    supernet, rng = ready_supernet(searched), random.Random(0)
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))

    for _ in range(2 if len(searched.blocks) > 2 else 8):
        architecture = searched.random(rng).architecture
        cut = supernet.cut_out(architecture)
        scores = supernet(x, architecture)

        assert type(cut) is MnasNet and cut.spec == architecture
        assert (cut(x) - scores).abs().max() < 1e-5 * max(1.0, float(scores.abs().max()))


def test_a_network_that_the_space_does_not_hold_is_not_cut_out() -> None:
    supernet, held = ready_supernet(space("tiny")), space("tiny").random(random.Random(0)).architecture
    first = replace(held.blocks[0], kernel=1)

    with pytest.raises(SpecError, match="kernel 1"):
        supernet.cut_out(replace(held, blocks=(first, *held.blocks[1:])))


def test_a_cut_out_network_has_weights_of_its_own() -> None:
    supernet = ready_supernet(PAPER_LIKE)
    cut = supernet.cut_out(extreme(PAPER_LIKE, "largest").architecture)
    before = cut.classifier.weight.clone()

    with torch.no_grad():
        supernet.classifier.weight.zero_()

    assert torch.equal(cut.classifier.weight, before)


def test_a_cut_out_network_learns_as_the_supernet_with_its_dropout() -> None:
    supernet, architecture = Supernet(PAPER_LIKE, 5, dropout=0.6), extreme(PAPER_LIKE, "largest").architecture
    x, cut = torch.randn(4, 3, 32, 32), supernet.cut_out(architecture)

    def scores(seed: int) -> list[torch.Tensor]:
        both = []
        for answer in (lambda: supernet(x, architecture), lambda: cut(x)):
            torch.manual_seed(seed)
            both.append(answer())
        return both

    (one, of_cut), (other, _) = scores(1), scores(2)
    assert torch.allclose(one, of_cut, atol=1e-5) and not torch.allclose(one, other, atol=1e-2)


def test_kernel_5_holds_kernel_3_and_wider_holds_narrower_and_deeper_holds_shallower() -> None:
    supernet = ready_supernet(PAPER_LIKE)
    largest = extreme(PAPER_LIKE, "largest").architecture
    small = replace(largest, blocks=(largest.blocks[0], replace(largest.blocks[1], kernel=3, channels=8, repeats=1)))
    large, little = (supernet.cut_out(architecture).state_dict() for architecture in (largest, small))

    depthwise, project = "blocks.1.0.depthwise.conv.weight", "blocks.1.0.project.conv.weight"
    assert torch.equal(little[depthwise], large[depthwise][:, :, 1:4, 1:4])
    assert torch.equal(little[project], large[project][:8])
    assert len(largest.layers()[1]) == 3 and len(small.layers()[1]) == 1


def test_a_change_of_shared_weights_changes_all_that_share_them_and_no_other_operator() -> None:
    supernet = ready_supernet(PAPER_LIKE)
    x = torch.randn(1, 3, 32, 32)
    named = {**PAPER_LIKE.named_values(extreme(PAPER_LIKE, "largest")), "block1.skip": "none"}
    by_operator = {
        operator: PAPER_LIKE.architecture({**named, "block1.operator": operator})
        for operator in ("inverted6", "inverted3", "conv")
    }
    with torch.no_grad():
        before = {name: supernet(x, architecture) for name, architecture in by_operator.items()}
        supernet.get_submodule("blocks.1.0.inverted.project").conv.weight.mul_(2)
        same = {name: torch.equal(before[name], supernet(x, by_operator[name])) for name in by_operator}

    assert same == {"inverted6": False, "inverted3": False, "conv": True}


def test_only_the_parts_of_a_network_get_gradients() -> None:
    supernet = ready_supernet(PAPER_LIKE).train()
    smallest = extreme(PAPER_LIKE, "smallest").architecture

    supernet(torch.randn(4, 3, 32, 32), smallest).sum().backward()

    operator = smallest.blocks[1].operator
    learned = {
        name.split(".")[3] for name, p in supernet.named_parameters() if "blocks.1.0" in name and p.grad is not None
    }
    assert learned == {operator}


SIZES_ONLY = SearchSpace(
    (
        BlockChoices(operator=("separable",), channels=(16,), skip=("none",)),
        *(
            BlockChoices(
                operator=("inverted3", "inverted6"),
                kernel=(3, 5),
                se_ratio=(0.0, 0.25),
                channels=(channels,),
                filters=(0.75, 1.0, 1.25),
                repeats=(2,),
                layers=(-1, 0, 1),
                stride=(2,),
            )
            for channels in (32, 64)
        ),
    ),
    stem_channels=16,
    head_channels=64,
    widths=(0.5, 1.0),
)


@torch.no_grad()
def test_networks_that_differ_in_size_alone_start_as_one() -> None:
    torch.manual_seed(0)
    supernet = Supernet(SIZES_ONLY, 5, dropout=0.0)
    x, rng = torch.randn(8, 3, 32, 32), random.Random(0)
    picked = [extreme(SIZES_ONLY, "largest"), *(SIZES_ONLY.random(rng) for _ in range(4))]

    first, *others = [supernet(x, candidate.architecture) for candidate in picked]

    assert first.std(0).min() > 0.01  # images are told apart
    for other in others:
        assert torch.allclose(first, other, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize(
    ("operator", "skips"),
    [("inverted3", ("identity", "none")), ("inverted3", ("none", "identity")), ("conv", ("identity",))],
)
def test_networks_of_any_skips_tell_images_apart_from_the_start(operator: str, skips: tuple[str, ...]) -> None:
    block = BlockChoices(operator=(operator,), channels=(8,), repeats=(3,), skip=skips)
    searched = SearchSpace((block,), stem_channels=8, head_channels=32)
    torch.manual_seed(0)
    supernet = Supernet(searched, 5, dropout=0.0)
    plain = searched.architecture({"block0.skip": "none"} if len(skips) > 1 else {})

    assert supernet(torch.randn(8, 3, 32, 32), plain).std(0).max() > 0.01


def test_what_counts_for_nothing_at_first_learns_soon() -> None:
    torch.manual_seed(0)
    supernet = Supernet(SIZES_ONLY, 5, dropout=0.0)
    optimizer = torch.optim.SGD(supernet.parameters(), 0.1)
    x, labels = torch.randn(16, 3, 32, 32), torch.arange(16) % 5
    weights = [value for value in supernet.parameters() if value.ndim == 4]
    at_first = [value == 0 for value in weights]

    for _ in range(4):
        optimizer.zero_grad()
        F.cross_entropy(supernet(x, extreme(SIZES_ONLY, "largest").architecture), labels).backward()
        optimizer.step()

    with torch.no_grad():
        learned = [value[zero] != 0 for value, zero in zip(weights, at_first, strict=True)]
        outputs = [supernet(x, extreme(SIZES_ONLY, which).architecture) for which in ("largest", "smallest")]
    assert sum(len(one) for one in learned) > 10_000
    assert torch.cat(learned).float().mean() > 0.5  # the rim of a kernel sees padding alone where maps are tiny
    assert not torch.allclose(*outputs, atol=0.01)


def test_every_option_is_drawn_equally_often() -> None:
    rounds = 12  # every count of options, 2, 3 and 4, divides it

    draws = [drawn(SIZED, seed=3, number=number) for number in range(rounds)]

    for place, choice in enumerate(SIZED.choices):
        counts = Counter(draw.values[place] for draw in draws)
        assert set(counts.values()) == {rounds // len(choice.options)}, choice.name


def test_each_pair_of_options_meets_and_another_seed_draws_otherwise() -> None:
    draws = [drawn(SIZED, seed=3, number=number).values for number in range(100)]

    for (one, first), (other, second) in itertools.combinations(enumerate(SIZED.choices), 2):
        pairs = {(draw[one], draw[other]) for draw in draws}
        assert len(pairs) == len(first.options) * len(second.options), (first.name, second.name)
    assert draws[:6] != [drawn(SIZED, seed=4, number=number).values for number in range(6)]


def test_networks_between_are_drawn_one_after_the_other_and_apart_from_the_smallest() -> None:
    curriculum = Curriculum("sandwich", between=2, warmup=0.0)

    steps = [curriculum.networks(SIZED, seed=3, step=step, steps=6) for step in range(6)]

    assert [one for step in steps for one in step[2:]] == [drawn(SIZED, seed=3, number=number) for number in range(12)]
    smallest, first = ([SIZED.named_values(step[place])["block1.skip"] for step in steps] for place in (1, 2))
    assert smallest != first


def test_the_largest_and_the_smallest_network_are_those_of_all_choices() -> None:
    searched = replace(SIZED, blocks=(SIZED.blocks[0], replace(SIZED.blocks[1], stride=(1, 2))))
    largest, smallest = (searched.named_values(extreme(searched, which)) for which in ("largest", "smallest"))

    sizes = {"kernel": (5, 3), "se_ratio": (0.25, 0.0), "filters": (1.0, 0.5), "layers": (1, -1), "stride": (1, 2)}
    for field, ends in {**sizes, "operator": ("inverted6", "conv"), "skip": ("identity", "none")}.items():
        assert (largest[f"block1.{field}"], smallest[f"block1.{field}"]) == ends
    for field, ends in {"input_size": (48, 32), "width": (1.0, 0.5)}.items():
        assert (largest[field], smallest[field]) == ends


def test_operators_and_skips_of_the_smallest_network_are_drawn_fairly() -> None:
    curriculum = Curriculum("sandwich", warmup=0.0)
    smallest = [curriculum.networks(PAPER_LIKE, seed=0, step=step, steps=12)[1] for step in range(12)]
    named = [PAPER_LIKE.named_values(candidate) for candidate in smallest]

    assert Counter(values["block1.operator"] for values in named) == dict.fromkeys(
        ("conv", "separable", "inverted3", "inverted6"), 3
    )
    assert {values["block1.kernel"] for values in named} == {3}
    assert {values["block1.layers"] for values in named} == {-1}


def test_one_steady_network_teaches() -> None:
    curriculum = Curriculum("sandwich", warmup=0.2)
    teachers = {curriculum.networks(PAPER_LIKE, seed=0, step=step, steps=30)[0] for step in range(30)}

    assert teachers == {extreme(PAPER_LIKE, "largest")}


def test_spaces_that_mix_operators_are_told_apart() -> None:
    assert [name for name in SPACES if mixes_operators(space(name))] == ["paper", "published", "published_a1"]
    for expansion, mixes in (((1, 3, 6), True), ((3, 6), False)):  # expansion 1 is a separable block
        block = BlockChoices(operator=("inverted",), expansion=expansion, channels=(16,))
        assert mixes_operators(SearchSpace((block,))) is mixes


def test_the_sandwich_has_the_largest_the_smallest_and_others() -> None:
    curriculum = Curriculum("sandwich", between=2, warmup=0.5)
    searched = space("small")

    warming = curriculum.networks(searched, seed=0, step=4, steps=10)
    later = curriculum.networks(searched, seed=0, step=5, steps=10)

    assert warming == (extreme(searched, "largest"),)
    assert later[:2] == (extreme(searched, "largest"), extreme(searched, "smallest"))
    assert len(later) == 4
    assert curriculum.seconds_per_image(largest=8, smallest=1, middling=3) == 0.5 * 8 + 0.5 * (8 + 1 + 2 * 3)


@pytest.mark.parametrize(("rule", "place"), [("single", 0), ("sandwich", 1), ("sandwich", 2)])
def test_shrinking_offers_kernels_then_depth_then_width(rule: str, place: int) -> None:
    curriculum = Curriculum(rule, warmup=0.5, shrinking=True)
    smallest = place == 1  # which takes the smallest of what is offered

    def offered(field: str, steps: range) -> set[object]:
        found = (curriculum.networks(PAPER_LIKE, seed=0, step=100 + step, steps=200)[place] for step in steps)
        return {PAPER_LIKE.named_values(candidate)[f"block1.{field}"] for candidate in found}

    assert offered("kernel", range(25)) == ({3} if smallest else {3, 5})
    assert [offered(field, range(25)) for field in ("layers", "filters")] == [{1}, {1.0}]
    assert offered("layers", range(25, 50)) == ({-1} if smallest else {-1, 0, 1})
    assert offered("filters", range(25, 50)) == {1.0}
    assert offered("filters", range(50, 100)) == ({0.5} if smallest else {0.5, 1.0})


@pytest.mark.parametrize("wrong", [{"rule": "ladder"}, {"between": 0}, {"warmup": 1.0}])
def test_a_curriculum_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=str(next(iter(wrong.values())))):
        Curriculum(**wrong)


def test_recalibration_replaces_statistics_and_keeps_weights() -> None:
    network = ready_supernet(PAPER_LIKE).cut_out(extreme(PAPER_LIKE, "largest").architecture)
    pixels = np.random.default_rng(0).integers(0, 256, (60, 40, 40, 3), np.uint8)
    before = {name: value.clone() for name, value in network.state_dict().items()}

    recalibrate(network, StoredImages(pixels, np.zeros(60, np.int64)), Preprocess(32, 32), count=48)

    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {name for name in before if ".running_" in name or name.endswith("num_batches_tracked")}
    assert not network.training


def test_recalibrated_statistics_are_those_of_images_of_all_classes_at_the_networks_size() -> None:
    network = ready_supernet(PAPER_LIKE).cut_out(extreme(PAPER_LIKE, "largest").architecture)
    pixels = np.random.default_rng(0).integers(0, 100, (256, 48, 48, 3), np.uint8)
    pixels[128:] += 150  # of the second class, which follows the first
    preprocess = Preprocess(32, 32)

    recalibrate(network, StoredImages(pixels, np.repeat([0, 1], 128)), preprocess, count=128)

    norm = network.stem.get_submodule("bn")
    with torch.no_grad():
        x = F.interpolate(torch.from_numpy(normalise(pixels, preprocess)), (32, 32), mode="bilinear", antialias=True)
        before_norm = network.stem.get_submodule("conv")(x)
    variance, mean = torch.var_mean(before_norm, (0, 2, 3))
    # half of the images stand for all: their noise is far below the difference of the classes
    assert torch.allclose(norm.running_mean, mean, atol=0.01 * float(mean.abs().max()))
    assert torch.allclose(norm.running_var, variance, rtol=0.02)
    assert norm.momentum == 0.1


def test_the_first_network_learns_the_labels_and_teaches_each_other_at_its_own_size() -> None:
    supernet, curriculum = ready_supernet(SIZED), Curriculum("sandwich", between=3, warmup=0.0)
    x, targets = torch.randn(4, 3, 48, 48), F.one_hot(torch.arange(4), 5).float()
    networks = curriculum.networks(SIZED, seed=0, step=1, steps=9)
    none = StoredImages(np.zeros((0, 48, 48, 3), np.uint8), np.zeros(0, np.int64))

    def learned(**chosen: bool) -> tuple[list[LossTerm], list[tuple[int, ArchitectureSpec]]]:
        asked = []

        def forward(x: torch.Tensor, architecture: ArchitectureSpec) -> torch.Tensor:
            asked.append((x.shape[-1], architecture))
            return supernet(x, architecture)

        objective = SharedObjective(SIZED, curriculum, 0, 0.1, none, **chosen)
        return list(objective.terms(forward, x, targets, step=1, steps=9)), asked

    (first, *others), asked = learned()

    assert asked == [(one.input_size, one.architecture) for one in networks] and {side for side, _ in asked} == {32, 48}
    assert [side for side, _ in learned(sized=False)[1]] == [48] * 5
    assert {term.weight for term in (first, *others)} == {1 / 5}
    smoothed = 0.9 * targets + 0.1 / 5
    for term, told in ((first, smoothed), *((term, first.logits.softmax(1)) for term in others)):
        assert torch.allclose(term.loss, -(told * term.logits.log_softmax(1)).sum(), rtol=1e-4)


def test_an_epoch_is_judged_by_the_largest_network_with_statistics_of_its_own(images: SearchImages) -> None:
    supernet, train, val = ready_supernet(SIZED), images.train(), images.val(48)
    objective = SharedObjective(SIZED, Curriculum(), 0, 0.1, train)

    scores = objective.scores(supernet, val, images.preprocess(48), Team(), lambda: False, 16)

    largest = supernet.cut_out(extreme(SIZED, "largest").architecture)
    recalibrate(largest, train, images.preprocess(48))
    np.testing.assert_allclose(scores, predict_logits(largest, val, images.preprocess(48)), atol=1e-4)


def trained(images: SearchImages, store: CheckpointStore, **chosen: object) -> object:
    return train_supernet(
        SIZED, images, input_size=48, epochs=2, curriculum=Curriculum("sandwich", warmup=0.2), store=store, **chosen
    )


def test_a_stopped_training_goes_on_to_the_same_bits(images: SearchImages, tmp_path: Path) -> None:
    whole, broken = CheckpointStore(tmp_path / "whole"), CheckpointStore(tmp_path / "broken")
    trained(images, whole)
    asked = iter(range(100))

    stopped = trained(images, broken, stop=lambda: next(asked) == 3)
    resumed = trained(images, broken)

    assert (stopped.status, resumed.status) == ("stopped", "done")
    assert checkpoint_digest(broken) == checkpoint_digest(whole)


def test_training_reports_steps_and_learns(images: SearchImages, tmp_path: Path) -> None:
    class Ears:
        heard: list[Event] = []  # noqa: RUF012

        def hear(self, event: Event) -> None:
            self.heard.append(event)

    result = train_supernet(PAPER_LIKE, images, input_size=32, epochs=8, listeners=[Ears()])

    assert any(isinstance(event, Stepped) for event in Ears.heard)
    assert result.history[-1]["val_accuracy"] > 0.6  # three colours: chance is a third


@pytest.mark.parametrize(("images", "batch_size"), [(400, 16), (4000, 32), (15_000, 64), (45_000, 128)])
def test_few_images_are_learned_in_small_batches_so_that_there_are_enough_steps(images: int, batch_size: int) -> None:
    assert supernet_recipe(images=images, epochs=50).batch_size == batch_size


def test_an_epoch_is_watched_on_some_images_only(images: SearchImages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mnasnet.search.supernet.WATCHED_IMAGES", 1)

    result = train_supernet(PAPER_LIKE, images, input_size=32, epochs=1)

    assert len(images.parts.val) > 3  # of three colours, of which weights that hardly learned name one
    assert result.history[-1]["val_accuracy"] in (0.0, 1.0)


def test_a_checkpoint_of_another_space_curriculum_or_images_is_refused(images: SearchImages, tmp_path: Path) -> None:
    asked = {"space": SIZED, "images": images, "input_size": 32, "epochs": 1, "store": CheckpointStore(tmp_path)}
    train_supernet(**asked, stop=lambda: True)
    others = replace(images, parts=divide(scan(images.folder), seed=1))

    for what, other in {
        "space": {"space": replace(SIZED, stem_channels=16)},
        "curriculum": {"curriculum": Curriculum("single")},
        "images": {"images": others},
        "largest_px": {"proxy_input_size": 32},
        "recipe": {"flip": False},
        "seed": {"seed": 1},
    }.items():
        with pytest.raises(TrainingError, match=f"another training: {what} was"):
            train_supernet(**{**asked, **other})


@pytest.mark.parametrize("name", list(SPACES))
def test_no_network_costs_less_than_the_cheapest_and_hardly_one_more_than_the_dearest(name: str) -> None:
    searched, rng = space(name), random.Random(0)
    work = [
        count(candidate.architecture, candidate.input_size or 64).multiply_adds
        for candidate in (*cheapest_and_dearest(searched, 64), *(searched.random(rng) for _ in range(200)))
    ]

    assert work[0] == min(work)
    assert sum(one > work[1] for one in work) <= 2
