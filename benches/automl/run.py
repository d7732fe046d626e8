#!/usr/bin/env python3
"""Runs AutoML systems, any command, on train/test pairs with a budget and seeds, and appends a line of JSON for each run.

    run.py --data DATA/tabular --out results.jsonl --budget 60 --seeds 1,2,3 --core 0 --binary target/release/automl --pairs dev

`DATA/tasks.csv` lists the pairs (name, task, target), `DATA/NAME/train.csv` and `test.csv` are their tables. A system gets a copy of the
test table without the target, so that it cannot look. A run that has its line is not run again: after an interruption, give the same
command.
Needs Python 3.11 and no package.
"""

import argparse
import csv
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import metrics
import systems

# The pairs on which rival systems were measured, and on which choices are made; the others are kept for the last look.
DEV_PAIRS = (
    "GAMETES_Epistasis_2_Way_20atts_0_4H_EDM_1_1",
    "Hill_Valley_without_noise",
    "concrete",
    "credit_g",
    "jobs_hr",
    "kin8nm",
    "monk1",
    "pima",
    "splice",
    "tic_tac_toe",
    "vowel",
    "wine_quality_red",
)

TAIL = 2000  # characters of standard error that a failure keeps
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Pair:
    """A train/test pair."""

    name: str
    task: str
    target: str
    train: Path
    test: Path


@dataclass(frozen=True)
class Settings:
    """What is the same for all runs."""

    budget: float
    cores: tuple[int, ...]
    binary: str
    keep: Path | None = None

    @property
    def hard_limit(self) -> float:
        """The seconds after which a run is killed."""
        return 2 * self.budget + 30


@dataclass(frozen=True)
class Job:
    """One run."""

    system: systems.System
    pair: Pair
    seed: int


@dataclass(frozen=True)
class Usage:
    """What a process and all that it waited for took; memory is that of the largest of them."""

    exit_code: int
    timed_out: bool
    wall: float
    cpu: float
    peak_mb: float


def read_pairs(data: Path, wanted: list[str]) -> list[Pair]:
    """The pairs of a folder by `dev`, `all` or their names."""
    with open(data / "tasks.csv", newline="", encoding="utf-8") as file:
        known = {row["name"]: _pair(data.resolve(), row) for row in csv.DictReader(file)}
    names: dict[str, None] = {}
    for name in wanted:
        names |= dict.fromkeys(known if name == "all" else DEV_PAIRS if name == "dev" else [name])
    missing = names.keys() - known.keys()
    if missing:
        raise SystemExit(f"{data}/tasks.csv has no {', '.join(sorted(missing))}")
    return [known[name] for name in names]


def _pair(data: Path, row: dict[str, str]) -> Pair:
    tables = (data / row["name"] / part for part in ("train.csv", "test.csv"))
    return Pair(row["name"], row["task"], row["target"], *tables)


def strip_target(source: Path, target: str, out: Path) -> None:
    """Copies a table without a column."""
    with open(source, newline="", encoding="utf-8") as read, open(out, "w", newline="", encoding="utf-8") as write:
        rows = csv.reader(read)
        at = _column(next(rows), target, source)
        read.seek(0)
        csv.writer(write, lineterminator="\n").writerows(row[:at] + row[at + 1 :] for row in csv.reader(read))


def read_column(path: Path, name: str) -> list[str]:
    """A column of a table."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = csv.reader(file)
        at = _column(next(rows), name, path)
        return [row[at] for row in rows]


def read_predictions(path: Path, target: str) -> list[str]:
    """The predictions that a system wrote: the column `prediction`, that of the target, or the only one."""
    if not path.is_file():
        raise metrics.BadPredictions("the command wrote no predictions")
    with open(path, newline="", encoding="utf-8", errors="replace") as file:
        rows = csv.reader(file)
        header = next(rows, [])
        at = next((header.index(name) for name in ("prediction", "predictions", target) if name in header), None)
        if at is None and len(header) == 1:
            at = 0
        if at is None:
            raise metrics.BadPredictions(f"no column `prediction` among {', '.join(header[:10])}")
        filled = [row for row in rows if row]
    if any(len(row) <= at for row in filled):
        raise metrics.BadPredictions("a row of the predictions is too short")
    return [row[at] for row in filled]


def execute(line: str, folder: Path, cores: tuple[int, ...], limit: float) -> Usage:
    """Runs a shell command in a folder, on the given cores, and kills it with all its children at the limit."""
    environment = os.environ | {name: str(len(cores) or os.cpu_count()) for name in THREAD_VARIABLES}
    with open(folder / "stdout", "wb") as out, open(folder / "stderr", "wb") as err:
        start = time.monotonic()
        with _pinned(cores):
            process = subprocess.Popen(
                ["sh", "-c", line], cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment, start_new_session=True
            )
        try:
            timed_out, status, usage = _wait(process.pid, start + limit)
        except BaseException:
            _kill_group(process.pid)
            process.wait()
            raise
        wall = time.monotonic() - start
    _kill_group(process.pid)  # what the command may have left behind
    process.returncode = os.waitstatus_to_exitcode(status)
    per_mb = 1e6 if sys.platform == "darwin" else 1e6 / 1024
    return Usage(process.returncode, timed_out, wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / per_mb)


def run(job: Job, settings: Settings) -> dict[str, object]:
    """Does one run and returns its line."""
    folder = Path(tempfile.mkdtemp(prefix="automl-bench-"))
    try:
        started = datetime.now(UTC).isoformat(timespec="seconds")
        strip_target(job.pair.test, job.pair.target, folder / "test.csv")
        usage = execute(job.system.line(_values(job, settings, folder)), folder, settings.cores, settings.hard_limit)
        record = _key_fields(job, settings) | {"task": job.pair.task, "metric": metrics.METRICS[job.pair.task]}
        record |= _judge(job, usage, folder, settings)
        record |= {"wall": round(usage.wall, 3), "cpu": round(usage.cpu, 3), "peak_mb": round(usage.peak_mb, 1)}
        return record | {
            "exit_code": usage.exit_code,
            "cores": list(settings.cores),
            "started": started,
            "command": job.system.template,
            "reported": _reported(folder),
        }
    finally:
        if settings.keep is not None:
            name = f"{job.system.name}-{job.pair.name}-{job.seed}"
            shutil.copytree(folder, settings.keep / name, dirs_exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def _judge(job: Job, usage: Usage, folder: Path, settings: Settings) -> dict[str, object]:
    """How a run ended: its score, or why it has none; beside it the score of a constant."""
    pair = job.pair
    truth = read_column(pair.test, pair.target)
    constant = metrics.constant_score(pair.task, read_column(pair.train, pair.target), truth)
    score, status, error = None, "ok", None
    if usage.timed_out:
        status, error = "timeout", f"killed after {settings.hard_limit:g} s\n{_tail(folder / 'stderr')}".strip()
    elif usage.exit_code != 0:
        status, error = "failed", _tail(folder / "stderr") or f"ended with {usage.exit_code}"
    else:
        try:
            score = metrics.score(pair.task, truth, read_predictions(folder / "predictions.csv", pair.target))
        except (metrics.BadPredictions, csv.Error) as problem:
            status, error = "bad_predictions", f"{problem}\n{_tail(folder / 'stderr')}".strip()
    return {"status": status, "score": score, "constant": constant, "error": error}


def _values(job: Job, settings: Settings, folder: Path) -> dict[str, object]:
    """What fills the placeholders of a command."""
    pair = job.pair
    return {
        "train": pair.train,
        "test": folder / "test.csv",
        "target": pair.target,
        "task": pair.task,
        "metric": metrics.METRICS[pair.task],
        "budget": f"{settings.budget:g}",
        "seed": job.seed,
        "cores": len(settings.cores) or os.cpu_count() or 1,
        "binary": settings.binary,
        "model": folder / "model",
        "predictions": folder / "predictions.csv",
        "work": folder,
    }


def _key_fields(job: Job, settings: Settings) -> dict[str, object]:
    return {"system": job.system.name, "pair": job.pair.name, "seed": job.seed, "budget": settings.budget}


def _key(record: dict[str, object]) -> tuple[object, ...]:
    """What makes a run the same run."""
    return record.get("system"), record.get("pair"), record.get("seed"), float(record.get("budget", 0))  # type: ignore[arg-type]


def read_records(path: Path) -> Iterator[dict[str, object]]:
    """The lines of a file of results; one that was cut short is left out."""
    if not path.exists():
        return
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                record = json.loads(line)
            except ValueError:
                print(f"{path}:{number}: no JSON, left out", file=sys.stderr)
                continue
            if isinstance(record, dict):
                yield record


def append(path: Path, record: dict[str, object]) -> None:
    """Adds a line to a file of results and sees that it is on the disk; a line that was cut short before gets its end."""
    with open(path, "a+b") as file:
        if file.tell() > 0:
            file.seek(-1, os.SEEK_END)
            cut = file.read(1) != b"\n"
        else:
            cut = False
        file.write((b"\n" if cut else b"") + json.dumps(record, ensure_ascii=False).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def run_all(jobs: list[Job], settings: Settings, out: Path, retry_failed: bool) -> None:
    """Does all runs that have no line yet."""
    done = {_key(record): record for record in read_records(out)}
    _warn_of_other_commands(jobs, done.values())
    wanted = [job for job in jobs if not _is_done(done.get(_key(_key_fields(job, settings))), retry_failed)]
    print(f"{len(wanted)} runs to do, {len(jobs) - len(wanted)} done before", file=sys.stderr)
    for number, job in enumerate(wanted, 1):
        record = run(job, settings)
        append(out, record)
        score = record["status"] if record["score"] is None else f"{record['score']:.4f}"
        took = f"{record['wall']:.1f} s, {record['peak_mb']:.0f} MB"
        print(f"[{number}/{len(wanted)}] {job.system.name} {job.pair.name} seed {job.seed}: {score}, {took}", file=sys.stderr, flush=True)


def _is_done(record: dict[str, object] | None, retry_failed: bool) -> bool:
    return record is not None and (record.get("status") == "ok" or not retry_failed)


def _warn_of_other_commands(jobs: list[Job], records: Iterable[dict[str, object]]) -> None:
    """Tells where a name stood for another command before."""
    commands = {job.system.name: job.system.template for job in jobs}
    known = [record for record in records if record.get("system") in commands]
    for name in sorted({str(record["system"]) for record in known if record.get("command") != commands[str(record["system"])]}):
        print(f"warning: there are results of another command as {name}; they are kept and count as done", file=sys.stderr)


@contextmanager
def _pinned(cores: tuple[int, ...]) -> Iterator[None]:
    """The cores of this process, and so of what it starts, for a while."""
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _wait(pid: int, deadline: float) -> tuple[bool, int, resource.struct_rusage]:
    """Waits for a process until a deadline, then kills its group: whether it did, the status, and what it used."""
    pause = 0.002
    while time.monotonic() < deadline:
        done, status, usage = os.wait4(pid, os.WNOHANG)
        if done:
            return False, status, usage
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)
    _kill_group(pid)
    _, status, usage = os.wait4(pid, 0)
    return True, status, usage


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _tail(path: Path, most: int = TAIL) -> str:
    with open(path, "rb") as file:
        file.seek(max(os.path.getsize(path) - 4 * most, 0))
        return file.read().decode("utf-8", "replace").strip()[-most:]


def _reported(folder: Path) -> dict[str, object]:
    """What the command says of itself: numbers and short texts, but no paths, of a JSON object on its last line."""
    lines = _tail(folder / "stdout", 1 << 20).splitlines()
    try:
        report = json.loads(lines[-1]) if lines else {}
    except ValueError:
        return {}
    if not isinstance(report, dict):
        return {}
    return {key: value for key, value in report.items() if isinstance(value, int | float) or _is_short_text(value)}


def _is_short_text(value: object) -> bool:
    return isinstance(value, str) and len(value) < 60 and os.sep not in value


def _column(header: list[str], name: str, path: Path) -> int:
    if name not in header:
        raise SystemExit(f"{path} has no column {name}")
    return header.index(name)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(",") if part)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder with tasks.csv")
    parser.add_argument("--out", type=Path, required=True, help="the file of results that lines are added to")
    parser.add_argument("--budget", type=float, default=60, help="seconds that a system is told; it is killed at twice that and 30 s (60)")
    parser.add_argument("--seeds", type=_numbers, default=(1,), help="such as 1,2,3 (1)")
    parser.add_argument("--core", type=_numbers, default=(), help="pin runs to these cores, such as 0 or 0,1; default not")
    parser.add_argument("--pairs", nargs="+", default=["dev"], help="`dev`, `all`, or names (dev)")
    parser.add_argument("--system", action="append", default=[], help="a preset's name, or NAME='command with {placeholders}'")
    parser.add_argument("--config", action="append", default=[], help="NAME=FILE: the preset `automl` with a config file")
    parser.add_argument("--presets", type=Path, action="append", default=[], help="a file of systems, like presets.toml")
    parser.add_argument("--binary", default="automl", help="the program of the preset `automl`")
    parser.add_argument("--keep", type=Path, help="copy the folder of each run here")
    parser.add_argument("--retry-failed", action="store_true", help="run what failed again")
    return parser.parse_args(arguments)


def find_binary(name: str) -> str:
    """The absolute path of a program, as runs start in folders of their own; what is not there is left to fail."""
    return str(Path(name).resolve()) if os.sep in name else shutil.which(name) or name


def main(arguments: list[str] | None = None) -> int:
    """Does what the command line asks for; an interruption, or the signal to end, stops the run in progress with all its processes."""
    options = parse(arguments)
    try:
        chosen = systems.choose(options.system, options.config, options.presets)
    except (systems.BadSystem, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    pairs = read_pairs(options.data, options.pairs)
    settings = Settings(options.budget, options.core, find_binary(options.binary), options.keep)
    jobs = [Job(system, pair, seed) for seed in options.seeds for pair in pairs for system in chosen]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run_all(jobs, settings, options.out, options.retry_failed)
    except KeyboardInterrupt:
        print("stopped; the same command goes on with the rest", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
