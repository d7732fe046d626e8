"""Systems under test: a name and the command that fits, predicts and writes predictions."""

import json
import shlex
import string
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
PRESETS = HERE / "presets.toml"

# What the harness fills in for every run; the texts are quoted for the shell.
RUN_PLACEHOLDERS = frozenset(
    ["train", "test", "target", "task", "metric", "budget", "seed", "cores", "binary", "model", "predictions", "work", "here"]
)


class BadSystem(ValueError):
    """A system that cannot be run as it is described."""


@dataclass(frozen=True)
class System:
    """A command template; `values` fill its own placeholders and `here` is the folder of the file that it comes from."""

    name: str
    command: str
    values: dict[str, str] = field(default_factory=dict)
    here: Path = HERE

    def __post_init__(self) -> None:
        try:
            names = {name for _, name, _, _ in string.Formatter().parse(self.command) if name is not None}
        except ValueError as error:
            raise BadSystem(f"{self.name}: {error}; write {{{{ and }}}} for braces of the command itself") from error
        unknown = names - RUN_PLACEHOLDERS - self.values.keys()
        if unknown:
            missing, there = (", ".join(sorted(names)) for names in (unknown, RUN_PLACEHOLDERS))
            raise BadSystem(f"{self.name}: nothing fills the placeholders {missing}; there are {there}")

    @property
    def template(self) -> str:
        """The command with the system's own values filled in."""
        kept = {name: "{" + name + "}" for name in RUN_PLACEHOLDERS}
        return self.command.format_map(kept | self.values)

    def line(self, run_values: dict[str, object]) -> str:
        """The shell command of one run."""
        quoted = {name: shlex.quote(str(value)) for name, value in run_values.items()}
        return self.command.format_map({"here": shlex.quote(str(self.here))} | quoted | self.values)


def read_systems(path: Path) -> dict[str, System]:
    """The systems of a TOML or JSON file: `command` for all, `[systems.NAME]` with values for its placeholders or a command of its own."""
    text = path.read_text(encoding="utf-8")
    try:
        document = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except ValueError as error:
        raise BadSystem(f"{path}: {error}") from error
    common = document.get("command")
    found = {}
    for name, table in document.get("systems", {}).items():
        values = {key: str(value) for key, value in table.items() if key != "command"}
        command = table.get("command", common)
        if not isinstance(command, str):
            raise BadSystem(f"{path}: system {name} has no command")
        found[name] = System(name, command, values, path.resolve().parent)
    if not found:
        raise BadSystem(f"{path} has no [systems.NAME]")
    return found


def choose(requests: list[str], configs: list[str], files: list[Path]) -> list[System]:
    """The systems that the command line names: all of the given files where it names none."""
    known = read_systems(PRESETS)
    given: dict[str, System] = {}
    for path in files:
        given |= read_systems(path)
    known |= given
    chosen = [_requested(request, known) for request in requests]
    chosen += [_with_config(config, known["automl"]) for config in configs]
    chosen = chosen or list(given.values()) or [known["automl"]]
    names = [system.name for system in chosen]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise BadSystem(f"named twice: {', '.join(sorted(twice))}")
    return chosen


def _requested(request: str, known: dict[str, System]) -> System:
    name, is_command, command = request.partition("=")
    if is_command:
        return System(name, command)
    if name not in known:
        raise BadSystem(f"there is no system {name}; there are {', '.join(sorted(known))}; or write NAME='command'")
    return known[name]


def _with_config(request: str, base: System) -> System:
    name, is_config, path = request.partition("=")
    if not is_config:
        raise BadSystem(f"--config {request}: write NAME=FILE")
    if not Path(path).is_file():
        raise BadSystem(f"--config {request}: there is no file {path}")
    flag = f"--config {shlex.quote(str(Path(path).resolve()))}"
    return System(name, base.command, base.values | {"flags": f"{base.values.get('flags', '')} {flag}".strip()}, base.here)
