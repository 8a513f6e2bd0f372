"""What every architecture offers to training, evaluation and decoding.

Shapes: B batch, T time, S cached time, K both (S + T), V vocab.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, TypeVar, overload

import keras
import tensorflow as tf

from gpt_tf.arguments import as_whole
from gpt_tf.config import ModelConfig
from gpt_tf.config_files import build, read_preset, resolve
from gpt_tf.errors import RunError, UsageError
from gpt_tf.model.few_rows import Product
from gpt_tf.model.nats import masked_loss
from gpt_tf.model.where import Where
from gpt_tf.storage.names import nearest

T = TypeVar("T", bound="LanguageModel")
OF_KERAS = ("name", "dtype", "trainable", "autocast", "activity_regularizer")
Cache = Sequence[tuple[tf.Tensor, tf.Tensor]]


class LanguageModel(keras.Model):
    """Token ids to logits of the next token: `head(hidden(token_ids))`, built at once.

    Args:
      config: the architecture.
      precision: "float32", or "bfloat16" for the matrix products alone.
      seed: of initial weights and dropout.
      **settings: fields of `ModelConfig`, in the place of those of `config`; and what
        `keras.Model` takes, as a name.

    Raises:
      ValueError: for another name, or a precision, a seed or a dtype that a model cannot have.
      UsageError: for a setting out of range.
    """

    architecture: ClassVar[str]
    # `gpt_tf.inference`, a room above this one, hands its TextGenerator in
    text_generator: ClassVar[Callable[[LanguageModel, Any], Any] | None] = None
    _writer: Any = None

    def __init__(
        self,
        config: ModelConfig | None = None,
        precision: str = "float32",
        seed: int = 0,
        **settings: Any,
    ) -> None:
        config = config or ModelConfig(architecture=self.architecture)  # type: ignore[arg-type]
        fields = {field.name for field in dataclasses.fields(config)}
        config = dataclasses.replace(config, **{k: settings[k] for k in settings if k in fields})
        if config.architecture != self.architecture:
            raise ValueError(
                f"architecture must be {self.architecture} for {type(self).__name__}. Received: "
                f"{config.architecture!r}."
            )
        of_keras = {key: value for key, value in settings.items() if key not in fields}
        _check_names(of_keras, fields)
        if keras.dtype_policies.get(of_keras.get("dtype", "float32")).name != "float32":
            raise ValueError(
                "dtype must be float32; precision chooses another type for matrix products. "
                f"Received: {of_keras['dtype']!r}."
            )
        if as_whole(seed) is None:
            raise ValueError(f"seed must be a whole number. Received: {seed!r}.")
        super().__init__(**{"name": config.architecture, "dtype": "float32", **of_keras})
        if precision not in ("float32", "bfloat16"):
            raise ValueError(f"precision must be float32 or bfloat16. Received: {precision!r}.")
        self.config = config
        self.precision = precision
        self.seed = seed

    @classmethod
    def from_preset(
        cls: type[T], preset: str, precision: str = "float32", seed: int = 0, **settings: Any
    ) -> T:
        """A new model of a preset's architecture, with random weights.

        Args:
          preset: a name that `gpt_tf.presets()` lists.
          precision, seed, settings: as of the class. A preset's vocab_size is the one it asks its
            tokenizer for: give `vocab_size=tokenizer.vocab_size`.

        Raises:
          UsageError: if there is no such preset, or it has another architecture.
        """
        config = resolve(read_preset(preset)).model
        if config.architecture != cls.architecture:
            raise UsageError(
                f"no {cls.__name__} in the preset {preset}: its architecture is "
                f"{config.architecture}. Use the class of that architecture."
            )
        return cls(config, precision, seed, **settings)

    def call(self, token_ids_BT: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Logits [B, T, V] in float32."""
        return self.head(self.hidden(token_ids_BT, training=training))

    @property
    def loss(self) -> Callable[..., tf.Tensor]:
        """`loss(token_ids, targets, weights=None)`, the mean loss of a batch; see `batch_loss`."""
        return self.batch_loss

    @loss.setter
    def loss(self, value: Any) -> None:
        """Keras notes here what `compile` was given, and reads it nowhere."""

    def batch_loss(
        self,
        token_ids_BT: tf.Tensor,
        targets_BT: tf.Tensor,
        weights_BT: tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        """Mean nats per counted target of a batch: `call` and `masked_loss` in one.

        Args:
          token_ids_BT: inputs.
          targets_BT: the next token's id at each place.
          weights_BT: 0 where no loss counts; without weights every target counts.
          training: dropout acts.
        """
        if weights_BT is None:
            weights_BT = tf.ones(tf.shape(targets_BT))
        return masked_loss(self(token_ids_BT, training=training), targets_BT, weights_BT)

    def fit(self, x: Any = None, *args: Any, shuffle: Any = None, **kwargs: Any) -> Any:
        """Keras' `fit`; a `tf.data.Dataset`, as of a `TokenStream`, is taken in its own order."""
        if shuffle is None:
            shuffle = not isinstance(x, tf.data.Dataset)  # Keras would warn that it cannot
        return super().fit(x, *args, shuffle=shuffle, **kwargs)

    def hidden(self, token_ids_BT: tf.Tensor, training: bool = False) -> tf.Tensor:
        """What the head reads, one vector a position."""
        raise NotImplementedError

    def head(self, hidden: tf.Tensor) -> tf.Tensor:
        """Logits of hidden states."""
        raise NotImplementedError

    @overload
    def generate(self, tokenizer: Any, prompt: str, sampler: Any = ..., **options: Any) -> str: ...

    @overload
    def generate(
        self, tokenizer: Any, prompt: Sequence[str], sampler: Any = ..., **options: Any
    ) -> list[str]: ...

    def generate(
        self,
        tokenizer: Any,
        prompt: str | Sequence[str],
        sampler: Any = None,
        **options: Any,
    ) -> str | list[str]:
        """Continue a prompt, or several as one batch, with the weights of the moment.

        Args:
          tokenizer: the one that made the token ids of the training data.
          sampler, options: as of `gpt_tf.TextGenerator.generate`.

        Returns:
          What follows the prompt; a list of texts for several prompts.
        """
        if LanguageModel.text_generator is None:
            raise RunError(
                "no text generator in the model: gpt_tf.inference is not imported. Import "
                "gpt_tf.inference.text_generator first."
            )
        if self._writer is None or self._writer.tokenizer is not tokenizer:
            self._writer = LanguageModel.text_generator(self, tokenizer)
        written: str | list[str] = self._writer.generate(prompt, sampler, **options)
        return written

    def head_weights(self) -> tuple[tf.Tensor, tf.Tensor | None] | None:
        """The head's matrix and bias, so that a loss can go chunk by chunk; None without one."""
        return None

    def products(self) -> list[Product]:
        """The products with large kernels in `decode` and `head`."""
        return []

    def embed(self, token_ids_BT: tf.Tensor, positions_BT: tf.Tensor | None = None) -> tf.Tensor:
        """What `decode` reads; positions are 0, 1, 2, … if none are given."""
        raise NotImplementedError

    def cache_shape(self, rows: int, slots: int) -> tuple[int, ...]:
        """The shape of cached keys and values, [L, 2, B, N, S, H]."""
        raise NotImplementedError

    def decode(self, x: tf.Tensor, cache: Cache, where: Where) -> tuple[tf.Tensor, tf.Tensor]:
        """Hidden states of new tokens, and the keys and values to be cached for them.

        Args:
          x: `embed` of the new tokens of each row.
          cache: keys and values of earlier tokens in each layer, [B, N, S, H]; only read.
          where: where the new tokens stand and what they see of the cached ones and each other.
        """
        raise NotImplementedError

    def __repr__(self) -> str:
        config = self.config
        return (
            f"<{type(self).__name__}: vocabulary {config.vocab_size:,}, "
            f"{self.count_params():,} parameters>"
        )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        return {
            "config": dataclasses.asdict(self.config),
            "precision": self.precision,
            "seed": self.seed,
            "name": self.name,
        }

    @classmethod
    def from_config(cls: type[T], config: dict[str, Any], custom_objects: Any = None) -> T:
        """A new model of the same architecture.

        Raises:
          UsageError: listing what is wrong in its settings.
        """
        problems: list[str] = []
        settings = build(ModelConfig, config["config"], "", problems)
        if problems:
            raise UsageError("\n".join(problems))
        return cls(**{**config, "config": settings})


def _check_names(given: Iterable[str], fields: Iterable[str]) -> None:
    """Raise ValueError for a setting that neither the architecture nor Keras has."""
    unknown = sorted(set(given) - set(OF_KERAS))
    if unknown:
        meant = nearest(unknown[0], fields) or " `help(gpt_tf.ModelConfig)` lists the settings."
        raise ValueError(f"no such setting of a model: {unknown[0]}.{meant}")
