"""The settings of a run: frozen dataclasses, one sentence a field.

The sentence is also the help of the command line, the range is checked when the object is made,
and every problem found is reported at once. A resolved `Config` is stored with each run, so that a
resumed run obeys the same numbers. Reading and merging files is in `config_files`.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
import sys
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gpt_tf.errors import UsageError

# What the tables of training and of the model say, for those who do not import TensorFlow.
WITHOUT_DECAY = ("adam",)  # optimizers to which weight_decay means nothing
OF_OPTIMIZER = {"muon": ("muon_learning_rate", "muon_momentum")}  # settings of one alone
Schedule = Literal["cosine", "linear", "constant"]
GATED = ("swiglu",)  # activations with a gate, a matrix of its own
NEVER_FALLING = ("constant",)  # schedules that stay at the peak
FLOAT32_MAX, FLOAT32_MIN = 3.4028234e38, 1.1754944e-38  # beyond them it is inf or 0


def in_float32(number: float) -> bool:
    """Whether float32 has the number as neither infinity nor, unless it is 0, as 0."""
    return number == 0 or FLOAT32_MIN <= abs(number) <= FLOAT32_MAX


def setting(
    default: Any,
    help: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    given: tuple[float, float] | None = None,
) -> Any:
    """A dataclass field with its sentence and its inclusive range.

    Args:
      given: a narrower range of what can be given; what a run has stored may be beyond it.
    """
    metadata = {"help": help, "minimum": minimum, "maximum": maximum, "given": given}
    return field(default=default, metadata=metadata)


def rate(default: float, help: str) -> Any:
    """A dropout rate: at least 0, below 1."""
    return setting(default, help, minimum=0.0, maximum=0.99)


def falling_steps(steps: int, share: float) -> int:
    """In how many of the `steps` after the warm-up the rate falls: the last ones, at least one.

    >>> falling_steps(100, 0.25)
    25
    """
    return max(1, round(share * steps))


def plain(value: Any) -> Any:
    """A number of NumPy as that of Python; anything else as it is."""
    if isinstance(value, bool) or type(value) in (int, float):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    return float(value) if isinstance(value, numbers.Real) else value


@dataclass(frozen=True, kw_only=True)
class Section:
    """Base of every section: checks types and ranges of its own fields when it is made."""

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            object.__setattr__(self, item.name, plain(getattr(self, item.name)))
        problems = check_section(self)
        if problems:
            raise UsageError("\n".join(problems))


@dataclass(frozen=True, kw_only=True)
class DropoutConfig(Section):
    """Where units are dropped while training, and how many of them."""

    embedding: float = rate(0.0, "Share dropped after the embeddings.")
    block_input: float = rate(0.0, "Share of the residual stream dropped before each block.")
    attention_weights: float = rate(0.0, "Share of attention weights dropped.")
    attention_output: float = rate(0.0, "Share dropped after the attention's output projection.")
    ffn_hidden: float = rate(0.0, "Share dropped between the two dense layers of a block.")
    ffn_output: float = rate(0.0, "Share dropped after the feed-forward.")
    head: float = rate(0.0, "Share dropped before the output head.")


@dataclass(frozen=True, kw_only=True)
class LoraConfig(Section):
    """Low-rank adapters (Hu et al. 2021), which are trained while all other weights stay."""

    rank: int = setting(0, "Rank of the adapters; 0 for none.", minimum=0)
    alpha: float = setting(
        16.0, "What an adapter adds is scaled by alpha / rank.", minimum=1e-6, maximum=1e6
    )
    qkv: bool = setting(True, "Queries, keys and values have an adapter.")
    attention_output: bool = setting(False, "The attention's output projection has one.")
    ffn: bool = setting(False, "Both dense layers of the feed-forward have one.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rank and not (self.qkv or self.attention_output or self.ffn):
            raise UsageError(
                "rank must be 0 if none of qkv, attention_output, ffn is true, "
                f"received: {self.rank}"
            )


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Section):
    """The architecture of the model."""

    architecture: Literal["gpt", "bigram"] = setting(
        "gpt", "A GPT; or a table of logits for each pair of tokens, as a baseline for the GPT."
    )
    vocab_size: int = setting(
        50257, "Entries of the embedding; the tokenizer's real size once there is one.", minimum=2
    )
    context_length: int = setting(128, "Tokens the model sees at once.", minimum=1)
    num_layers: int = setting(4, "Decoder blocks.", minimum=1)
    num_heads: int = setting(4, "Attention heads of a block.", minimum=1)
    embed_dim: int = setting(128, "Width of the residual stream.", minimum=1)
    ffn_dim: int = setting(512, "Width of the feed-forward's hidden layer.", minimum=1)
    head_dim: int | None = setting(
        None, "Width of one attention head; embed_dim // num_heads if not set.", minimum=1
    )
    bias: bool = setting(True, "Dense layers and layer norms add a bias; the head's is head_bias.")
    qkv_bias: bool = setting(True, "Queries, keys and values add a bias, if bias is true.")
    qk_norm: bool = setting(
        False, "Queries and keys of each head go through a root mean square norm (Qwen3)."
    )
    activation: Literal["gelu", "gelu_tanh", "relu", "relu2", "swiglu"] = setting(
        "gelu",
        "Activation of the feed-forward: exact gelu, its tanh approximation, relu, its square; or "
        "SwiGLU, whose gate is one more matrix.",
    )
    norm: Literal["layer", "rms"] = setting(
        "layer", "Layer norm; or root mean square norm, which subtracts no mean and adds no bias."
    )
    norm_position: Literal["pre", "post"] = setting(
        "pre", "A norm before each sub-layer (GPT-2) or after its residual sum (GPT-1)."
    )
    norm_epsilon: float = setting(
        1e-5, "Added to the variance in norms, or to the mean square.", minimum=1e-12
    )
    positions: Literal["learned", "offset", "rotary", "none"] = setting(
        "learned",
        "A learned vector for each position; the same shifted by 2 (OPT); queries and keys rotated "
        "by their position; or none.",
    )
    rope_base: float = setting(
        10_000.0,
        "Base of rotary positions: the slowest pair of numbers turns by almost 1 / base a token.",
        minimum=1.0,
        maximum=1e9,
    )
    embedding_norm: bool = setting(False, "A norm right after the embeddings.")
    final_norm: bool = setting(True, "A norm before the head.")
    tied_head: bool = setting(True, "The head shares the token embedding's weights.")
    head_bias: bool = setting(False, "The head adds a bias.")
    initial_weights: Literal["keras", "gpt2", "pytorch"] = setting(
        "keras",
        "Glorot, and uniform 0.05 for embeddings (Keras); normal with initial_std, residual "
        "outputs smaller (GPT-2); or uniform by fan-in, and normal embeddings (PyTorch).",
    )
    initial_std: float = setting(
        0.02, "Standard deviation of the initial weights of gpt2.", minimum=1e-6, maximum=1.0
    )
    initial_residual: Literal["scaled", "zero"] = setting(
        "scaled",
        "Matrices whose products are added to the residual stream begin as initial_weights says, "
        "or at zero.",
    )
    dropout: DropoutConfig = field(default_factory=DropoutConfig)
    lora: LoraConfig = field(default_factory=LoraConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lora.rank and self.architecture != "gpt":
            raise UsageError(
                f"lora.rank must be 0 for the architecture {self.architecture}, "
                f"received: {self.lora.rank}"
            )
        if self.head_dim is None and self.embed_dim < self.num_heads:
            raise UsageError(
                f"embed_dim must be at least num_heads ({self.num_heads}) if head_dim is "
                f"none, received: {self.embed_dim}"
            )
        if self.architecture == "gpt" and self.positions == "rotary" and self.head_width % 2:
            source = f" (embed_dim {self.embed_dim} // num_heads {self.num_heads})"
            raise UsageError(
                "head_dim must be even if positions is rotary, "
                f"received: {self.head_width}{'' if self.head_dim else source}"
            )

    @property
    def head_width(self) -> int:
        """Width of one attention head."""
        return self.head_dim or self.embed_dim // self.num_heads

    @property
    def has_qkv_bias(self) -> bool:
        """Whether queries, keys and values add a bias."""
        return self.bias and self.qkv_bias

    @property
    def is_gated(self) -> bool:
        """Whether the feed-forward has a gate beside its first matrix, and as wide."""
        return self.activation in GATED


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig(Section):
    """What `train-tokenizer` makes."""

    kind: Literal["bpe", "wordpiece", "char"] = setting(
        "bpe", "Byte-level BPE, WordPiece, or one entry per character."
    )
    vocab_size: int = setting(
        8000, "Entries asked for, special tokens included; char takes what the text has.", minimum=2
    )
    num_merges: int | None = setting(
        None,
        "Merges of bpe and wordpiece; null: as many as vocab_size asks for. Whichever of the two "
        "is reached first ends the training.",
        minimum=0,
    )
    min_frequency: int = setting(
        1, "How often a pair must occur in the texts before it is merged.", minimum=1
    )
    lower_case: bool = setting(False, "Turn text to lower case.")
    remove_punctuation: bool = setting(False, "Turn ASCII punctuation into blanks.")
    unknown_characters: Literal["fail", "replace"] = setting(
        "fail", "What a char tokenizer does with a character it has not seen: an error, or [UNK]."
    )


@dataclass(frozen=True, kw_only=True)
class DataConfig(Section):
    """How documents become batches."""

    windows: Literal["padded", "packed", "random"] = setting(
        "padded",
        "One document a row, cut or padded; documents joined, nothing thrown away; or the same at "
        "random offsets.",
    )
    document: Literal["file", "line"] = setting(
        "file", "What a document is in a file of plain text; in other kinds it is a record."
    )
    column: str = setting("text", "The field that holds the text, in files of records.")
    strict: bool = setting(
        True,
        "Refuse a .csv or .jsonl file that can be understood in two ways, and find the delimiter "
        "of a CSV; otherwise only commas separate fields, as in version 0.1.0.",
    )
    min_bytes: int = setting(0, "Documents of fewer UTF-8 bytes are left out.", minimum=0)
    shuffle: bool = setting(True, "Visit the documents of each epoch in a new random order.")
    buffer_size: int = setting(16, "Batches read ahead of the training step.", minimum=1)
    num_threads: int = setting(2, "Threads that read and tokenize.", minimum=1, maximum=64)
    replace_breaks: bool = setting(True, "Turn `<br />` tags into blanks.")
    encoding: str = setting("utf-8", "Character encoding of the files.")
    on_bad_file: Literal["fail", "skip"] = setting(
        "fail", "What to do with a file that does not decode."
    )
    drop_duplicates: bool = setting(
        True, "Leave a document out of the validation if the same text is trained on."
    )
    validation_share: float = setting(
        0.1,
        "Share set aside of your own data: of the files, or the end of a single one.",
        minimum=0.0,
        maximum=0.9,
    )


@dataclass(frozen=True, kw_only=True)
class EarlierRate(Section):
    """What the learning rate followed in an earlier part of a run: settings as in `training`."""

    until_step: int = setting(1, "Steps of the run at the end of this part.", minimum=1)
    schedule_begin: int = setting(0, "Step at which its schedule begins.", minimum=0)
    max_steps: int = setting(1, "Its horizon.", minimum=1)
    schedule: Schedule = setting("cosine", "How its rate falls.")
    peak_learning_rate: float = setting(1e-3, "Its highest rate.", minimum=0.0)
    min_learning_rate: float = setting(0.0, "Its rate at the horizon.", minimum=0.0)
    muon_learning_rate: float = setting(0.02, "Muon's peak rate.", minimum=0.0)
    warmup_steps: int = setting(0, "Steps of its warm-up.", minimum=0)
    decay_share: float = setting(1.0, "Share of its steps in which it falls.", minimum=0.01)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(Section):
    """The loop: steps, optimizer, schedule, evaluation, checkpoints."""

    seed: int = setting(2023, "Seed of weights, dropout and shuffling.", minimum=0)
    batch_size: int = setting(32, "Rows per batch.", minimum=1)
    grad_accum_steps: int = setting(1, "Batches summed into one update.", minimum=1)
    max_steps: int | None = setting(
        None, "Updates in all, the schedule's horizon; if not set, from max_epochs.", minimum=1
    )
    max_epochs: float = setting(1.0, "Passes over the data, if max_steps is not set.", minimum=1e-6)
    optimizer: Literal["adam", "adamw", "muon"] = setting(
        "adam", "Adam; AdamW; or Muon for the matrices of the blocks and AdamW for the rest."
    )
    peak_learning_rate: float = setting(
        1e-3,
        "Highest learning rate, reached after the warm-up.",
        minimum=0.0,
    )
    min_learning_rate: float = setting(0.0, "Learning rate at the horizon.", minimum=0.0)
    warmup_steps: int = setting(
        100,
        "Steps of linear warm-up; in a run that is no longer than this, a tenth of its steps.",
        minimum=0,
    )
    schedule: Schedule = setting(
        "cosine", "How the rate falls from its peak to min_learning_rate, if it does."
    )
    decay_share: float = setting(
        1.0,
        "Share of the steps after the warm-up, at their end, in which the rate falls; below 1 it "
        "is held before that (WSD).",
        minimum=0.01,
        maximum=1.0,
    )
    schedule_begin: int = setting(
        0,
        "Step at which the schedule begins; written by `train --resume` for a second stretch.",
        minimum=0,
    )
    earlier_rates: tuple[EarlierRate, ...] = setting(
        (), "What the rate followed in earlier parts of the run; written by `train --resume`."
    )
    beta_1: float = setting(0.9, "Adam's decay of the first moment.", minimum=0.0, maximum=0.9999)
    beta_2: float = setting(
        0.98, "Adam's decay of the second moment.", minimum=0.0, maximum=0.99999
    )
    epsilon: float = setting(1e-9, "Adam's epsilon.", minimum=1e-20)
    weight_decay: float = setting(
        0.0,
        "Decay (AdamW, Muon) of the blocks' matrices and of an untied head, of nothing else.",
        minimum=0.0,
    )
    muon_learning_rate: float = setting(
        0.02,
        "Muon's peak rate; it follows the same schedule.",
        minimum=0.0,
    )
    muon_momentum: float = setting(0.95, "Muon's momentum.", minimum=0.0, maximum=0.9999)
    clip_norm: float = setting(
        1.0,
        "Largest global norm of the gradient that the optimizer gets; 0 turns clipping off.",
        minimum=0.0,
    )
    freeze: tuple[str, ...] = setting(
        (), "Weights that stay as they are: names of layers or weights, or patterns with `*`."
    )
    precision: Literal["auto", "float32", "bfloat16"] = setting(
        "auto", "Type of the matrix products; parameters, norms, softmax and loss stay float32."
    )
    xla: Literal["auto", "on", "off"] = setting(
        "auto", "Compile the step with XLA; if an update has several batches, each of them."
    )
    steps_per_execution: int | None = setting(
        None,
        "Largest number of updates in one compiled call; if not set, by the model's size.",
        minimum=1,
    )
    log_interval: int = setting(10, "Steps between log lines.", minimum=1)
    eval_interval: int | None = setting(
        None, "Steps between evaluations; if not set, once per epoch.", minimum=1
    )
    eval_batches: int | None = setting(
        None, "Validation batches of an evaluation during training; if not set, all.", minimum=1
    )
    evaluate_first: Literal["auto", "on", "off"] = setting(
        "auto",
        "An evaluation before the first step, too, to compare the others with; auto: if it takes "
        "3 % of the run's work or less. It is neither saved nor counted by patience. A run that "
        "begins with another's weights always has it, saves it and counts it.",
    )
    checkpoint_interval: int | None = setting(
        None, "Steps between checkpoints; if not set, eval_interval.", minimum=1
    )
    keep_checkpoints: int = setting(2, "Recent checkpoints kept besides the best.", minimum=1)
    patience: int | None = setting(
        None, "Evaluations without improvement before stopping; if not set, never.", minimum=1
    )

    @property
    def stable_step(self) -> int | None:
        """The step at which a rate that was held begins to fall; None if it is never held or falls.

        A schedule that holds its rate before it falls is called WSD: warm-up, stable, decay.
        """
        if self.max_steps is None or self.schedule in NEVER_FALLING:
            return None
        warm = self.schedule_begin + self.warmup_steps
        begins = self.max_steps - falling_steps(self.max_steps - warm, self.decay_share)
        return begins if begins > warm else None


@dataclass(frozen=True, kw_only=True)
class SamplingConfig(Section):
    """The sample text written at each evaluation, and the defaults of `generate`."""

    prompt: str | None = setting(
        None,
        "Text to continue; if not set, the first words of a document that is set aside. A "
        "preset's prompt is for its own data: with yours it counts as not set.",
    )
    sampler: Literal["auto", "greedy", "random", "beam", "diverse-beam", "contrastive"] = setting(
        "auto",
        "Sampler of the sample texts: random among the 10 likeliest characters with a tokenizer "
        "of characters, beam otherwise.",
    )
    max_new_tokens: int = setting(60, "Tokens to generate.", minimum=1, given=(1, 100_000))
    num_beams: int = setting(4, "Beams of the beam sampler.", minimum=1)
    length_penalty: float = setting(
        1.0,
        "A beam's score is its log-probability / length ** length_penalty.",
        given=(-10.0, 10.0),
    )


@dataclass(frozen=True, kw_only=True)
class OriginConfig(Section):
    """Where the first weights are from; `train --from` writes it."""

    run: str | None = setting(
        None,
        "Directory of the run, in the workspace; none if the weights began random.",
    )
    checkpoint: str | None = setting(None, "Its checkpoint.")
    manifest_sha256: str | None = setting(None, "SHA-256 of the checkpoint's manifest.")


@dataclass(frozen=True, kw_only=True)
class Config(Section):
    """Everything that a run depends on, but its data and its tokenizer."""

    model: ModelConfig = field(default_factory=ModelConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    origin: OriginConfig = field(default_factory=OriginConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        problems = []
        training = self.training
        if training.weight_decay > 0 and training.optimizer in WITHOUT_DECAY:
            problems.append(
                "training.weight_decay needs training.optimizer adamw or muon, "
                f"received: {training.weight_decay} with {training.optimizer}"
            )
        problems += problems_of_rates(training)
        if training.min_learning_rate > training.peak_learning_rate:
            problems.append(
                "training.min_learning_rate must be at most training.peak_learning_rate "
                f"({training.peak_learning_rate}), received: {training.min_learning_rate}"
            )
        if problems:
            raise UsageError("\n".join(problems))


def problems_of_rates(training: TrainingConfig) -> list[str]:
    """What is wrong with the earlier parts of a run, whose steps follow one another."""
    name, problems, done = "training.earlier_rates", list[str](), 0
    for place, rate in enumerate(training.earlier_rates):
        if rate.until_step <= done or rate.schedule_begin > done:
            problems.append(
                f"{name}[{place}] must begin its schedule by step {done} and end after it, "
                f"received: {rate.schedule_begin} and {rate.until_step}"
            )
        if rate.max_steps - rate.schedule_begin <= rate.warmup_steps:
            problems.append(
                f"{name}[{place}].max_steps must be after its warm-up, received: {rate.max_steps}"
            )
        if rate.min_learning_rate > rate.peak_learning_rate:
            problems.append(
                f"{name}[{place}].min_learning_rate must be at most its peak_learning_rate, "
                f"received: {rate.min_learning_rate}"
            )
        done = rate.until_step
    if training.schedule_begin > done:
        problems.append(
            f"training.schedule_begin must be at most the last until_step of {name} ({done}), "
            f"received: {training.schedule_begin}"
        )
    if training.max_steps is not None and training.max_steps <= done:
        problems.append(
            f"training.max_steps must be above the last until_step of {name} ({done}), "
            f"received: {training.max_steps}"
        )
    if training.max_steps is None and done:
        problems.append(f"training.max_steps must be a number with {name}, received: none")
    return problems


def choices(kind: type[Section], name: str) -> tuple[str, ...]:
    """The values that a setting with a choice can have."""
    return typing.get_args(typing.get_type_hints(kind)[name])


def check_section(section: Section) -> list[str]:
    """Every field of `section` whose type or range is wrong, one sentence each."""
    hints = typing.get_type_hints(type(section))
    problems = []
    for item in dataclasses.fields(section):
        problem = check_value(getattr(section, item.name), hints[item.name], item.metadata)
        if problem:
            problems.append(f"{item.name} must be {problem}")
    return problems


def check_value(value: Any, hint: Any, metadata: Any) -> str | None:
    """None if `value` fits, otherwise the rule that it breaks and the value received."""
    received = f"received: {value!r}"
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        if value is None:
            return None
        hint = next(kind for kind in typing.get_args(hint) if kind is not type(None))
    if typing.get_origin(hint) is Literal:
        choices = typing.get_args(hint)
        return None if value in choices else f"one of {', '.join(choices)}, {received}"
    if typing.get_origin(hint) is tuple:
        kind = typing.get_args(hint)[0]
        is_list = isinstance(value, tuple) and all(isinstance(entry, kind) for entry in value)
        what = "texts" if kind is str else "mappings"
        return None if is_list else f"a list of {what}, {received}"
    if hint is float and type(value) is int:
        hint = int
        if abs(value) > sys.float_info.max:
            return f"a number below {sys.float_info.max:.0e}, received: {len(str(value))} digits"
    if type(value) is not hint:
        return f"{'true or false' if hint is bool else f'of type {hint.__name__}'}, {received}"
    if type(value) is float and not math.isfinite(value):
        return f"a finite number, {received}"
    low, high = metadata.get("minimum"), metadata.get("maximum")
    if low is not None and value < low:
        return f"at least {low:g}, {received}"
    if high is not None and value > high:
        return f"at most {high:g}, {received}"
    return None


def check_given(kind: type[Section], values: Any, prefix: str = "") -> list[str]:
    """Every number that is valid but cannot be meant, such as one that float32 has as infinity.

    It is refused only if it is given now: a stored run loads whatever it was trained with.

    Args:
      values: a section as a mapping; anything that is not a number is left to `check_section`.
      prefix: of the keys in the messages.
    """
    hints = typing.get_type_hints(kind)
    problems = []
    for item in dataclasses.fields(kind):
        value = plain(values.get(item.name)) if isinstance(values, Mapping) else None
        hint, bounds = hints[item.name], item.metadata.get("given")
        if isinstance(hint, type) and issubclass(hint, Section):
            problems += check_given(hint, value, f"{prefix}{item.name}.")
        if hint not in (int, float) or not isinstance(value, int | float):
            continue
        if type(value) not in (hint, int) or not abs(value) <= sys.float_info.max:
            continue
        low, high = bounds or (-FLOAT32_MAX, FLOAT32_MAX)
        rule = f"at least {low:g}" if value < low else f"at most {high:g}" if value > high else ""
        if hint is float and 0 < abs(value) < FLOAT32_MIN:
            rule = f"0 or at least {FLOAT32_MIN:g}"
        if rule:
            problems.append(f"{prefix}{item.name} must be {rule}, received: {value!r}")
    return problems
