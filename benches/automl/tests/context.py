"""What the tests share: the modules beside this folder, a small data set, the real program where there is one."""

import csv
import os
import sys
from pathlib import Path

BENCH = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(BENCH))

ROWS = [(i % 7, "ab"[i % 2], "yes" if i % 7 > 3 else "no") for i in range(70)]


def real_binary() -> str | None:
    """The program by $AUTOML_BINARY, or where cargo puts it."""
    named = os.environ.get("AUTOML_BINARY")
    built = Path(os.environ.get("CARGO_TARGET_DIR", BENCH.parents[1] / "target")) / "release" / "automl"
    return named or (str(built) if built.is_file() else None)


def write_table(path: Path, header: list[str], rows: list) -> None:
    """Writes a CSV file."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def make_data(folder: Path) -> Path:
    """A folder of two pairs: `labels`, whose target stands in the middle, and `values`."""
    tasks = [("labels", "classification", "answer"), ("values", "regression", "y")]
    write_table(folder / "tasks.csv", ["name", "task", "target"], tasks)
    for name, header, rows in (
        ("labels", ["number", "answer", "letter"], [(n, answer, letter) for n, letter, answer in ROWS]),
        ("values", ["x", "y"], [(i, 2 * i + 1) for i in range(40)]),
    ):
        (folder / name).mkdir()
        write_table(folder / name / "train.csv", header, rows[: len(rows) // 2])
        write_table(folder / name / "test.csv", header, rows[len(rows) // 2 :])
    return folder
