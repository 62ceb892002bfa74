"""Search spaces: what they hold, how large they are, and what a user's file may say."""

import json
import random
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnasnet.errors import SpecError
from mnasnet.presets import MNASNET_A1, MNASNET_B1, MNASNET_SMALL
from mnasnet.space import BlockChoices, Choice, SearchSpace
from mnasnet.space_file import load_space
from mnasnet.spaces import SPACES, space


def block_design(block: BlockChoices) -> int:
    """Combinations of one block's options."""
    size = 1
    for name in ("operator", "expansion", "kernel", "se_ratio", "skip", "filters", "layers"):
        size *= len(getattr(block, name))
    return size


class TestThePapersSpace:
    def test_each_block_has_the_papers_432_designs(self):
        assert [block_design(block) for block in space("paper").blocks] == [432] * 7

    def test_its_size_agrees_with_the_papers_figure_for_five_blocks_of_three_layers(self):
        # section 4.1: "typical S = 432, B = 5, N = 3: 10^13 against 10^39" when each layer were free
        assert 1e13 < 432**5 < 2e13
        assert 1e39 < 432.0 ** (5 * 3) < 1e40

    def test_all_seven_blocks_of_its_reference_make_2_8e18(self):
        assert space("paper").size == 432**7

    def test_the_literal_list_of_operators_would_make_324(self):
        block = space("paper").blocks[0]

        assert block_design(replace(block, operator=("conv", "separable", "inverted6"))) == 324

    def test_it_holds_a1_but_for_the_112_channels_of_block_4(self):
        near = replace(
            MNASNET_A1, blocks=tuple(replace(b, channels=120) if b.channels == 112 else b for b in MNASNET_A1.blocks)
        )

        values = space("paper").values_of(near)

        assert space("paper").architecture(values).layers() == near.layers()
        with pytest.raises(SpecError, match="block 4 has channels 112, the space offers 72, 96, 120"):
            space("paper").values_of(MNASNET_A1)

    def test_it_holds_b1_but_for_the_192_channels_of_block_5(self):
        near = replace(
            MNASNET_B1, blocks=tuple(replace(b, channels=200) if b.channels == 192 else b for b in MNASNET_B1.blocks)
        )

        values = space("paper").values_of(near)

        assert space("paper").architecture(values).layers() == near.layers()
        with pytest.raises(SpecError, match="block 5 has channels 192, the space offers 120, 160, 200"):
            space("paper").values_of(MNASNET_B1)

    def test_the_choices_that_express_blocks_of_a1_are_the_papers(self):
        near = replace(
            MNASNET_A1, blocks=tuple(replace(b, channels=120) if b.channels == 112 else b for b in MNASNET_A1.blocks)
        )

        values = space("paper").values_of(near)

        third = {name.partition(".")[2]: value for name, value in values.items() if name.startswith("block2.")}
        assert third == {
            "operator": "inverted3",
            "kernel": 5,
            "se_ratio": 0.25,
            "skip": "identity",
            "filters": 1.25,  # 40 channels, MobileNetV2 has 32
            "layers": 0,
        }
        assert values["block0.operator"] == "separable"
        assert values["block0.skip"] == "none"
        assert values["block4.layers"] == -1


class TestFurtherSpaces:
    def test_the_published_space_has_9_7e15_combinations(self):
        assert space("published").size == 216**5 * 144**2

    def test_the_published_space_around_a1_holds_a1(self):
        values = space("published_a1").values_of(MNASNET_A1)

        assert space("published_a1").architecture(values).layers() == MNASNET_A1.layers()

    @pytest.mark.parametrize(
        ("name", "network"),
        [
            ("around_a1", MNASNET_A1),
            ("resolution_width", MNASNET_A1),
            ("resolution_width", MNASNET_A1.scaled(0.35)),
            ("small", MNASNET_A1.scaled(0.5)),
            ("tiny", MNASNET_SMALL),
        ],
    )
    def test_a_published_network_is_a_point(self, name, network):
        values = space(name).values_of(network)

        assert space(name).architecture(values).layers() == network.layers()

    def test_input_size_and_width_are_choices(self):
        names = [choice.name for choice in space("resolution_width").choices]

        candidate = space("resolution_width").random(random.Random(0))

        assert names[:2] == ["width", "input_size"]
        assert candidate.input_size in (96, 128, 160, 192, 224)

    def test_small_budgets_have_small_spaces(self):
        assert space("small").size == 98_304
        assert space("tiny").size == 512

    def test_of_several_widths_the_one_with_the_networks_stem_says_what_does_not_fit(self):
        blocks = MNASNET_A1.blocks
        other = replace(MNASNET_A1, blocks=(*blocks[:-1], replace(blocks[-1], kernel=7)))

        with pytest.raises(SpecError, match="block 6 has kernel 7"):
            space("resolution_width").values_of(other)

    def test_an_input_size_that_the_space_lacks_is_named(self):
        with pytest.raises(SpecError, match="input_size must be one of 96, 128, 160, 192, 224, got 100"):
            space("resolution_width").values_of(MNASNET_A1, 100)

    def test_an_unknown_name_lists_the_known_ones(self):
        with pytest.raises(SpecError, match="paper, published"):
            space("nasnet")


class TestPoints:
    @pytest.mark.parametrize("name", SPACES)
    @settings(max_examples=30, deadline=None)
    @given(seed=st.integers(0, 2**32))
    def test_choices_to_architecture_and_back_is_the_same_network(self, name, seed):
        searched = space(name)
        candidate = searched.random(random.Random(seed))

        values = searched.values_of(candidate.architecture, candidate.input_size)

        assert searched.candidate(values).fingerprint == candidate.fingerprint

    @pytest.mark.parametrize("name", SPACES)
    def test_every_combination_is_a_network(self, name):
        rng = random.Random(1)

        for _ in range(200):
            assert space(name).random(rng).architecture.layers()

    def test_neighbours_differ_in_one_choice_and_there_are_as_many_as_other_options(self):
        searched = space("paper")
        point = searched.random(random.Random(3))

        neighbours = list(searched.neighbours(point.values))

        assert len(neighbours) == sum(len(choice.options) - 1 for choice in searched.choices)
        assert {sum(a != b for a, b in zip(n.values, point.values, strict=True)) for n in neighbours} == {1}

    def test_random_points_repeat_by_seed(self):
        assert space("paper").random(random.Random(7)) == space("paper").random(random.Random(7))

    def test_networks_are_counted_without_their_doubles(self):
        searched = tiny_space_with_doubles()
        networks = {
            searched.candidate((kernel, skip, layers)).architecture
            for kernel in (3, 5)
            for skip in ("none", "identity")
            for layers in (-1, 0, 1)
        }

        assert searched.size == 12
        assert searched.count_networks() == len(networks) == 6

    def test_counting_agrees_with_enumeration_on_a_small_space(self):
        searched = space("tiny")
        point = [choice.options[0] for choice in searched.choices]
        seen, frontier = {searched.candidate(point).architecture}, [point]
        while frontier:
            for neighbour in searched.neighbours(frontier.pop()):
                if neighbour.architecture not in seen:
                    seen.add(neighbour.architecture)
                    frontier.append(neighbour.values)

        assert searched.count_networks() == len(seen)

    def test_a_missing_and_an_unknown_choice_are_named(self):
        values = dict(zip((c.name for c in space("tiny").choices), space("tiny").random(random.Random(0)).values))

        with pytest.raises(SpecError, match=r"missing none, unknown block9\.kernel"):
            space("tiny").candidate({**values, "block9.kernel": 3})
        del values["block1.kernel"]
        with pytest.raises(SpecError, match=r"missing block1\.kernel, unknown none"):
            space("tiny").candidate(values)

    def test_an_option_that_is_not_one_is_named(self):
        values = [choice.options[0] for choice in space("tiny").choices]

        with pytest.raises(SpecError, match=r"block1\.kernel must be one of 3, 5, got 7"):
            space("tiny").candidate([7, *values[1:]])


class TestFingerprints:
    def test_equal_spaces_have_equal_fingerprints_however_their_numbers_are_written(self):
        spaces = [
            SearchSpace((BlockChoices(channels=(16,), se_ratio=(zero, 0.25), filters=(one, 1.5)),), widths=(one, 0.5))
            for zero, one in ((0, 1), (0.0, 1.0))
        ]
        points = [searched.candidate_at([0, 0, 0]) for searched in spaces]

        assert spaces[0] == spaces[1]
        assert spaces[0].fingerprint == spaces[1].fingerprint
        assert points[0].fingerprint == points[1].fingerprint

    @pytest.mark.parametrize(
        ("name", "whole", "first"),
        [
            ("paper", "8680f232b2473835", "387d01e8b4f275a6"),
            ("published", "19b91e1b9be8f845", "b0098c3ead49bd07"),
            ("resolution_width", "2fd869ba444bcdc4", "f09f4b7c9e552051@192"),
            ("small", "601cb230e01d642a", "b722e09531f565b6"),
            ("tiny", "6d0839dbaa6dd4e1", "a07cb69f5d82b351"),
        ],
    )
    def test_those_of_the_built_in_spaces_stay_as_studies_have_them(self, name, whole, first):
        assert space(name).fingerprint == whole
        assert space(name).random(random.Random(0)).fingerprint == first


class TestInvalidCombinations:
    def test_expansion_is_ignored_by_regular_convolutions(self):
        block = BlockChoices(operator=("conv", "inverted"), expansion=(1, 3), channels=(16,))
        searched = SearchSpace((block,))

        assert searched.architecture(("conv", 1)) == searched.architecture(("conv", 3))

    def test_expansion_one_is_a_separable_convolution(self):
        block = BlockChoices(operator=("inverted",), expansion=(1, 3), channels=(16,))

        assert SearchSpace((block,)).architecture((1,)).blocks[0].operator == "separable"

    def test_a_block_keeps_one_layer_at_least(self):
        block = BlockChoices(channels=(16,), layers=(-1, 0))

        assert SearchSpace((block,)).architecture((-1,)).blocks[0].repeats == 1

    def test_of_several_choices_that_build_a_network_the_plainest_is_told(self):
        searched = SearchSpace((BlockChoices(channels=(8,), filters=(0.75, 1.0), layers=(-1, 0)),))

        network = searched.architecture((0.75, -1))

        assert searched.values_of(network) == {"block0.filters": 1.0, "block0.layers": 0}

    def test_a_skip_that_no_layer_can_take_is_none(self):
        block = BlockChoices(channels=(16,), stride=(2,), skip=("none", "identity"))
        searched = SearchSpace((block,))

        assert searched.architecture(("none",)) == searched.architecture(("identity",))


def billions_of_words():
    """A list that its aliases make too long to print."""
    bomb = "[x, x, x, x, x, x, x, x, x]"
    for name in "abcdefghi":
        bomb = f"[&{name} {bomb}" + f", *{name}" * 8 + "]"
    return bomb


class TestSpaceFiles:
    def test_a_yaml_file_with_blocks_is_a_space(self, tmp_path):
        path = tmp_path / "mine.yaml"
        path.write_text(
            "stem_channels: 16\n"
            "input_sizes: [64, 96]\n"
            "vary: {kernel: [3, 5]}\n"
            "blocks:\n"
            "  - {operator: separable, channels: 16, kernel: 3, skip: none}\n"
            "  - {operator: [inverted3, inverted6], channels: 24, filters: [0.75, 1.0], repeats: 2, stride: 2}\n",
            encoding="utf-8",
        )

        mine = load_space(path)

        assert mine.name == "mine"
        assert [choice.name for choice in mine.choices] == [
            "input_size",
            "block1.operator",
            "block1.kernel",
            "block1.filters",
        ]

    def test_expansion_is_opened_where_blocks_have_one(self, tmp_path):
        path = tmp_path / "mine.yaml"
        path.write_text("start: mnasnet_b1\nvary: {expansion: [3, 6]}\n", encoding="utf-8")

        found = load_space(path)

        assert [len(block.expansion) for block in found.blocks] == [1, 2, 2, 2, 2, 2, 2]

    def test_a_file_can_start_from_a_published_network(self, tmp_path):
        path = tmp_path / "b1.yaml"
        path.write_text("start: mnasnet_b1\nvary: {kernel: [3, 5]}\n", encoding="utf-8")

        mine = load_space(path)

        assert mine.size == 2**7
        assert mine.architecture(mine.values_of(MNASNET_B1)).layers() == MNASNET_B1.layers()

    @pytest.mark.parametrize("name", SPACES)
    def test_every_built_in_space_survives_a_file(self, name, tmp_path):
        path = tmp_path / "space.json"
        path.write_text(json.dumps(space(name).to_dict()), encoding="utf-8")

        assert load_space(path) == space(name)
        assert load_space(path).fingerprint == space(name).fingerprint

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("blocks: [", "neither YAML nor JSON"),
            ("[1, 2]", "a search space is a mapping"),
            ("{}", "needs 'blocks'"),
            ("blocks: [{channels: 16}]\ncolour: red", "unknown field colour"),
            ("blocks: [{channels: 16, kernels: 3}]", "block 0 has the unknown field kernels"),
            ("blocks: [{kernel: 3}]", "block 0: a block needs at least one option for channels"),
            ("blocks: [{channels: 16, kernel: 4}]", "block 0: kernel must be odd"),
            ("blocks: [{channels: 16, operator: transformer}]", "block 0: operator must be one of"),
            ("blocks: [{channels: 16, kernel: [3, 3]}]", "the options of kernel must differ"),
            ("blocks: [{channels: 16, kernel: [3, [5]]}]", "an option is a number or a word"),
            ("blocks: [{channels: many}]", "channels must be whole numbers"),
            ("blocks: [{channels: [0, 16]}]", "channels must be whole numbers >= 1, got [0, 16]"),
            ("blocks: [{channels: 16}]\nstart: mnasnet_a1", "either 'blocks' or 'start'"),
            ("start: mnasnet_z9", "no network is called 'mnasnet_z9'"),
            ("blocks: [{channels: 16}]\ninput_sizes: 8", "input_sizes must be whole numbers of pixels, 32 to 2048"),
            ("blocks: [{channels: 16}]\ninput_sizes: [32, 100000]", "32 to 2048, got 100000"),
            ("blocks: [{channels: [16, 2000000000]}]", "channels must be at most 65,536"),
            ("blocks: [{channels: 16, repeats: [1, 3000000]}]", "repeats must be at most 64, got 3,000,000"),
            ("blocks: [{channels: 16, layers: [0, 64]}]", "a block has at most 64 layers"),
            (f"blocks: [{{channels: 16, layers: [0, {10**400}]}}]", "layers up to a far larger number"),
            (f"blocks: [{{channels: 16, filters: [1, {10**400}]}}]", "filters must lie between 0 and 10"),
            ("blocks: [{channels: " + "9" * 5000 + "}]", "neither YAML nor JSON"),
            ("blocks: [{channels: 16, kernel: [3, 101]}]", "kernel must be at most 31, got 101"),
            ("blocks: [{channels: 16, se_ratio: high}]", "se_ratio must lie in 0 to 1, got 'high'"),
            ("head_channels: 2000000000\nblocks: [{channels: 16}]", "head_channels must be at most 65,536"),
            ("start: " + "[" * 3000, "nested too deep"),
            (f"start: {billions_of_words()}", "start must be the name of a network"),
            (f"start: mnasnet-a1\nvary: {billions_of_words()}", "vary must be a mapping"),
            (f"name: {billions_of_words()}\nblocks: [{{channels: 16}}]", "name must be text"),
            ("blocks: [{channels: 16}]\nschema: 99", "newer"),
            ("blocks: [{channels: 16}]\nschema: one", "schema must be a whole number >= 1, got 'one'"),
            ("blocks: [{channels: 16}]\nwidths: []", "widths are one or more numbers"),
            ("blocks: [{channels: 16}]\nwidths: 0", "widths are one or more numbers above 0"),
            ("blocks: [{channels: 16, filters: 0}]", "filters must lie between 0 and 10"),
            ("blocks: [{channels: 16}]\nchannel_multiple: 0", "channel_multiple must be a whole number >= 1, got 0"),
            ("blocks: [{channels: 16, expansion: [3, 6]}]", "needs operator: inverted beside it"),
            ("blocks: [{channels: 16, expansion: 3}]", "expansion needs operator: inverted beside it, got inverted6"),
            ("blocks: [{channels: 16, operator: inverted}]", "operator inverted needs expansion beside it"),
            ("start: mnasnet_a1\nvary: {operator: [conv, inverted]}", "operator inverted needs expansion beside it"),
        ],
    )
    def test_a_faulty_file_is_explained_in_one_sentence(self, text, message, tmp_path):
        complaint = complaint_about(text.encode(), tmp_path)

        assert "mine.yaml" in complaint and message in complaint

    @pytest.mark.parametrize(
        ("text", "where"),
        [
            ("blocks:\n  - kernel: [3, 5\n  - x: 1\n", r"line 3, column 6: expected ',' or '\]', but got ':'"),
            ("blocks: 1\n\tname: x\n", "line 2, column 1: found character '\\\\t' that cannot start any token"),
            ('{"name": "x",,}', "line 1, column 14: expected the node content, but found ','"),
            ("name: 'never ends", "line 1, column 18: found unexpected end of stream"),
            ("name: x\nsource: a\0b", "line 2, column 10: unacceptable character #x0000: special characters .*"),
        ],
    )
    def test_a_slip_in_yaml_is_told_in_one_line_with_its_place(self, text, where, tmp_path):
        complaint = complaint_about(text.encode(), tmp_path)

        assert re.search(rf"mine\.yaml is neither YAML nor JSON: {where}$", complaint) and "\n" not in complaint

    def test_text_that_is_no_utf_8_is_told_in_one_line(self, tmp_path):
        complaint = complaint_about("name: café".encode("latin-1"), tmp_path)

        assert re.search(r"mine\.yaml is neither YAML nor JSON: .*can't decode byte 0xe9", complaint)

    def test_yaml_that_names_python_objects_is_refused(self, tmp_path):
        complaint = complaint_about(b"!!python/object/apply:os.system ['true']", tmp_path)

        assert "neither YAML nor JSON" in complaint

    def test_a_missing_file_is_named(self):
        with pytest.raises(SpecError, match=r"nowhere\.yaml cannot be read"):
            load_space(Path("nowhere.yaml"))


def complaint_about(content: bytes, parent: Path) -> str:
    """What is said about ``content`` as the file of a space."""
    path = parent / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(SpecError) as error:
        load_space(path)
    return str(error.value)


@pytest.mark.parametrize("options", [(3,), (True, 1), (False, True), (None, 1)])
def test_a_choice_needs_two_options(options):
    with pytest.raises(SpecError, match="two or more different options, numbers or words, got"):
        Choice("kernel", options)


def test_numbers_of_numpy_lists_and_single_options_make_the_same_space():
    block = BlockChoices("inverted6", kernel=np.array([3, 5]), channels=[np.int64(16)], filters=[np.float32(0.75), 1])
    space = SearchSpace([block], stem_channels=np.int64(16), input_sizes=np.array([64, 96]), widths=[0.5, 1])

    plain_block = BlockChoices(("inverted6",), kernel=(3, 5), channels=(16,), filters=(0.75, 1.0))
    plain = SearchSpace((plain_block,), stem_channels=16, input_sizes=(64, 96), widths=(0.5, 1.0))
    assert (space, hash(space), space.fingerprint) == (plain, hash(plain), plain.fingerprint)
    assert Choice("kernel", np.array([3, 5])) == Choice("kernel", (3, 5))


def tiny_space_with_doubles() -> SearchSpace:
    """One strided block in which skip does nothing at one layer and layers -1 and 0 are the same."""
    block = BlockChoices(
        channels=(16,), stride=(2,), kernel=(3, 5), skip=("none", "identity"), repeats=(1,), layers=(-1, 0, 1)
    )
    return SearchSpace((block,))
