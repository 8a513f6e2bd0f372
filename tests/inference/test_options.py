"""Each option belongs to some samplers and is refused by the others; values have ranges."""

from itertools import product

import numpy as np
import pytest

from gpt_tf.errors import UsageError
from gpt_tf.inference.beam_search import BeamSearch
from gpt_tf.inference.filters import compose
from gpt_tf.inference.options import SAMPLERS, check_options, make_filters, make_sampler
from gpt_tf.inference.samplers import ContrastiveSampler, Greedy, RandomSampler

NAN, INF = float("nan"), float("inf")
VOCAB = 5
# For each option the samplers that take it, some values, and some out of range
ALL = ("greedy", "random", "beam", "diverse-beam", "contrastive")
BEAMS = ("beam", "diverse-beam")
OPTIONS = {
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
PAIRS = list(product(ALL, OPTIONS))


def make(sampler, **options):
    return make_sampler(sampler, options), make_filters(sampler, options, VOCAB)


def test_the_table_names_every_sampler_and_option():
    assert tuple(SAMPLERS) == ALL
    assert {name for names in SAMPLERS.values() for name in names} <= OPTIONS.keys()


@pytest.mark.parametrize(("sampler", "name"), PAIRS)
def test_an_option_is_taken_by_its_samplers_alone(sampler, name):
    users, values, _ = OPTIONS[name]
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
    users, _, values = OPTIONS[name]
    for value in values if sampler in users else []:
        with pytest.raises(UsageError, match=f"out of range in {name}: "):
            make(sampler, **{name: value})


@pytest.mark.parametrize("sampler", ALL)
def test_an_option_that_is_none_is_refused(sampler):
    with pytest.raises(UsageError, match=f"sampler {sampler}: .*top.q 1. There is none such"):
        make(sampler, top_q=1)


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
        assert isinstance(sampler, RandomSampler) and sampler.seed == seed
    for options, values in (({}, (5, 0.6)), ({"top_k": 8, "alpha": 0.1}, (8, 0.1))):
        sampler = make_sampler("contrastive", options)
        assert isinstance(sampler, ContrastiveSampler) and (sampler.k, sampler.alpha) == values
    assert make_sampler("beam", {}) == BeamSearch(num_beams=4, length_penalty=1.0)
    values = {"num_beams": 6, "length_penalty": 0.5}
    assert make_sampler("beam", values) == BeamSearch(**values)
    values |= {"num_beam_groups": 3, "diversity_penalty": 0.2}
    assert make_sampler("diverse-beam", values) == BeamSearch(**values)


def test_diverse_beams_are_groups_of_one_unless_told():
    for beams in (4, 6):
        options = {} if beams == 4 else {"num_beams": beams}
        expected = BeamSearch(num_beams=beams, num_beam_groups=beams, diversity_penalty=1.0)
        assert make_sampler("diverse-beam", options) == expected


def test_an_object_is_taken_as_it_is():
    mine = RandomSampler(3)
    assert make_sampler(mine, {"top_k": 2}) is mine
    options = {"temperature": 0.5, "top_p": 0.5, "no_repeat_ngram": 2}
    assert len(make_filters(mine, options, VOCAB)) == 3


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
