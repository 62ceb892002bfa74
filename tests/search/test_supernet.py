"""Shared weights: what candidates share, how they learn, and that a cut-out network is the same network."""

from __future__ import annotations

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
from mnasnet.search.supernet import recalibrate, supernet_recipe, train_supernet
from mnasnet.space import BlockChoices, SearchSpace
from mnasnet.spaces import SPACES, space
from mnasnet.testing import write_image_folder
from mnasnet.train.batches import StoredImages
from mnasnet.train.checkpoint import CheckpointStore
from mnasnet.train.events import Event, Stepped

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


def test_shrinking_offers_kernels_then_depth_then_width() -> None:
    curriculum = Curriculum("single", warmup=0.0, shrinking=True)

    def offered(field: str, steps: range) -> set[object]:
        drawn = (curriculum.networks(PAPER_LIKE, seed=0, step=step, steps=100)[0] for step in steps)
        return {PAPER_LIKE.named_values(candidate)[f"block1.{field}"] for candidate in drawn}

    assert [offered(field, range(25)) for field in ("kernel", "layers", "filters")] == [{3, 5}, {1}, {1.0}]
    assert [offered(field, range(25, 50)) for field in ("layers", "filters")] == [{-1, 0, 1}, {1.0}]
    assert offered("filters", range(50, 100)) == {0.5, 1.0}


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


def test_recalibrated_statistics_are_those_of_the_images() -> None:
    network = ready_supernet(PAPER_LIKE).cut_out(extreme(PAPER_LIKE, "largest").architecture)
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 32, 3), np.uint8)
    preprocess = Preprocess(32, 32)

    recalibrate(network, StoredImages(pixels, np.zeros(32, np.int64)), preprocess)

    with torch.no_grad():
        before_norm = network.stem.get_submodule("conv")(torch.from_numpy(normalise(pixels, preprocess)))
    assert torch.allclose(network.stem.get_submodule("bn").running_mean, before_norm.mean((0, 2, 3)), atol=1e-4)


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


def test_a_checkpoint_of_another_space_is_refused(images: SearchImages, tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    train_supernet(PAPER_LIKE, images, input_size=32, epochs=1, store=store)

    with pytest.raises(TrainingError, match="another training: space"):
        train_supernet(replace(PAPER_LIKE, stem_channels=16), images, input_size=32, epochs=1, store=store)


@pytest.mark.parametrize("name", list(SPACES))
def test_no_network_costs_less_than_the_cheapest_and_hardly_one_more_than_the_dearest(name: str) -> None:
    searched, rng = space(name), random.Random(0)
    work = [
        count(candidate.architecture, candidate.input_size or 64).multiply_adds
        for candidate in (*cheapest_and_dearest(searched, 64), *(searched.random(rng) for _ in range(200)))
    ]

    assert work[0] == min(work)
    assert sum(one > work[1] for one in work) <= 2
