"""What trainings and samplers give, as SHA-256 digests: a change of the code must not change it.

    python tests/digests.py            compare this tree with the recorded digests
    python tests/digests.py --record   record what this tree gives on this machine

Kernels differ between processors, so digests are kept for each kind of machine. On a kind that has
none, the digests of the recorded commit are computed first, from a copy of its files.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RECORDED = Path(__file__).with_name("recorded") / "digests.json"
FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8")
STEPS = 20  # too few for an evaluation before the first: every version has the same numbers
RUNS = {
    "demo": ["--preset", "demo", "--data", "reviews"],
    "imdb": ["--preset", "imdb", "--data", "reviews"],
    "shakespeare-baseline": ["--preset", "shakespeare-baseline", "--data", "text.txt"],
    "kerasnlp-mini": ["--preset", "kerasnlp-mini", "--data", "text.txt"],
    "finetune-lora": ["--preset", "finetune-lora", "--from", "demo", "--data", "reviews"],
}
SAMPLERS = {
    "greedy": [],
    "random": ["--sampler", "random", "--top-k", "40", "--top-p", "0.9", "--num-samples", "3"],
    "penalties": ["--sampler", "random", "--typical", "0.9", "--repetition-penalty", "1.2"],
    "beam": ["--sampler", "beam", "--num-beams", "4", "--num-samples", "2"],
    "diverse-beam": ["--sampler", "diverse-beam"],
    "contrastive": ["--sampler", "contrastive"],
}


def machine() -> str:
    """What decides which kernels run: the processor's instructions, its cores, TensorFlow."""
    words = set(Path("/proc/cpuinfo").read_text().split())
    flags = [flag for flag in FLAGS if flag in words]
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores, {' '.join(flags)}, tensorflow {version('tensorflow')}"


def compute(source: Path, workspace: Path) -> dict[str, dict[str, str]]:
    """The digests that the code below `source` gives."""

    def run(*arguments: str) -> str:
        print("gpt-tf", *arguments, file=sys.stderr)
        command = [sys.executable, "-m", "gpt_tf", "--quiet", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(source), "PYTHONHASHSEED": "0"}
        result = subprocess.run(command, cwd=workspace, env=environment, stdout=subprocess.PIPE)
        if result.returncode:
            raise SystemExit(f"{' '.join(command)}: exit code {result.returncode}")
        return result.stdout.decode()

    write_texts(workspace)
    run("train-tokenizer", "reviews", "--vocab-size", "600", "--output", "words")
    found: dict[str, dict[str, str]] = {}
    for name, options in RUNS.items():
        given = list(options)
        if name in ("demo", "imdb", "kerasnlp-mini"):
            given += ["--tokenizer", "words"]
        elif name == "shakespeare-baseline":
            given += ["--train-tokenizer"]
        run(
            "train",
            *given,
            "--name",
            name,
            "--max-steps",
            str(STEPS),
            "--set",
            "training.warmup_steps=5",
            "--set",
            "training.log_interval=2",
            "--set",
            "training.eval_interval=10",
            "--set",
            "training.eval_batches=2",
        )
        found[name] = of_run(workspace / "runs" / name)
    for name, options in SAMPLERS.items():
        text = run(
            "generate",
            "--run",
            "demo",
            "--prompt",
            "The film",
            "--max-new-tokens",
            "40",
            "--raw",
            *options,
        )
        found.setdefault("samplers", {})[name] = sha256(text.encode()).hexdigest()
    return found


def write_texts(workspace: Path) -> None:
    """Some text that never changes, whatever the package's sample reviews become."""
    text = "the a film plot actor music scene was is and but of in good bad slow warm"
    words = text.split()
    state = 1
    (workspace / "reviews").mkdir()
    lines = []
    for number in range(400):
        said = []
        for _ in range(120):
            state = (1103515245 * state + 12345) % 2**31
            said.append(words[state // 65536 % len(words)])
        lines.append(" ".join(said).capitalize() + ".\n")
        (workspace / "reviews" / f"{number:03}.txt").write_text(lines[-1])
    (workspace / "text.txt").write_text("".join(lines))


def of_run(directory: Path) -> dict[str, str]:
    """The digests of a run's last checkpoint and of its numbers, times left out."""
    folder = directory / "checkpoints" / f"step-{STEPS:08}"
    digests = {
        name: sha256((folder / f"{name}.safetensors").read_bytes()).hexdigest()
        for name in ("model", "training")
    }
    rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    kept = [{k: v for k, v in row.items() if not k.startswith("perf/")} for row in rows]
    return digests | {"metrics": sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()}


def of_commit(commit: str, folder: Path) -> dict[str, dict[str, str]]:
    """The digests that an earlier commit gives here."""
    source, workspace = folder / "source", folder / "workspace"
    workspace.mkdir(parents=True)
    archive = subprocess.run(
        ["git", "archive", "--format=tar", f"--prefix={source.name}/", commit, "gpt_tf"],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
    )
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return compute(source, workspace)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true", help="take this tree's as the right ones")
    arguments = parser.parse_args()
    recorded = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    with tempfile.TemporaryDirectory(prefix="gpt-tf-digests-") as folder:
        here = Path(folder) / "here"
        here.mkdir()
        found = compute(ROOT, here)
        if arguments.record:
            head = ["git", "rev-parse", "HEAD"]
            commit = subprocess.run(head, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
            recorded = {"commit": commit.stdout.strip(), machine(): found}
            RECORDED.write_text(json.dumps(recorded, indent=2) + "\n")
            return
        expected = recorded.get(machine())
        if expected is None:
            print(f"nothing is recorded for: {machine()}", file=sys.stderr)
            expected = of_commit(recorded["commit"], Path(folder) / "then")
    differing = [
        f"{name}: {what}"
        for name, digests in expected.items()
        for what, digest in digests.items()
        if found[name].get(what) != digest
    ]
    count = sum(map(len, expected.values()))
    print(
        f"{count - len(differing)} of {count} digests are the recorded ones", *differing, sep="\n"
    )
    sys.exit(bool(differing))


if __name__ == "__main__":
    main()
