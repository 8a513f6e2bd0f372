"""The bytes alive while a graph is computed, of graphs small enough to count by hand."""

from collections.abc import Callable
from pathlib import Path

import pytest
import tensorflow as tf
from commands import called

from gpt_tf.training.memory import peak_bytes

KB = 4 * 1000  # a tensor of a thousand numbers


def peak_of(function: Callable[..., tf.Tensor], *sizes: int) -> int:
    """In units of a thousand numbers; inputs are not counted, for they are kept elsewhere."""
    specs = [tf.TensorSpec((size * 1000,), tf.float32) for size in sizes]
    return round(peak_bytes(tf.function(function, specs).get_concrete_function().graph) / KB)


def test_a_chain_takes_one_buffer() -> None:
    assert peak_of(lambda x: tf.exp(tf.exp(tf.exp(x))), 1) == 1


def test_a_product_cannot_take_the_buffer_of_what_it_reads() -> None:
    assert peak_of(lambda x: tf.cumsum(tf.cumsum(tf.cumsum(x))), 1) == 2


def test_what_is_read_again_stays() -> None:
    def residual(x: tf.Tensor) -> tf.Tensor:
        first = tf.cumsum(x)
        return first + tf.cumsum(tf.cumsum(first))

    assert peak_of(residual, 1) == 3


def test_another_shape_of_a_tensor_is_no_copy() -> None:
    assert peak_of(lambda x: tf.cumsum(tf.reshape(tf.exp(x), (10, -1))), 1) == 2


def test_results_stay_to_the_end() -> None:
    def both(x: tf.Tensor) -> list[tf.Tensor]:
        return [tf.cumsum(x), tf.cumsum(tf.cumsum(x))]

    assert peak_of(both, 1) == 3


def test_a_loop_takes_what_its_body_does() -> None:
    def loop(x: tf.Tensor) -> tf.Tensor:
        body = lambda i, x: (i + 1, x + tf.reduce_sum(tf.tile(tf.cumsum(x), [7])))  # noqa: E731
        return tf.while_loop(lambda i, _: i < 3, body, (0, x))[1]

    assert peak_of(loop, 1) == 1 + 1 + 7  # its result, and within it a sum and the copies


def test_of_two_branches_the_larger_counts() -> None:
    def choose(x: tf.Tensor) -> tf.Tensor:
        def tiled(count: int) -> tf.Tensor:
            return tf.reduce_sum(tf.tile(x, [count]))

        return tf.cond(x[0] > 0, lambda: tiled(2), lambda: tiled(9))

    assert peak_of(choose, 1) == 9


def test_a_dry_run_says_what_training_would_take(tmp_path: Path) -> None:
    small, large = (foretold(tmp_path, rows) for rows in ("8", "64"))
    assert 500 < small < large


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--batch-size", "1000000000000"],
            "batch too large in training.batch_size: 1000000000000",
        ),
        (["--profile"], "--profile cannot be given with --dry-run"),
        (["--print-config"], "--dry-run cannot be given with --print-config"),
    ],
)
def test_a_dry_run_refuses_what_it_cannot_do(words: list[str], said: str, tmp_path: Path) -> None:
    told = called("train", "--dry-run", *words, cwd=tmp_path, check=False)
    assert told.returncode == 2 and said in told.stderr


def foretold(workspace: Path, rows: str) -> float:
    """Megabytes."""
    told = called(
        "train", "--dry-run", "--preset", "kerasnlp-mini", "--batch-size", rows, cwd=workspace
    ).stdout
    (row,) = (line for line in told.splitlines() if "memory at most" in line)
    return float(row.replace(",", "").split()[-2])


def test_what_has_no_fixed_shape_counts_nothing() -> None:
    graph = tf.function(lambda x: x + 1, [tf.TensorSpec((None,), tf.float32)])
    assert peak_bytes(graph.get_concrete_function().graph) < KB
