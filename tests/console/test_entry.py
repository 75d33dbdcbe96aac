"""The `ichor` command line: what it lists, how fast it answers, and how it says no."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import typer

from console.cli.entry import COMMANDS, run

if TYPE_CHECKING:
    from pathlib import Path

HELP_LIMIT_S = 0.5
HEAVY = ("torch", "pydicom", "sqlalchemy", "celery", "numpy")


def one_sentence(text: str) -> bool:
    """Say whether an error is one line that ends like a sentence."""
    return text.startswith("ichor: ") and text.count("\n") == 1 and "Traceback" not in text


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """`ichor --help` names every command and says that this is for research."""
    assert run(["--help"]) == 0
    text = capsys.readouterr().out
    assert "Research use only" in text
    assert all(entry.name in text for entry in COMMANDS)


def test_help_loads_nothing_heavy() -> None:
    """The help answers without importing what the commands need."""
    probe = f"import sys, console.cli.entry as e; e.run(['--help']); print([m for m in {HEAVY!r} if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1] == "[]"


def test_help_answers_at_once() -> None:
    """The quickest of a few runs of `ichor --help` takes less than half a second of processor time."""
    spent_s = []
    for _ in range(3):
        before_s = children_cpu_s()
        subprocess.run([sys.executable, "-m", "console.cli", "--help"], capture_output=True, check=True)
        spent_s.append(children_cpu_s() - before_s)
    assert min(spent_s) < HELP_LIMIT_S


def children_cpu_s() -> float:
    """Give the processor time of this process's ended children."""
    import resource  # Unix only, as the command is

    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_summary_is_the_docstring(entry: object) -> None:
    """What the help says of a command without loading it is what the command says of itself."""
    name, summary = entry.module, entry.summary  # type: ignore[attr-defined]
    module = importlib.import_module(f"console.cli.{name}")
    app = getattr(module, "app", None)
    own = app.info.help if isinstance(app, typer.Typer) else (inspect.getdoc(module.command) or "").splitlines()[0]
    assert own == summary


def test_every_command_takes_config() -> None:
    """`--config` stands on each command but the demo, which runs on settings of its own."""
    for entry in COMMANDS:
        module = importlib.import_module(f"console.cli.{entry.module}")
        app = getattr(module, "app", None)
        callbacks = [module.command] if app is None else [command.callback for command in app.registered_commands]
        for callback in callbacks:
            assert entry.name == "demo" or "config" in inspect.signature(callback).parameters


NO_RESULTS = {"serve", "listen", "web", "work", "reconcile", "password", "demo"}
"""What runs until it is told to stop, what prints an entry of the settings, and the demo, which is for people."""


def test_every_command_that_prints_results_takes_json() -> None:
    """`--json` stands on each command whose answer a script may want."""
    for entry in COMMANDS:
        if entry.name in NO_RESULTS:
            continue
        module = importlib.import_module(f"console.cli.{entry.module}")
        app = getattr(module, "app", None)
        callbacks = [module.command] if app is None else [command.callback for command in app.registered_commands]
        for callback in callbacks:
            assert "as_json" in inspect.signature(callback).parameters, callback


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_help_shows_what_was_written(entry: object, capsys: pytest.CaptureFixture[str]) -> None:
    """No word of a summary is taken for markup and left out."""
    name, summary = entry.name, entry.summary  # type: ignore[attr-defined]
    assert run([name, "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert summary.split(".")[0].replace("`", "") in shown.replace("`", "")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """`ichor --version` says which one it is."""
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("ichor 0.")


@pytest.mark.parametrize("argv", [["nonsense"], ["status", "--nonsense"], ["process"], ["work", "--queue", "other"]])
def test_wrong_usage_is_exit_code_2(argv: list[str]) -> None:
    """A command line that cannot be understood ends with 2."""
    assert run(argv) == 2


def test_missing_settings_file_is_one_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A settings file that is not there is named, with exit code 1 and no traceback."""
    assert run(["status", "--config", str(tmp_path / "none.toml")]) == 1
    text = capsys.readouterr().err
    assert one_sentence(text)
    assert "none.toml" in text


def test_unknown_setting_names_the_nearest(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A misspelt setting is answered with the one that was probably meant."""
    config = tmp_path / "ichor.toml"
    config.write_text('data_dri = "/nowhere"\n')
    assert run(["status", "--config", str(config)]) == 1
    text = capsys.readouterr().err
    assert one_sentence(text)
    assert "data_dir" in text


def test_status_of_an_empty_node(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that has received nothing has an empty worklist, also as JSON."""
    monkeypatch.setenv("ICHOR_DATA_DIR", str(tmp_path))
    assert run(["status", "--json"]) == 0
    assert capsys.readouterr().out == "[]\n"


def test_unknown_study_is_one_sentence(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asking for a study that never came fails plainly."""
    monkeypatch.setenv("ICHOR_DATA_DIR", str(tmp_path))
    for command in ("study", "retry"):
        assert run([command, "1.2.3"]) == 1
        assert one_sentence(capsys.readouterr().err)


def test_release_of_an_unknown_name(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only destinations and channels of the settings can be released."""
    monkeypatch.setenv("ICHOR_DATA_DIR", str(tmp_path))
    assert run(["release", "pacs"]) == 1
    assert one_sentence(capsys.readouterr().err)
