"""Writes the pages that repeat what the code says: docs/reference/ and pims-config.env. Run by `make docs`.

A test compares the files with what this gives, so that they never drift from the code.
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import pims.errors
from pims.api.errors import KINDS
from pims.application import documented_app
from pims.cli import command_line
from pims.composition import Composition
from pims.formats.abstract import AbstractFormat
from pims.formats.facts import FormatFacts, in_words
from pims.formats.registry import discover_formats
from pims.importer.events import ImportStatus, ImportStep
from pims.settings import NOT_USED, Settings

__all__ = ["REPOSITORY", "pages"]

REPOSITORY = Path(__file__).resolve().parents[1]
REFERENCE = Path("docs/reference")
NOTE = "<!-- Written by docs/generate.py from the code; change the code, then run `make docs`. -->"
WIDTH = 100
"""Characters of a line of the configuration example."""


def pages() -> dict[Path, str]:
    """Text of every generated file, by its path in the repository."""
    return {
        REFERENCE / "settings.md": _page("Settings", _settings()),
        REFERENCE / "formats.md": _page("Formats", _formats()),
        REFERENCE / "cli.md": _page("Command line", _command_line()),
        REFERENCE / "errors.md": _page("Errors", _errors()),
        REFERENCE / "http.md": _page("HTTP API", _http()),
        Path("pims-config.env"): "\n".join(_configuration()) + "\n",
    }


def main() -> None:
    """Write all pages."""
    for path, text in pages().items():
        (REPOSITORY / path).parent.mkdir(parents=True, exist_ok=True)
        (REPOSITORY / path).write_text(text, encoding="utf-8")


def _page(title: str, lines: Iterable[str]) -> str:
    return "\n".join([f"# {title}", "", NOTE, "", *lines]).rstrip("\n") + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A table and an empty line; bars inside cells are escaped."""
    yield _row(head)
    yield _row(["---"] * len(head))
    yield from (_row(row) for row in rows)
    yield ""


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def _code(text: object) -> str:
    return f"`{text}`" if str(text) else ""


def _first_sentence(thing: object) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0]


# Settings ---------------------------------------------------------------------------------------------


def _settings() -> Iterator[str]:
    yield "A setting is an environment variable, or a line `NAME=value` of the file that the variable"
    yield "`CONFIG_FILE` names (by default `pims-config.env` in the working directory, when there is one)."
    yield "The environment wins over the file. Names may be written in any case; what is no setting is"
    yield "left alone. A wrong value stops the start with one line that names the setting; `pims check`"
    yield "prints the values in effect, secrets hidden."
    yield ""
    rows = ((_code(name), _default(field.default), field.description or "") for name, field in _fields())
    yield from _table(("Setting", "Default", "Meaning"), rows)
    yield ""
    yield "Other servers of this API have settings that do nothing here. `pims check` and `pims serve` name"
    yield "those that are set:"
    yield ""
    yield from _table(("Setting", "Why"), ((_code(name), why) for name, why in NOT_USED.items()))


def _fields() -> Iterator[tuple[str, Any]]:
    return ((name.upper(), field) for name, field in Settings.model_fields.items())


def _default(value: object) -> str:
    return _code(_as_text(value)) or "not set"


def _as_text(value: object) -> str:
    """As it is written in the environment; empty when there is none."""
    if value is None or value == ():
        return ""
    return str(value.value if isinstance(value, Enum) else value)


def _configuration() -> Iterator[str]:
    """pims-config.env: every setting at its default, commented out."""
    yield "# The settings of PIMS and their defaults. Remove the # of a line and change its value; lines left"
    yield "# as they are have no effect. What is in the environment wins over this file. The server reads it"
    yield "# from the directory it is started in, or from where the variable CONFIG_FILE says."
    for name, field in _fields():
        yield ""
        yield from _commented(field.description or "")
        yield f"#{name}={_as_text(field.default)}"


def _commented(text: str) -> Iterator[str]:
    line = "#"
    for word in text.split():
        if len(line) + 1 + len(word) > WIDTH:
            yield line
            line = "#"
        line += f" {word}"
    yield line


# Formats ----------------------------------------------------------------------------------------------

AXES = {"c": "channels", "z": "focal planes", "t": "time points"}
CONVERSIONS = {
    "native": "served from its own file",
    "light": "a large image is converted at import",
    "heavy": "a large image is converted at import, which takes long or much memory",
}


def _formats() -> Iterator[str]:
    yield "A format is recognised by the content of a file, never by its name. Those that are not served as"
    yield "they are become a pyramidal TIFF when they are imported. `pims formats` lists the formats of a"
    yield "server, with those of further plug-ins; see [write a format](../how-to/write-a-format.md)."
    yield ""
    own = sorted(path.name.replace("-", "_") for path in (REPOSITORY / "plugins").glob("pims-plugin-*"))
    for fmt in discover_formats():
        package = fmt.get_plugin_name()
        if package.partition(".")[0] in ("pims", *own):
            yield from _format(fmt, package)


def _format(fmt: type[AbstractFormat], package: str) -> Iterator[str]:
    yield f"## {fmt.get_name()}"
    yield ""
    yield inspect.getdoc(fmt) or ""
    if fmt.get_remarks():
        yield fmt.get_remarks()
    yield ""
    facts = FormatFacts.of(fmt)
    rows = (
        ("Identifier", _code(facts.id)),
        ("Usual extensions", ", ".join(_code(extension) for extension in facts.extensions)),
        ("Media type", _code(facts.media_type)),
        ("Recognised by", _first_sentence(fmt.checker_class)),
        ("One image is", f"a {facts.grouping}"),
        ("Bits per sample", in_words(facts.bits) + (", floating point" if facts.floating_point else "")),
        ("Samples per pixel", in_words(facts.samples)),
        ("Several planes", ", ".join(AXES[axis] for axis in facts.planes) or "no"),
        ("Brightfield", "yes" if facts.brightfield else "no"),
        ("Conversion", f"{facts.conversion}: {CONVERSIONS[facts.conversion]}"),
        ("Comes with", _code(package)),
    )
    yield from _table(("", ""), rows)


# Command line -----------------------------------------------------------------------------------------


def _command_line() -> Iterator[str]:
    parser = command_line()
    yield "`pims` is in `.venv/bin` after `make setup`. Settings come from the environment, see"
    yield "[settings](settings.md). Exit codes: 0 all good, 1 something failed, 2 wrong usage or"
    yield "configuration (one line on standard error)."
    yield ""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            told = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, command in action.choices.items():
                yield from _command(name, told.get(name, ""), command)
    yield "`python -m pims.main` is `pims serve`; `python pims/importer/import_local_images.py --path X` is"
    yield "`pims import X`."
    yield ""
    yield "## What `pims import --json` prints"
    yield ""
    yield "One JSON object a line for every file, as soon as its import has ended; progress goes to standard"
    yield "error."
    yield ""
    steps = ", ".join(_code(step.value) for step in ImportStep)
    statuses = ", ".join(_code(status.value) for status in ImportStatus)
    rows = (
        ("source", "The file, as it was named."),
        ("path", "Of the image, as used in URLs: `upload-<uuid>/<file name>`; null when there is none."),
        ("format", "Identifier of the format, see [formats](formats.md); null when it was not recognised."),
        ("status", f"{statuses}. The first and the last are good."),
        ("step", f"Where the import failed or ended: {steps}."),
        ("error", "A sentence that says what, why and what to do; null when all went well."),
    )
    yield from _table(("Member", "Meaning"), ((_code(name), meaning) for name, meaning in rows))


def _command(name: str, told: str, command: argparse.ArgumentParser) -> Iterator[str]:
    yield f"## `pims {name}`"
    yield ""
    yield f"{told[:1].upper()}{told[1:]}."
    yield ""
    rows = [
        (_code(_spelling(action)), action.help or "")
        for action in command._actions
        if not isinstance(action, argparse._HelpAction)
    ]
    if rows:
        yield from _table(("Argument", "Meaning"), rows)


def _spelling(action: argparse.Action) -> str:
    metavar = str(action.metavar or action.dest.upper())
    if not action.option_strings:
        return f"{metavar}..." if action.nargs == "+" else metavar
    return " ".join([", ".join(action.option_strings), *([metavar] if action.nargs != 0 else [])])


# Errors -----------------------------------------------------------------------------------------------


def _errors() -> Iterator[str]:
    yield "Every answer that is no success is `application/problem+json` (RFC 9457): `type`, `title`,"
    yield "`status`, `detail` (a sentence), `instance` (the path asked), and `errors`, a list of"
    yield '`{"in", "name", "reason", "value"}` when parameters are wrong. `details` repeats `detail`. The'
    yield "`type` of the problems below is `urn:pims:problem:` and the name; other errors of HTTP, such as"
    yield "405, have the type `about:blank`."
    yield ""
    rows = (
        (str(kind.status), _code(kind.name), kind.title, _code(error.__name__), _reason(error))
        for error, kind in sorted(KINDS.items(), key=lambda item: (item[1].status, item[1].name))
    )
    yield from _table(("Status", "Name", "Title", "Exception", "When"), rows)
    yield "An error without a line of its own is told as its nearest ancestor:"
    yield ""
    yield "```"
    tree = inspect.cleandoc(pims.errors.__doc__ or "").partition("::")[2]
    yield from inspect.cleandoc(tree).splitlines()
    yield "```"


def _reason(error: type[Exception]) -> str:
    if not error.__module__.startswith("pims."):
        return "A value has the wrong type or is out of its range."
    return _first_sentence(error)


# HTTP -------------------------------------------------------------------------------------------------


def _http() -> Iterator[str]:
    yield "A running server has the same at `/docs` to read, at `/swagger` to try, and at `/openapi.json` for"
    yield "programs. Every path that answers GET answers HEAD. Paths that give images may end with `.jpg`,"
    yield "`.png` or `.webp`; the extension wins over the `Accept` header. Images carry `ETag` and"
    yield "`Cache-Control`, and are revalidated with `If-None-Match`. The header `X-Image-Size-Safety`"
    yield "(SAFE_REJECT, SAFE_RESIZE, UNSAFE) says what happens when an output is too large. Errors are"
    yield "described in [errors](errors.md). `{filepath}` is the path of an image, `upload-<uuid>/<name>`:"
    yield "what `pims import` prints and the page at `/` links to; slashes may be written as they are or as"
    yield "%2F."
    yield ""
    description = _openapi()
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            yield from _operation(method.upper(), path, operation)
    yield "# Bodies"
    yield ""
    for name, schema in sorted(description["components"]["schemas"].items()):
        if "properties" in schema and name not in ("HTTPValidationError", "ValidationError"):
            yield from _schema(name, schema)


def _openapi() -> Mapping[str, Any]:
    composition = Composition(Settings.model_construct())  # the defaults, whatever the environment
    try:
        return documented_app(composition).openapi()
    finally:
        composition.close()


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"## {operation['summary']}"
    yield ""
    yield f"`{method} {path}`"
    yield ""
    if "description" in operation:
        yield " ".join(operation["description"].split())
        yield ""
    rows = [
        (_code(parameter["name"]), parameter["in"], _type(parameter["schema"]), _meaning(parameter))
        for parameter in operation.get("parameters", ())
        if parameter["name"] != "filepath"
    ]
    if rows:
        yield from _table(("Parameter", "In", "Type", "Meaning"), rows)
    bodies = {"Body": operation.get("requestBody", {}), "Answer": operation["responses"]["200"]}
    for what, body in bodies.items():
        schema = body.get("content", {}).get("application/json", {}).get("schema", {})
        if "$ref" in schema:
            yield f"{what}: {_type(schema)}."
            yield ""


def _meaning(parameter: Mapping[str, Any]) -> str:
    text = parameter.get("description", "")
    default = parameter["schema"].get("default", "")
    return f"{text} Default: `{default}`." if default not in ("", None) else text


def _schema(name: str, schema: Mapping[str, Any]) -> Iterator[str]:
    yield f"## {name}"
    yield ""
    if "description" in schema:
        yield " ".join(schema["description"].split())
        yield ""
    rows = (
        (_code(key), _type(member), member.get("description", ""))
        for key, member in schema["properties"].items()
    )
    yield from _table(("Member", "Type", "Meaning"), rows)


def _type(schema: Mapping[str, Any]) -> str:
    """In words: `integer or null`, `list of ChannelInfo`, `LEVEL or ZOOM`."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(option) for option in schema["anyOf"]))
    if "enum" in schema:
        return " or ".join(str(value) for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return str(schema.get("type", "any"))


if __name__ == "__main__":
    main()
