"""ARCHITECTURE.md is true: every module is on its map, what it names exists, its layers are the contract."""

from __future__ import annotations

import ast
import re
from configparser import ConfigParser
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
NAMED = re.compile(r"`(pims/[\w/]+\.py)`\s+`([\w.]+)`")


@pytest.fixture(scope="module")
def text() -> str:
    return (REPOSITORY / "ARCHITECTURE.md").read_text("utf-8")


def test_every_module_is_on_the_map(text: str) -> None:
    drawn = text.partition("```text\n")[2].partition("\n```")[0]
    sections = {"": drawn}
    for folder, section in re.findall(r"^  (\w+)/((?:.|\n(?!  \w|\w))*)", drawn, re.MULTILINE):
        sections[folder] = section
    for path in sorted((REPOSITORY / "pims").rglob("*.py")):
        inside = path.relative_to(REPOSITORY / "pims")
        if path.name != "__init__.py":
            section = sections[inside.parts[0] if len(inside.parts) > 1 else ""]
            assert re.search(rf"(?<![\w.]){re.escape(path.name)}\b", section), f"{inside} is not on the map"
        elif len(inside.parts) > 1:
            assert f"{inside.parts[-2]}/" in drawn


def test_every_function_and_class_it_names_exists(text: str) -> None:
    named = NAMED.findall(text)
    assert len(named) > 20
    for path, symbol in named:
        assert symbol in set(_symbols(REPOSITORY / path)), f"{path}: {symbol}"


def test_its_layers_are_those_of_the_contract(text: str) -> None:
    contract = ConfigParser()
    contract.read(REPOSITORY / ".importlinter")
    layers = contract["importlinter:contract:layers"]["layers"].split("\n")
    kept = [layer for layer in layers if layer and not layer.startswith("(")]  # in brackets: not there yet
    assert "\n".join(kept) in text


def _symbols(path: Path) -> list[str]:
    found = []
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            found.append(node.name)
        if isinstance(node, ast.ClassDef):
            members = (m.name for m in node.body if isinstance(m, ast.FunctionDef | ast.AsyncFunctionDef))
            found.extend(f"{node.name}.{member}" for member in members)
    return found
