"""The shape of the code: what a reader finds in every module, and what is never there."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCES = sorted(
    [*(REPOSITORY / "pims").rglob("*.py"), *(REPOSITORY / "plugins").glob("*/pims_plugin_*/**/*.py")]
)
MODULES = [pytest.param(path, id=path.relative_to(REPOSITORY).as_posix()) for path in SOURCES]
MODULE_LINES, FUNCTION_LINES = 500, 60
NAMELESS = {"util", "utils", "helper", "helpers", "common", "manager", "managers", "misc", "tools"}
CODECS = {"simplejpeg", "imagecodecs", "tifffile", "PIL", "openslide", "cv2"}
LIGHT = [
    "pims",
    "pims.errors",
    "pims.files.layout",
    "pims.files.manifest",
    "pims.files.source",
    "pims.formats.abstract",
    "pims.formats.probe",
    "pims.formats.registry",
]
"""The plug-in API and what carries bytes: a plug-in that can be imported does not load a decoder yet."""


@pytest.mark.parametrize("path", MODULES)
def test_modules_and_functions_are_short(path: Path) -> None:
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= MODULE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < FUNCTION_LINES, node.name


@pytest.mark.parametrize("path", MODULES)
def test_the_first_line_of_a_module_says_what_it_is(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text("utf-8")))
    assert docstring is not None
    assert docstring.partition("\n")[0].strip(), "the first line is empty"


@pytest.mark.parametrize("path", MODULES)
def test_public_names_are_listed_in_a_sorted_all_and_exist(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    exported = _exported(tree)
    if exported is None:
        assert path.name == "__init__.py" and not list(_public_names(tree)), "has no __all__"
        return
    assert exported == sorted(exported, key=_isort_key)
    assert len(exported) == len(set(exported))
    assert set(exported) <= set(_defined_names(tree))


@pytest.mark.parametrize("path", MODULES)
def test_modules_have_names_that_say_something(path: Path) -> None:
    allowed = {REPOSITORY / "pims" / "formats" / "common"}  # the core formats; the name is in the plug-in API
    names = {
        parent.name for parent in path.parents if parent.is_relative_to(REPOSITORY) and parent not in allowed
    }
    assert not (names | {path.stem}) & NAMELESS


@pytest.mark.parametrize("module", LIGHT)
def test_the_face_of_the_plug_in_api_imports_no_codec(module: str) -> None:
    code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & CODECS


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_lock_files_pin_everything_and_name_no_place(name: str) -> None:
    text = (REPOSITORY / name).read_text("utf-8")
    assert "://" not in text
    assert not re.search(r"--(extra-)?index-url|--find-links", text)
    for requirement in re.split(r"\n(?=\S)", text.strip()):
        assert re.match(r"[\w.-]+(\[[\w,.-]+\])?==\S+", requirement), requirement
        assert "--hash=sha256:" in requirement, requirement


def test_the_size_of_what_is_installed_is_written_down_and_within_its_bound() -> None:
    [decision] = (REPOSITORY / "docs" / "decisions").glob("0001-*.md")
    sizes = [int(size) for size in re.findall(r"\*\*(\d+) MB\*\*", decision.read_text("utf-8"))]
    assert sizes and max(sizes) < 450


def _exported(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        targets = (
            node.targets
            if isinstance(node, ast.Assign)
            else [node.target]
            if isinstance(node, ast.AnnAssign)
            else []
        )
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            assert isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None
            names: list[str] = ast.literal_eval(node.value)
            return names
    return None


def _isort_key(name: str) -> tuple[int, str]:
    """The order of RUF022: constants, classes, functions."""
    return (0 if name.isupper() else 1 if name[:1].isupper() else 2), name


def _public_names(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(
            node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
        ) and not node.name.startswith("_"):
            yield node.name


def _defined_names(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Assign):
            yield from (name.id for name in ast.walk(node) if isinstance(name, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id
