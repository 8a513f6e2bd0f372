"""Sessions: each branch of each row has the logits of a full pass over its own window."""

import doctest
import sys
from collections.abc import Sequence

import numpy as np
import pytest
import reference
from hypothesis import strategies as st
from properties import holds
from tiny_models import randomise, small_config, small_gpt

from gpt_tf.errors import UsageError
from gpt_tf.inference.decoder import Decoder
from gpt_tf.inference.engine import Bools, Decoded, Ints
from gpt_tf.inference.kv_cache import KVCache
from gpt_tf.inference.session import PastContext, Session
from gpt_tf.model.architectures import make_model
from gpt_tf.model.language_model import LanguageModel
from gpt_tf.model.variables import read_values, weight_variables

VOCAB = 29
CONTEXTS = {"demo": 8, "imdb": 7, "bigram": 8}
MODES: list[PastContext] = ["slide", "half"]
# float32 sums in another order; logits are a few units wide
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def model_of(name: str, context_length: int) -> LanguageModel:
    if name == "bigram":
        model = make_model(small_config(name, context_length=context_length), seed=1)
        randomise(model)
        return model
    return small_gpt(name, context_length=context_length, num_heads=3, head_dim=5)


DECODERS = {name: Decoder(model_of(name, context)) for name, context in CONTEXTS.items()}


class WatchedDecoder:
    """A decoder that keeps the caches it gave, and how much each run had to take in."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self.context_length = decoder.context_length
        self.vocab_size = decoder.vocab_size
        self.caches: list[KVCache] = []
        self.times: list[int] = []

    def new_cache(self, rows: int) -> KVCache:
        self.caches.append(self._decoder.new_cache(rows))
        return self.caches[-1]

    def run(
        self,
        token_ids_BT: Ints,
        positions_BT: Ints,
        cache: KVCache | None,
        visible_BTK: Bools,
        wanted_BQ: Ints,
    ) -> Decoded:
        self.times.append(token_ids_BT.shape[1])
        return self._decoder.run(token_ids_BT, positions_BT, cache, visible_BTK, wanted_BQ)


# --- what a session should say


def window_length(prompt: int, steps: int, context: int, past_context: PastContext) -> int:
    """How many of a branch's tokens count, by arithmetic.

    >>> [window_length(7, steps, 8, "slide") for steps in range(4)]
    [7, 8, 8, 8]
    >>> [window_length(7, steps, 8, "half") for steps in range(8)]
    [7, 8, 4, 5, 6, 7, 8, 4]
    """
    unbroken = min(prompt, context) + steps
    if unbroken <= context or past_context == "slide":
        return min(unbroken, context)
    half = max(context // 2, 1)
    return half + (unbroken - context - 1) % (context + 1 - half)


def full_pass(model: LanguageModel, windows: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Hidden states after each token of each window, padded, and logits after its last."""
    values = read_values(weight_variables(model))
    ids_NT = np.zeros((len(windows), max(map(len, windows))), np.int32)
    for row, window in enumerate(windows):
        ids_NT[row, : len(window)] = window
    last = (np.arange(len(windows)), [len(window) - 1 for window in windows])
    if model.config.architecture == "bigram":
        return values["table"][ids_NT], values["table"][ids_NT[last]]
    hidden_NTD = reference.hidden(model.config, values, ids_NT)
    return hidden_NTD, reference.head(model.config, values, hidden_NTD[last])


class Told:
    """A session, and beside it in plain lists what each branch was told."""

    def __init__(
        self, decoder: Decoder, lengths: Sequence[int], past_context: PastContext, seed: int = 0
    ) -> None:
        self._model = decoder.model
        self._context, self._past_context = decoder.context_length, past_context
        self._generator = np.random.default_rng(seed)
        self._lengths = lengths
        prompts = [self._generator.integers(0, VOCAB, length).tolist() for length in lengths]
        self.ids = [[prompt] for prompt in prompts]
        self.finished: set[int] = set()
        self.session = Session(decoder, prompts, past_context, truncate="left")

    def branch(self, parents_BW: Sequence[Sequence[int]]) -> None:
        self.session.branch(np.array(parents_BW))
        self.ids = [
            [row[p] for p in parents] for row, parents in zip(self.ids, parents_BW, strict=True)
        ]

    def finish(self, row: int) -> None:
        self.session.finish([row])
        self.finished.add(row)

    def step(self) -> None:
        token_ids_BW = self._generator.integers(0, VOCAB, self.session.lengths_BW.shape)
        self.session.step(token_ids_BW)
        for row, new in enumerate(token_ids_BW.tolist()):
            if row not in self.finished:
                self.ids[row] = [[*old, i] for old, i in zip(self.ids[row], new, strict=True)]

    def window(self, row: int, branch: int) -> list[int]:
        ids, prompt = self.ids[row][branch], self._lengths[row]
        steps = len(ids) - prompt
        return ids[-window_length(prompt, steps, self._context, self._past_context) :]

    def check(self) -> None:
        """Ids of all rows; hidden states and logits of those not finished."""
        session = self.session
        assert [
            [ids[:length].tolist() for ids, length in zip(*row, strict=True)]
            for row in zip(session.tokens_BWT, session.lengths_BW, strict=True)
        ] == self.ids
        places = [(b, w) for b, w in np.ndindex(session.lengths_BW.shape) if b not in self.finished]
        if not places:
            return
        windows = [self.window(*place) for place in places]
        hidden_NTD, logits_NV = full_pass(self._model, windows)
        index = tuple(np.transpose(places))
        np.testing.assert_allclose(session.logits_BWV[index], logits_NV, **CLOSE)
        last_ND = hidden_NTD[np.arange(len(windows)), [len(window) - 1 for window in windows]]
        np.testing.assert_allclose(session.hidden_BWD[index], last_ND, **CLOSE)


def test_the_oracles_own_examples() -> None:
    result = doctest.testmod(sys.modules[__name__])
    assert result.attempted == 2 and result.failed == 0


# --- equivalences


@holds(
    15,
    200,
    data=st.data(),
    name=st.sampled_from(sorted(DECODERS)),
    past_context=st.sampled_from(MODES),
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    steps=st.integers(0, 16),
)
def test_every_branch_equals_the_full_pass_over_its_window(
    data: st.DataObject, name: str, past_context: PastContext, lengths: list[int], steps: int
) -> None:
    told = Told(DECODERS[name], lengths, past_context)
    told.check()
    rows = range(len(lengths))
    for _ in range(steps):
        present, width = told.session.lengths_BW.shape[1], data.draw(st.integers(1, 4))
        parents = st.lists(st.integers(0, present - 1), min_size=width, max_size=width)
        told.branch(data.draw(st.tuples(*[parents for _ in rows])))
        told.check()
        told.step()
        finishing = data.draw(st.sampled_from([None] * 30 + list(rows)))
        if finishing is not None:
            told.finish(finishing)
    told.check()


@pytest.mark.parametrize("past_context", MODES)
@pytest.mark.parametrize("context", [1, 2, 3, 5])
def test_windows_of_any_context(context: int, past_context: PastContext) -> None:
    told = Told(Decoder(model_of("demo", context)), [1, context, context + 2], past_context)
    told.branch([[0, 0]] * 3)
    for _ in range(2 * context + 3):
        told.step()
        told.check()


@pytest.mark.parametrize("past_context", MODES)
@pytest.mark.parametrize("name", DECODERS)
def test_rows_of_a_batch_are_as_alone(name: str, past_context: PastContext) -> None:
    """The rows pass the context at steps of their own: 8 - 7, 8 - 1, at once, 8 - 4."""
    decoder, generator = DECODERS[name], np.random.default_rng(1)
    prompts = [generator.integers(0, VOCAB, length).tolist() for length in (7, 1, 11, 4)]
    together = Session(decoder, prompts, past_context, truncate="left")
    alone = [Session(decoder, [prompt], past_context, truncate="left") for prompt in prompts]
    for token_ids_B1 in generator.integers(0, VOCAB, (16, 4, 1)):
        together.step(token_ids_B1)
        for row, session in enumerate(alone):
            session.step(token_ids_B1[[row]])
        logits_BWV = np.concatenate([session.logits_BWV for session in alone])
        np.testing.assert_allclose(together.logits_BWV, logits_BWV, **CLOSE)


@pytest.mark.parametrize("past_context", MODES)
@pytest.mark.parametrize("name", DECODERS)
def test_finished_rows_stay_and_the_others_go_on(name: str, past_context: PastContext) -> None:
    told = Told(DECODERS[name], [3, 6, 10], past_context)
    told.branch([[0, 0]] * 3)
    for step in range(20):
        if step == 1:
            told.finish(2)
        if step == 9:
            told.finish(0)
        told.step()
        told.check()
    assert told.session.lengths_BW.tolist() == [[12, 12], [26, 26], [11, 11]]


@pytest.mark.parametrize("past_context", MODES)
@pytest.mark.parametrize("name", DECODERS)
def test_prompt_hidden_is_that_of_the_full_pass(name: str, past_context: PastContext) -> None:
    told = Told(DECODERS[name], [3, 1, 12, 5], past_context)
    windows = [told.window(row, 0) for row in range(4)]
    hidden_NTD, _ = full_pass(DECODERS[name].model, windows)
    for _ in range(10):
        told.branch([[0, 0]] * 4)
        told.step()
    lengths = [len(hidden_TD) for hidden_TD in told.session.prompt_hidden]
    assert lengths == [3, 1, CONTEXTS[name], 5]
    for expected_TD, hidden_TD in zip(hidden_NTD, told.session.prompt_hidden, strict=True):
        np.testing.assert_allclose(hidden_TD, expected_TD[: len(hidden_TD)], **CLOSE)


# --- filters


def test_filters_get_each_branch_with_its_own_history() -> None:
    told = Told(DECODERS["demo"], [2, 5, 9], "slide")
    for _ in range(2):
        told.branch([[0, 0, 0]] * 3)
        told.step()
    told.branch([[2, 0], [1, 1], [0, 2]])
    given: list[list[int]] = []

    def own_tokens(logits: np.ndarray, history: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        seen = [ids[:length].tolist() for ids, length in zip(history, lengths, strict=True)]
        given.extend(seen)
        return logits + np.array([[ids[-1]] for ids in seen], np.float32)

    filtered_BWV = told.session.filtered(own_tokens)
    assert given == [ids for row in told.ids for ids in row]
    last_BW = np.array([[ids[-1] for ids in row] for row in told.ids], np.float32)
    expected_BWV = told.session.logits_BWV + last_BW[..., None]
    np.testing.assert_array_equal(filtered_BWV, expected_BWV)


# --- what it costs


def test_no_cache_is_copied_to_branch() -> None:
    decoder = WatchedDecoder(DECODERS["demo"])
    session = Session(decoder, [[1, 2], [3]])
    (cache,) = decoder.caches
    array, tensor = cache.array, cache.tensor
    for width in (3, 2, 4):
        writes, before = len(cache.writes), cache.array.copy()
        session.branch(np.zeros((2, width), np.int64))
        assert len(cache.writes) == writes
        np.testing.assert_array_equal(cache.array, before)
        assert cache.array is array
        assert cache.tensor is tensor
        session.step(np.ones((2, width), np.int64))
        assert cache.writes[writes].shape == (2, width)
    assert decoder.caches == [cache]
    assert decoder.times == [2, 3, 2, 4]  # nor is anything encoded anew


def test_slots_that_no_branch_sees_are_written_again() -> None:
    """A beam's abandoned branches cost no memory: of 4 tokens per step one stays."""
    model = small_gpt("demo", context_length=200)
    decoder = WatchedDecoder(Decoder(model))
    session = Session(decoder, [[1, 2], [3]])
    (cache,) = decoder.caches
    random = np.random.default_rng(3)
    for _ in range(50):
        session.branch(np.repeat(random.integers(0, session.lengths_BW.shape[1], (2, 1)), 4, 1))
        session.step(random.integers(0, VOCAB, (2, 4)))
    assert cache.slots == 64  # 2 + 4 * 50 otherwise
    for row, branch in ((0, 3), (1, 0)):
        ids_1T = session.tokens_BWT[row, branch, : session.lengths_BW[row, branch]][None]
        np.testing.assert_allclose(session.logits_BWV[row, branch], model(ids_1T)[0, -1], **CLOSE)


@pytest.mark.parametrize(
    ("past_context", "times"),
    [("slide", [7, 1, 8, 8, 8, 8, 8, 8, 8]), ("half", [7, 1, 4, 1, 1, 1, 1, 4, 1])],
)
def test_what_is_encoded_anew(past_context: PastContext, times: list[int]) -> None:
    decoder = WatchedDecoder(DECODERS["demo"])
    session = Session(decoder, [[1] * 7], past_context)
    for _ in range(8):
        session.step(np.array([[2]]))
    assert decoder.times == times


def test_one_trace_for_sixty_generations() -> None:
    decoder, generator = Decoder(DECODERS["imdb"].model), np.random.default_rng(2)
    for lengths in generator.integers(1, decoder.context_length + 1, (60, 2)):
        told = Told(decoder, lengths[: generator.integers(1, 3)].tolist(), "slide")
        for _ in range(generator.integers(0, 10)):
            told.step()
        told.check()
    assert decoder.traces == 1


# --- mistakes


@pytest.mark.parametrize("bad", [-1, VOCAB, 10**6])
def test_ids_outside_the_vocabulary_are_refused(bad: int) -> None:
    with pytest.raises(UsageError, match=rf"outside the vocabulary in row 1: {bad}\. .* 0 to 28"):
        Session(DECODERS["demo"], [[0, 28], [3, bad, 4]])


def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(UsageError, match="empty prompt in row 1"):
        Session(DECODERS["demo"], [[1], []])


def test_a_session_keeps_its_prompts_to_itself() -> None:
    prompt = [1, 2]
    Session(DECODERS["demo"], [prompt]).step(np.array([[3]]))
    assert prompt == [1, 2]
