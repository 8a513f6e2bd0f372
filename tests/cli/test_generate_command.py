"""`gpt-tf generate` as it is used: prompts from anywhere, text to anywhere, errors by name."""

import io
import json
import signal
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpt_tf.cli import main
from gpt_tf.cli.generate import generate as command
from gpt_tf.cli.sampling_options import flag
from gpt_tf.inference import loading
from gpt_tf.inference.options import OPTIONS, SAMPLERS, users


class Result:
    """What a command in this process gave."""

    def __init__(self, code: int, stdout: str, stderr: str) -> None:
        self.code, self.stdout, self.stderr = code, stdout, stderr


@pytest.fixture
def generate(trained_workspace: Path, monkeypatch, capsys):
    """Run the command here: the same code without another start of TensorFlow."""
    monkeypatch.chdir(trained_workspace)

    def run(*arguments: str, stdin: str = "") -> Result:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        code = main._run(["generate", *arguments])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run


def text_of(result: Result) -> str:
    assert result.code == 0, result.stderr
    return result.stdout


def test_the_command_has_every_option_of_the_table_with_its_range():
    params = {param.name: param for param in command.params}
    assert tuple(params["sampler"].type.choices) == tuple(SAMPLERS)
    assert OPTIONS.keys() - params.keys() == {"banned_sequences"}  # of ids, for Python
    for name in OPTIONS.keys() & params.keys():
        option, kind = OPTIONS[name], params[name].type
        if option.kind in ("integer", "number"):
            expected = (option.minimum, min(option.maximum, option.limit or option.maximum))
            assert (kind.min, kind.max or float("inf")) == expected, name
            assert kind.min_open == option.above, name
        elif option.kind == "choice":
            assert tuple(kind.choices) == option.choices


def test_prompts_that_are_no_utf_8_are_refused(generate, tmp_path):
    path = tmp_path / "latin-1.txt"
    path.write_bytes("le café".encode("latin-1"))
    refused = generate("--prompts-file", str(path))
    assert refused.code == 2 and "no Unicode" in refused.stderr and "UTF-8" in refused.stderr
    path.write_bytes("le café\n".encode("utf-16-le"))
    refused = generate("--prompts-file", str(path))
    assert refused.code == 2 and "iconv -f utf-16-le -t utf-8" in refused.stderr


def test_the_command_ends_texts_alike_on_the_screen_typed_and_in_a_file(generate, tmp_path):
    common = ("--max-new-tokens", "12")
    prompt = ("--prompt", "The film", *common)
    whole = text_of(generate(*prompt)).removeprefix("The film")
    stop = ("--stop", whole[1:5], "--stop", whole[2:4])  # the second is complete first
    until = whole[: min(whole.index(whole[1:5]) + 4, whole.index(whole[2:4]) + 2) - 2]
    assert text_of(generate(*prompt, *stop)) == f"The film{until}\n"
    typed = generate("--interactive", *common, *stop, stdin="The film\n")
    assert text_of(typed).startswith(until)
    path = tmp_path / "texts.jsonl"
    generate("--sampler", "beam", "--num-beams", "1", *prompt, *stop, "--output", str(path))
    assert json.loads(path.read_text())["text"] == until


def test_nothing_is_printed_before_an_error(generate):
    refused = generate("--logit-bias", "999999=3")
    assert refused.code == 2 and "999999" in refused.stderr
    assert refused.stdout == ""


@pytest.mark.parametrize("sampler", list(SAMPLERS))
def test_every_sampler_continues_the_prompt_and_says_the_same_twice(generate, sampler):
    arguments = ("--prompt", "The film", "--sampler", sampler, "--max-new-tokens", "6")
    first, second = generate(*arguments), generate(*arguments)
    assert text_of(first).startswith("The film")
    assert first.stdout == second.stdout


def test_a_prompt_from_standard_input_is_without_its_last_line_feed(generate):
    expected = text_of(generate("--prompt", "I saw the film"))
    for stdin in ("I saw the film", "I saw the film\n", "I saw the film\r\n"):
        assert text_of(generate("--prompt", "-", stdin=stdin)) == expected
    shown = text_of(generate("--prompt", "-", stdin="\nI saw\nthe film\n\n"))
    assert shown.startswith("\nI saw\nthe film\n") and shown != expected


@pytest.mark.parametrize("sampler", ["greedy", "random", "beam", "diverse-beam", "contrastive"])
def test_a_file_of_prompts_gives_what_each_gives_alone(generate, tmp_path, sampler):
    prompts = ["The film", "I", "A dull plot and", ""]
    path = tmp_path / "prompts.txt"
    path.write_text("\n".join(prompts) + "\n")
    common = ("--sampler", sampler, "--max-new-tokens", "5")
    together = text_of(generate("--prompts-file", str(path), *common))
    alone = [text_of(generate("--prompt", prompt, *common)) for prompt in prompts]
    headings = [f"--- prompt {number}, text 1 ---\n" for number in range(1, len(prompts) + 1)]
    assert together == "".join(map("".join, zip(headings, alone, strict=True)))


def test_options_of_drawing_choose_the_sampler_random_and_say_so(generate):
    common = ("--prompt", "The film", "--max-new-tokens", "6", "--seed", "3")
    drawn = generate(*common, "--temperature", "0.8", "--top-k", "9")
    assert "sampler: random, because only drawing uses --seed\n" in drawn.stderr
    named = generate(*common, "--temperature", "0.8", "--top-k", "9", "--sampler", "random")
    assert text_of(drawn) == text_of(named) and "because" not in named.stderr
    refused = generate(*common, "--sampler", "greedy")
    assert refused.code == 2 and "on the sampler greedy: --seed 3. It belongs to" in refused.stderr


def test_an_option_by_another_library_s_name_is_answered_with_ours(generate):
    refused = generate("--max-length", "5")
    assert (
        refused.code == 2 and "'--max-length'. Did you mean '--max-new-tokens'?" in refused.stderr
    )


def test_samples_differ_and_the_seed_names_them(generate):
    common = ("--sampler", "random", "--num-samples", "4", "--max-new-tokens", "12")
    first = text_of(generate(*common, "--seed", "1"))
    texts = first.split("--- prompt 1, text ")[1:]
    assert len(texts) == 4 and len({text.partition("\n")[2] for text in texts}) == 4
    assert first == text_of(generate(*common, "--seed", "1"))
    assert first != text_of(generate(*common, "--seed", "2"))


def test_the_output_file_has_texts_ids_and_log_probabilities(generate, tmp_path):
    path = tmp_path / "texts.jsonl"
    for sampler, samples in (("random", "3"), ("beam", "2"), ("greedy", "1")):
        common = ("--sampler", sampler, "--num-samples", samples, "--max-new-tokens", "4")
        assert (
            text_of(generate("--prompt", "The film", *common, "--output", str(path), "--overwrite"))
            == ""
        )
        entries = [json.loads(line) for line in path.read_text().splitlines()]
        assert [entry["sample"] for entry in entries] == list(range(int(samples)))
        for entry in entries:
            assert entry["prompt"] == "The film"
            ended = entry["finish"] == "end"
            assert len(entry["log_probabilities"]) == len(entry["token_ids"]) + ended
            assert all(value <= 0 for value in entry["log_probabilities"])
            assert (entry["score"] is not None) == (sampler == "beam")
        printed = text_of(generate("--prompt", "The film", *common))
        assert all(entry["text"] in printed for entry in entries)


def test_a_stop_string_ends_the_text_before_it(generate):
    whole = text_of(generate("--prompt", "The film", "--max-new-tokens", "20"))
    continuation = whole.removeprefix("The film").removesuffix("\n")
    stop = continuation[8:11]  # wherever tokens begin and end
    for sampler in ("greedy", "beam"):
        common = ("--prompt", "The film", "--sampler", sampler, "--max-new-tokens", "20")
        text = text_of(generate(*common, "--stop", stop)).removeprefix("The film")
        assert stop not in text
        if sampler == "greedy":
            assert text == continuation[: continuation.index(stop)] + "\n"


def test_a_banned_word_is_not_written(generate):
    common = ("--prompt", "The film", "--sampler", "random", "--max-new-tokens", "60")
    words = text_of(generate(*common)).split()
    word = next(word for word in words[2:] if word.isalpha() and len(word) > 2)
    assert f" {word} " not in text_of(generate(*common, "--ban", word))


def test_a_bias_forbids_and_forces(generate):
    common = ("--prompt", "The film", "--max-new-tokens", "3", "--output")
    forced = generate(*common, "forced.jsonl", "--logit-bias", "70=1e9")
    assert forced.code == 0
    assert json.loads(Path("forced.jsonl").read_text())["token_ids"] == [70, 70, 70]
    Path("forced.jsonl").unlink()


def test_a_conversation_keeps_what_was_said(generate):
    common = ("--interactive", "--max-new-tokens", "4")
    once = text_of(generate(*common, stdin="The film\n"))
    assert once == text_of(generate("--prompt", "The film", "--max-new-tokens", "4"))[8:]
    twice = text_of(generate(*common, stdin="The film\n\n/reset\nThe film\n"))
    on = text_of(generate("--prompt", "The film" + once.rstrip("\n"), "--max-new-tokens", "4"))
    assert twice == once + on.removeprefix("The film" + once.rstrip("\n")) + once


def test_probabilities_are_those_of_the_chosen_tokens(generate):
    result = text_of(generate("--show-probabilities", "--max-new-tokens", "4"))
    assert "probability" in result and "next best" in result
    (heading,) = [line for line in result.splitlines() if line.startswith("token ")]
    rows = result.splitlines()[result.splitlines().index(heading) + 1 :]
    at = heading.index("probability")
    assert len(rows) == 4 and all(0 < float(row[at:].split()[0]) <= 1 for row in rows)


def test_one_long_prompt_of_a_file_is_said_to_be_in_the_file(generate, tmp_path):
    (tmp_path / "prompts.txt").write_text("a film " * 999)
    refused = generate("--prompts-file", str(tmp_path / "prompts.txt"))
    assert refused.code == 2 and "too long in line 1 of --prompts-file" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--prompt", "a", "--prompts-file", "b"], ["--prompt", "--prompts-file", "exclude"]),
        (["--interactive", "--output", "x.jsonl"], ["--output", "--interactive"]),
        (["--show-probabilities", "--sampler", "beam"], ["--show-probabilities", "beam"]),
        (["--interactive", "--sampler", "beam"], ["--interactive follows", "Use --prompt."]),
        (["--interactive", "--sampler", "random", "--num-samples", "2"], ["and 2 texts"]),
        (["--logit-bias", "x=1"], ["--logit-bias", "x=1", "ID=BIAS"]),
        (["--logit-bias", "400000=1"], ["in --logit-bias: 400000"]),
        (["--logit-bias", "3=nan"], ["--logit-bias", "nan"]),
        (["--stop", ""], ["empty value in --stop"]),
        (["--ban", ""], ["empty value in --ban"]),
        (["--num-samples", "2"], ["--num-samples", "greedy"]),
        (["--sampler", "beam", "--num-beams", "2", "--num-samples", "3"],
         ["in --num-samples: 3", "or 3 in --num-beams"]),
        (["--sampler", "diverse-beam", "--num-beams", "4", "--num-beam-groups", "3"],
         ["in --num-beam-groups: 3", "a divisor of --num-beams (4)"]),
        (["--alpha", "0.5"], ["--alpha", "greedy", "contrastive"]),
        (["--min-p", "2"], ["--min-p", "2"]),
        (["--prompts-file", "nowhere.txt"], ["nowhere.txt"]),
        (["--output", "nowhere/texts.jsonl"], ["--output", "nowhere"]),
        (["--engine", "lite"], ["--engine", "lite"]),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused_by_name(generate, arguments, words):  # G4, G12
    result = generate(*arguments)
    assert result.code in (1, 2) and "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr


def test_a_terminal_shows_control_characters_as_codes(generate, monkeypatch):  # G7
    monkeypatch.setattr(sys.stdout.__class__, "isatty", lambda self: True, raising=False)
    prompt = "a\x1b[2Jb"
    common = ("--prompt", prompt, "--max-new-tokens", "1")
    assert "a\\x1b[2Jb" in text_of(generate(*common))
    assert prompt in text_of(generate(*common, "--raw"))


# Whatever is typed

VALUES = st.one_of(
    st.integers(-3, 20).map(str),
    st.sampled_from(["400", "401", "100000000"]),
    st.floats(allow_nan=True, allow_infinity=True).map(str),
    st.floats(0, 2).map(str),
    st.sampled_from(["", "x", "1e-3", "0.9", "17=-1", "3=inf", "=", "-", "[BOS]"]),
)
VALUED = ["--max-new-tokens", "--num-samples", "--stop", "--seed", "--temperature", "--top-k",
          "--top-p", "--min-p", "--typical", "--num-beams", "--length-penalty",
          "--num-beam-groups", "--diversity-penalty", "--alpha", "--repetition-penalty",
          "--no-repeat-ngram", "--ban", "--logit-bias", "--past-context", "--truncate",
          "--tempreature"]  # fmt: skip
NEW_TOKENS = ["1", "2", "4", "8", "40"]  # the last is beyond the context
OF_THEIR_OWN = {
    "--past-context": st.sampled_from(["slide", "half"]),
    "--truncate": st.just("left"),
    # 400 would take their time
    "--max-new-tokens": st.sampled_from(
        ["-1", "0", "1.5", "40", "100001", "100000000", "nan", "x", ""]
    ),
}
FLAGS = ["--show-probabilities", "--interactive", "--raw"]


@st.composite
def command_lines(draw) -> list[str]:
    """Samplers with options that fit, or do not, and prompts of any text."""
    sampler = draw(st.sampled_from(list(SAMPLERS)))
    fitting = [
        flag(one) for one in OPTIONS.values() if not one.is_for_all and sampler in users(one)
    ]
    names = draw(st.lists(st.sampled_from([*VALUED, *3 * fitting]), max_size=4, unique=True))
    words = ["--sampler", sampler, "--max-new-tokens", draw(st.sampled_from(NEW_TOKENS))]
    for name in names:
        words += [name, draw(OF_THEIR_OWN.get(name, VALUES))]
    words += draw(st.lists(st.sampled_from(FLAGS), max_size=1))
    prompts = st.text(max_size=60) | st.sampled_from(["--debug", "--quiet"])
    return [*words, "--prompt", draw(prompts)]


def assert_ends_well(trained_workspace: Path, monkeypatch, count: int) -> None:
    """No traceback, no hang, exit codes 0, 1 and 2 alone, whatever the command line."""
    monkeypatch.chdir(trained_workspace)
    load, loaded = loading.load, {}

    def load_once(run, **options):  # the one thing that is spared: reading the run each time
        if options["engine"] not in loaded:
            loaded[options["engine"]] = load(run, **options)
        return loaded[options["engine"]]

    monkeypatch.setattr(loading, "load", load_once)
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    # TensorFlow comes in, unhurried
    assert main._run(["generate", "--prompt", "warm", "--engine", "tensorflow"]) == 0
    codes = dict.fromkeys((0, 1, 2), 0)

    @settings(
        max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(command_lines())
    def hold(words: list[str]) -> None:
        monkeypatch.setattr(sys, "stdin", io.StringIO("and then\n"))
        begun = time.perf_counter()
        signal.alarm(60)  # seconds; what has not ended by then is interrupted, and ends with 130
        code = main._run(["generate", *words])
        signal.alarm(0)
        assert code in codes, words
        codes[code] += 1
        assert time.perf_counter() - begun < 5, words

    hold()
    print(f"exit codes: {codes}")
    assert codes[0] > count / 20 and codes[2] > count / 20


def test_any_command_line_ends_well(trained_workspace, monkeypatch):
    assert_ends_well(trained_workspace, monkeypatch, 200)


@pytest.mark.long
def test_ten_thousand_command_lines_end_well(trained_workspace, monkeypatch):
    assert_ends_well(trained_workspace, monkeypatch, 10_000)
