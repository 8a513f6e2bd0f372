"""Each option belongs to some samplers and is refused by the others; values have ranges."""

import importlib
import inspect
from dataclasses import fields
from itertools import product

import numpy as np
import pytest
import readme_tables

from gpt_tf.errors import UsageError
from gpt_tf.inference.beam_search import Beam, DiverseBeam
from gpt_tf.inference.choosing import make_filters, make_sampler
from gpt_tf.inference.filters import FILTERS, compose
from gpt_tf.inference.generate import Request
from gpt_tf.inference.options import (
    OPTIONS,
    OTHER_NAMES,
    SAMPLERS,
    check,
    check_options,
    default_sampler,
)
from gpt_tf.inference.samplers import Contrastive, Greedy, Random

NAN, INF = float("nan"), float("inf")
VOCAB = 5
# For each option the samplers that take it, some values, and some out of range
ALL = ("greedy", "random", "beam", "diverse-beam", "contrastive")
BEAMS = ("beam", "diverse-beam")
VALUES = {
    "repetition_penalty": (ALL, [1e-3, 1.0, 1.3], [0, -1, NAN, INF]),
    "no_repeat_ngram": (ALL, [1, 3], [0, -1, 2.5]),
    "banned_sequences": (ALL, [[], [[1], [2, 3]]], [[[]], [[1, -2]]]),
    "logit_bias": (ALL, [{}, {4: 2.0}, {0: -INF}], [{5: 1.0}, {-1: 1.0}, {0: NAN}, {0: INF}]),
    "temperature": (("random",), [1e-3, 1.0, 9.0], [0, -1, NAN, INF]),
    "top_p": (("random",), [1e-9, 1.0], [0, -0.1, 1.01, NAN]),
    "min_p": (("random",), [0.0, 1.0], [-0.1, 1.01, NAN]),
    "typical": (("random",), [1e-9, 1.0], [0, -0.1, 1.01, NAN]),
    "seed": (("random",), [0, 2**63 - 1], []),
    "top_k": (("random", "contrastive"), [1, 99], [0, -1]),
    "alpha": (("contrastive",), [0, 0.5, 1], [-0.1, 1.01, NAN]),
    "num_beams": (BEAMS, [1, 7], [0, -1]),
    "length_penalty": (BEAMS, [-10, 0, 10], [10.5, -11, NAN, INF]),
    "num_beam_groups": (("diverse-beam",), [1, 2, 4], [0, -1, 3, 8]),
    "diversity_penalty": (("diverse-beam",), [0, 1e6], [-0.1, NAN, INF]),
}
PAIRS = list(product(ALL, VALUES))


def make(sampler, **options):
    return make_sampler(sampler, options), make_filters(sampler, options, VOCAB)


# The tables fit together


def class_of(sampler: str) -> type:
    module, _, name = SAMPLERS[sampler].place.partition(":")
    return getattr(importlib.import_module(module), name)


def test_every_option_is_tested_here_or_belongs_to_a_whole_call():
    assert tuple(SAMPLERS) == ALL
    of_a_call = {field.name for field in fields(Request)} & OPTIONS.keys()
    of_texts = {option.name for option in OPTIONS.values() if option.for_ids}
    assert VALUES.keys() ^ OPTIONS.keys() == of_a_call | of_texts
    for name in of_a_call:
        default = next(field.default for field in fields(Request) if field.name == name)
        assert default == OPTIONS[name].default, name


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_options_that_name_a_sampler_are_the_arguments_of_its_class(sampler):
    expected = {option.name for option in OPTIONS.values() if sampler in option.samplers}
    given = set(inspect.signature(class_of(sampler)).parameters)
    if sampler == "beam":  # the class is that of the diverse search too
        given -= {"num_beam_groups", "diversity_penalty"}
    assert given == expected
    for name in expected - {"num_beam_groups"}:  # as many as there are beams
        default = OPTIONS[name].default
        default = default[sampler] if isinstance(default, dict) else default
        assert inspect.signature(class_of(sampler)).parameters[name].default == default, name


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_an_entry_says_of_its_class_whether_it_draws_and_searches(sampler):
    entry = SAMPLERS[sampler]
    assert (entry.draws, entry.searches) == (
        class_of(sampler).draws,
        hasattr(class_of(sampler), "search"),
    )


def test_every_filter_has_its_option_and_every_option_of_a_filter_its_filter():
    of_calls = {field.name for field in fields(Request)}
    expected = {
        option.name
        for option in OPTIONS.values()
        if option.drawing
        or (option.is_for_all and not option.for_ids and option.name not in of_calls)
    }
    assert set(FILTERS) == expected
    assert all(name in OPTIONS or name == "sampler" for name in OTHER_NAMES.values())


@pytest.mark.parametrize("name", OPTIONS)
def test_a_default_is_a_value_that_the_option_takes(name):
    default = OPTIONS[name].default
    for value in default.values() if isinstance(default, dict) else [default]:
        if value is not None:
            check(name, value)


def test_the_readme_has_the_table():
    assert readme_tables.in_readme() == readme_tables.table(), (
        "write it again: python tests/support/readme_tables.py"
    )


# Which options a sampler takes


@pytest.mark.parametrize(("sampler", "name"), PAIRS)
def test_an_option_is_taken_by_its_samplers_alone(sampler, name):
    users, values, _ = VALUES[name]
    for value in values:
        if sampler in users:
            make(sampler, **{name: value})
            check_options(sampler, {name: value})
            continue
        for refuses in (check_options, make_sampler):
            with pytest.raises(UsageError) as error:
                refuses(sampler, {name: value})
            message = str(error.value)
            assert f"without effect on the sampler {sampler}: " in message
            assert name in message.replace("--", "").replace("-", "_")
            assert message.endswith(f" {value}. It belongs to {' and '.join(users)}.")


@pytest.mark.parametrize(("sampler", "name"), PAIRS)
def test_values_out_of_range_are_refused_by_name(sampler, name):
    users, _, values = VALUES[name]
    for value in values if sampler in users else []:
        with pytest.raises(UsageError, match=f"out of range in {name}: "):
            make(sampler, **{name: value})


@pytest.mark.parametrize("sampler", ALL)
def test_an_option_that_is_none_is_refused(sampler):
    with pytest.raises(UsageError, match=r"no such option: top_q. Did you mean top_p or top_k\?"):
        make(sampler, top_q=1)
    with pytest.raises(UsageError, match=r"no such option: xyz\. Options: max_new_tokens, "):
        make(sampler, xyz=1)


@pytest.mark.parametrize(
    ("name", "meant"),
    [("max_length", "max_new_tokens"), ("num_return_sequences", "num_samples"),
     ("no_repeat_ngram_size", "no_repeat_ngram"), ("temperatur", "temperature")],
)  # fmt: skip
def test_what_other_libraries_call_an_option_is_answered_with_its_name(name, meant):
    with pytest.raises(UsageError, match=rf"^no such option: {name}\. Did you mean {meant}\?$"):
        make("greedy", **{name: 1})


def test_options_that_only_drawing_uses_are_known():
    asking = [name for name in OPTIONS if default_sampler([name]) == ("random", name)]
    assert asking == ["seed", "temperature", "top_p", "min_p", "typical"]
    assert default_sampler(["top_k", "num_beams", "stop", "no_such"]) == ("greedy", None)
    assert default_sampler(["top_k", "min_p", "seed"]) == ("random", "min_p")


@pytest.mark.parametrize("name", ["best", "", "Greedy"])
def test_an_unknown_sampler_is_told_the_list(name):
    for refuses in (check_options, make_sampler):
        with pytest.raises(UsageError) as error:
            refuses(name, {})
        assert str(error.value) == f"unknown sampler: {name}. Samplers: {', '.join(ALL)}."


def test_options_reach_their_sampler():
    assert type(make_sampler("greedy", {})) is Greedy
    for options, seed in (({}, 0), ({"seed": 7, "top_k": 3}, 7)):
        sampler = make_sampler("random", options)
        assert isinstance(sampler, Random) and sampler.seed == seed
    for options, values in (({}, (5, 0.6)), ({"top_k": 8, "alpha": 0.1}, (8, 0.1))):
        sampler = make_sampler("contrastive", options)
        assert isinstance(sampler, Contrastive) and (sampler.top_k, sampler.alpha) == values
    assert make_sampler("beam", {}) == Beam(num_beams=4, length_penalty=1.0)
    values = {"num_beams": 6, "length_penalty": 0.5}
    assert make_sampler("beam", values) == Beam(**values)
    values |= {"num_beam_groups": 3, "diversity_penalty": 0.2}
    assert make_sampler("diverse-beam", values) == DiverseBeam(**values)


def test_diverse_beams_are_groups_of_one_unless_told():
    for beams in (4, 6):
        options = {} if beams == 4 else {"num_beams": beams}
        made = make_sampler("diverse-beam", options)
        assert made == DiverseBeam(num_beams=beams)
        assert (made.num_beam_groups, made.diversity_penalty) == (beams, 1.0)


def test_an_object_is_taken_as_it_is():
    mine = Random(3)
    assert make_sampler(mine, {"top_k": 2}) is mine
    options = {"temperature": 0.5, "top_p": 0.5, "no_repeat_ngram": 2}
    assert len(make_filters(mine, options, VOCAB)) == 3


class Mine:
    """A sampler that says nothing of whether it draws."""

    def choose(self, session, logits_BWV, position): ...
    def advance(self, session, token_ids_BW): ...


class Sober(Mine):
    draws = False


@pytest.mark.parametrize("sampler", [Greedy(), Contrastive(), Beam(), DiverseBeam(), Sober()])
def test_an_object_that_does_not_draw_refuses_the_filters_for_drawing(sampler):
    assert len(make(sampler, no_repeat_ngram=2)[1]) == 1
    for name in ("temperature", "top_k", "top_p"):
        with pytest.raises(UsageError, match=rf"on the sampler .*{name} 1\. It belongs to random"):
            make(sampler, **{name: 1})


@pytest.mark.parametrize("sampler", [Random(), Mine(), lambda logits_BWV, position: None])
def test_an_object_or_a_function_that_draws_has_the_filters_but_no_other_sampler_s_options(sampler):
    assert len(make(sampler, temperature=0.5, top_k=2, no_repeat_ngram=2)[1]) == 3
    for name in ("seed", "num_beams", "alpha"):
        with pytest.raises(UsageError, match=f"without effect on the sampler .*: {name} 1"):
            make(sampler, **{name: 1})


def test_samplers_say_what_they_are():
    assert [repr(each) for each in (Greedy(), Random(7), Contrastive(alpha=0.5))] == [
        "Greedy()",
        "Random(seed=7)",
        "Contrastive(top_k=5, alpha=0.5)",
    ]
    assert repr(Beam()).startswith("Beam(num_beams=4, length_penalty=1.0")
    assert repr(DiverseBeam()).startswith("DiverseBeam(num_beams=4")


# The filters that options ask for

LOGITS_BV = np.log(np.array([[0.05, 0.4, 0.1, 0.25, 0.2]], np.float32))


def left(sampler: str, **options) -> list[int]:
    """What the filters leave after the ids 3 1."""
    filters = compose(make_filters(sampler, options, VOCAB))
    history_BT, lengths_B = np.array([[3, 1]], np.int32), np.array([2], np.int32)
    return np.flatnonzero(np.isfinite(filters(LOGITS_BV, history_BT, lengths_B)[0])).tolist()


@pytest.mark.parametrize("sampler", ALL)
def test_filters_for_all_act_on_all(sampler):
    assert left(sampler) == [0, 1, 2, 3, 4]
    assert left(sampler, no_repeat_ngram=1) == [0, 2, 4]
    assert left(sampler, banned_sequences=[[1, 4], [3, 0], [2]]) == [0, 1, 3]
    assert left(sampler, logit_bias={4: -INF}) == [0, 1, 2, 3]


def test_the_top_k_of_contrastive_search_is_no_filter():
    assert left("contrastive", top_k=2) == [0, 1, 2, 3, 4]
    assert left("random", top_k=2) == [1, 3]


def test_filters_act_in_their_order_whatever_the_order_of_the_options():
    assert left("random", top_k=2, banned_sequences=[[1]]) == [3, 4]  # not [3]
    assert left("random", top_p=0.7, top_k=2) == [1, 3]
    assert left("random", top_p=0.7, temperature=100.0) == [1, 2, 3, 4]  # not [1, 3, 4]
    assert left("random", min_p=0.5, temperature=100.0) == [0, 1, 2, 3, 4]  # not [1, 3, 4]
    assert left("random", top_k=1, logit_bias={0: 9.0}) == [0]  # not [1]
    assert left("random", top_k=1, repetition_penalty=99.0) == [4]  # not [1]


def test_options_without_an_effect_make_no_filter():
    nothing = {"repetition_penalty": 1.0, "top_k": None, "logit_bias": None}
    assert make_filters("random", nothing, VOCAB) == []
