"""Tables that show every column, whole, at any width."""

import pytest

from gpt_tf.reports.stacked_table import stacked
from gpt_tf.reports.text_table import Column

KEY = Column("", [str(number) for number in range(1, 31)], right=True)
RUN = Column("run", [f"long-name-of-a-sweep-{number:02d}" for number in range(30)])


def settings(number: int) -> list[Column]:
    """Of a sweep: settings with long names and long values, then figures."""
    names = ("peak_learning_rate", "attention_output", "prompt")[:number]
    swept = [Column(name, [f"{name} is long"[:24]] * 30, right=True) for name in names]
    figures = ("loss", "perplexity", "accuracy", "parameters", "steps", "seconds")
    return [*swept, *(Column(name, ["1,234.56"] * 30, right=True) for name in figures), RUN]


@pytest.mark.parametrize("width", [80, 60, 40])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_each_column_is_whole_at_any_width(number: int, width: int) -> None:
    columns = settings(number)
    blocks = stacked(KEY, columns, width).split("\n\n")
    assert all(len(line) <= width for block in blocks for line in block.splitlines())
    for block in blocks:
        assert [line.split()[0] for line in block.splitlines()[-30:]] == KEY.cells
    for column in columns:
        assert any(column.cells[7] in block for block in blocks), column.name


def test_a_table_that_fits_has_one_line_a_row() -> None:
    lines = stacked(KEY, settings(3), 1000).splitlines()
    assert len(lines) == 31 and lines[0].split()[0] == "peak_learning_rate"
    assert lines[1].endswith("long-name-of-a-sweep-00")


def test_headings_are_broken_before_columns_go_below() -> None:
    text = stacked(KEY, [Column("peak_learning_rate", ["0.1"] * 30, right=True), RUN], 40)
    assert text.splitlines()[:4] == [
        "        peak_",
        "    learning_",
        "         rate  run",
        " 1        0.1  long-name-of-a-sweep-00",
    ]


def test_what_is_wider_than_the_terminal_is_not_cut() -> None:
    assert "long-name-of-a-sweep-29" in stacked(KEY, [RUN], 10)
