"""The pages of the documentation: their links lead somewhere, what they show is well-formed."""

from __future__ import annotations

import ast
import json
import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.docs.conftest import Block

REPOSITORY = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\]\(([^)\s]+)\)")
MODULE = re.compile(r"(?<![\w/.])((?:pims|tests|docs|benchmarks|plugins|examples|\.ci)/[\w./-]+\.\w+)\b")
"""Files the pages name."""
LANGUAGES = {"dotenv", "ini", "json", "nginx", "python", "sh", "text"}
"""sh blocks are run (test_readme.py), python parsed, dotenv loaded (test_reference.py); others only shown."""


def test_every_link_inside_the_repository_leads_to_a_file(documents: list[Path]) -> None:
    for page in documents:
        for target in LINK.findall(page.read_text("utf-8")):
            if "://" not in target and not target.startswith("#"):
                assert (page.parent / target.partition("#")[0]).exists(), f"{page.name}: {target}"


def test_every_file_a_page_names_exists(documents: list[Path]) -> None:
    for page in documents:
        if page.name != "CHANGELOG.md":
            for name in MODULE.findall(page.read_text("utf-8")):
                assert (REPOSITORY / name).exists(), f"{page.name}: {name}"


def test_blocks_are_of_a_language_that_something_checks(blocks: list[Block]) -> None:
    assert {block.language for block in blocks} <= LANGUAGES
    for block in blocks:
        if block.language == "python":
            ast.parse(textwrap.dedent(block.text))
        if block.language == "json":
            json.loads(block.text)
