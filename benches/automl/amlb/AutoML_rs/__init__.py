"""`automl` as a framework of the AutoML Benchmark (https://openml.github.io/automlbenchmark)."""

from amlb.benchmark import TaskConfig
from amlb.data import Dataset
from amlb.utils import call_script_in_same_dir

CATEGORICAL = ("categorical", "nominal", "enum")


def setup(*args, **kwargs):
    """Puts the program where `exec.py` finds it."""
    call_script_in_same_dir(__file__, "setup.sh", *args, **kwargs)


def run(dataset: Dataset, config: TaskConfig):
    """Hands the paths of the tables and what is known of their columns to `exec.py`."""
    from frameworks.shared.caller import run_in_venv

    described = {
        "train": {"path": dataset.train.data_path("csv")},
        "test": {"path": dataset.test.data_path("csv")},
        "target": {"name": dataset.target.name, "classes": dataset.target.values},
        "categorical": [feature.name for feature in dataset.predictors if feature.data_type in CATEGORICAL],
    }
    return run_in_venv(__file__, "exec.py", input_data=described, dataset=dataset, config=config)
