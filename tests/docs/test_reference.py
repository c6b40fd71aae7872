"""The reference says what the code does, all of it, and nothing that is no longer true."""

from __future__ import annotations

import argparse
import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from dotenv import dotenv_values

from pims.api.errors import KINDS
from pims.cli import command_line
from pims.formats.common import FORMATS
from pims.settings import Settings

if TYPE_CHECKING:
    from tests.docs.conftest import Block

REPOSITORY = Path(__file__).resolve().parents[2]
REFERENCE = REPOSITORY / "docs" / "reference"


@pytest.fixture(scope="module")
def generated() -> dict[Path, str]:
    spec = spec_from_file_location("docs_generate", REPOSITORY / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    pages: dict[Path, str] = module.pages()
    return pages


def test_generated_pages_are_up_to_date(generated: dict[Path, str]) -> None:
    outdated = [
        str(path) for path, text in generated.items() if (REPOSITORY / path).read_text("utf-8") != text
    ]
    assert not outdated, "run `make docs`"


def test_all_pages_of_the_reference_are_generated(generated: dict[Path, str]) -> None:
    measured = {REFERENCE / "samples.md"}  # by `make samples`, which needs the samples
    pages = {REPOSITORY / path for path in generated if path.suffix == ".md"}
    assert set(REFERENCE.iterdir()) == pages | measured


def test_every_setting_is_described() -> None:
    text = (REFERENCE / "settings.md").read_text("utf-8")
    for name, field in Settings.model_fields.items():
        assert f"| `{name.upper()}` |" in text
        assert field.description, name


def test_every_format_is_described() -> None:
    text = (REFERENCE / "formats.md").read_text("utf-8")
    for fmt in FORMATS:
        assert f"| Identifier | `{fmt.get_identifier()}` |" in text


def test_every_problem_is_described() -> None:
    text = (REFERENCE / "errors.md").read_text("utf-8")
    for error, kind in KINDS.items():
        assert f"| {kind.status} | `{kind.name}` |" in text
        assert f"`{error.__name__}`" in text


def test_every_command_and_option_is_described() -> None:
    text = (REFERENCE / "cli.md").read_text("utf-8")
    [commands] = [a for a in command_line()._actions if isinstance(a, argparse._SubParsersAction)]
    for name, command in commands.choices.items():
        section = text.partition(f"## `pims {name}`\n")[2].partition("\n## ")[0]
        assert section, name
        for action in command._actions:
            if not isinstance(action, argparse._HelpAction):
                assert action.help, action.dest
                spelling = action.option_strings[0] if action.option_strings else str(action.metavar)
                assert f"| `{spelling}" in section


def test_the_configuration_example_has_every_setting_at_its_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    text = (REPOSITORY / "pims-config.env").read_text("utf-8")
    assert not [line for line in text.splitlines() if line and not line.startswith("#")]
    lines = re.findall(r"^#([A-Z_]+=.*)$", text, re.MULTILINE)
    assert [line.partition("=")[0].lower() for line in lines] == list(Settings.model_fields)
    file = tmp_path / "uncommented.env"
    file.write_text("\n".join(line for line in lines if not line.endswith("=")))
    assert Settings.load({"CONFIG_FILE": str(file)}) == Settings.load({})


def test_configuration_files_shown_in_the_documentation_are_valid(
    blocks: list[Block], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = [block for block in blocks if block.language == "dotenv"]
    assert shown
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    for block in shown:
        file = tmp_path / "shown.env"
        file.write_text(block.text)
        assert {name.lower() for name in dotenv_values(file)} <= set(Settings.model_fields), block.page
        Settings.load({"CONFIG_FILE": str(file)})
