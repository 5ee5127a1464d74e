"""The page of commands in docs, and the help of the program itself."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mair_cli.cli.app import COMMANDS, build_app
from mair_cli.cli.help_page import help_page
from mair_cli.cli.restore_commands import restore_command
from mair_cli.tasks import TASKS, Task

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"


def test_the_page_of_commands_is_up_to_date() -> None:
    """If this fails: python -m mair_cli.cli.help_page > docs/commands.md."""
    assert PAGE.read_text("utf-8") == help_page()


@pytest.mark.parametrize("name", [command.name for command in COMMANDS])
def test_every_command_of_the_table_has_help_that_says_more_than_its_line(name: str) -> None:
    result = CliRunner().invoke(build_app([name]), [name, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert "--help" in result.output


def test_commands_that_are_not_called_are_listed_without_being_loaded() -> None:
    result = CliRunner().invoke(build_app([]), ["--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert all(command.name in result.output and command.help in result.output for command in COMMANDS)


def test_every_task_is_a_command_or_an_option_of_one() -> None:
    for task in TASKS.values():
        name, *option = task.typed.split()
        result = CliRunner().invoke(build_app([name]), [name, "--help"], env={"COLUMNS": "200"})
        assert result.exit_code == 0
        assert all(word in result.output for word in option)
        assert task.summary in result.output


def test_a_new_row_in_the_table_of_tasks_is_a_new_command(monkeypatch: pytest.MonkeyPatch) -> None:
    colours = Task("colorize", "colourisation", "coloured", summary="Add colours.", settings=frozenset({"sigma"}))
    monkeypatch.setitem(TASKS, colours.name, colours)
    command = restore_command("colorize")
    assert {"inputs", "output", "sigma", "tile", "model"} <= set(inspect.signature(command).parameters)
    assert not {"scale", "jpeg", "scene"} & set(inspect.signature(command).parameters)
    assert "Add colours." in str(command.__doc__)
    assert "photo_mair_coloured.png" in str(command.__doc__)
