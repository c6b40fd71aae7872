"""The command line: parses, calls, prints.

Exit codes: 0 all good, 1 something failed, 2 wrong usage or configuration (one line on standard error).
"""

from __future__ import annotations

import argparse
import errno
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from types import FrameType
from typing import NoReturn

from pims.check import UploadsCheck, check_installation, check_uploads
from pims.composition import import_limits, import_options
from pims.errors import ConfigurationError, PimsError
from pims.files.claim import Claim, make_parent
from pims.files.layout import upload_names
from pims.formats.facts import FormatFacts
from pims.formats.registry import discover_formats
from pims.importer.events import ImportResult, ImportStatus, ImportStep, StdoutListener, printable
from pims.importer.failure import explain
from pims.importer.progress import ProgressLine
from pims.log import configure_logging
from pims.settings import Settings, without_effect
from pims.tasks.local import ImportProcesses
from pims.tasks.parent import die_with_parent

__all__ = ["command_line", "main"]

OK, FAILED, USAGE = 0, 1, 2
GRACE_SECONDS = 3
"""How long the server waits for its last answers when it is asked to end."""
LOG_LINE = "%(levelname)s %(name)s: %(message)s"
VERBOSE_FILES = 10
"""With more files than this, only results are printed."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    given = command_line().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format=LOG_LINE)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, _on_sigterm)  # every `finally` and `with` is run
    try:
        return int(given.command(given))
    except ConfigurationError as error:
        return _wrong(str(error))
    except PimsError as error:
        print(f"pims: {printable(str(error))}", file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nobody reads: the last flush must not complain
        return FAILED
    except KeyboardInterrupt:
        print("pims: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT


def _on_sigterm(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _wrong(sentence: str) -> int:
    print(f"pims: {printable(sentence)}", file=sys.stderr)
    return USAGE


def command_line() -> argparse.ArgumentParser:
    """The commands and their arguments."""
    parser = argparse.ArgumentParser(prog="pims", description="Image management server for microscopy.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    serve = commands.add_parser("serve", help="start the server")
    serve.add_argument("--host", help="address to listen on (HOST)")
    serve.add_argument("--port", type=int, help="port to listen on (PORT)")
    serve.add_argument("--workers", type=int, help="server processes (WORKERS)")
    serve.add_argument("--images", metavar="PATH", help="a file or folder to import meanwhile")
    serve.add_argument("--demo", action="store_true", help="import a demonstration slide if there is none")
    serve.set_defaults(command=_serve)

    imports = commands.add_parser("import", help="import files and folders")
    imports.add_argument("paths", nargs="+", metavar="PATH", help="a file or a folder")
    imports.add_argument("--json", action="store_true", help="print one JSON object a line for every file")
    imports.set_defaults(command=_import)

    formats = commands.add_parser("formats", help="list the formats this server reads")
    formats.add_argument("--json", action="store_true", help="print a JSON list")
    formats.set_defaults(command=_formats)

    check = commands.add_parser(
        "check", help="say whether settings, directories, libraries and uploads are in order"
    )
    check.add_argument("path", nargs="?", metavar="ROOT", help="look at the uploads of this folder only")
    check.add_argument("--digests", action="store_true", help="read all files and compare their digests")
    check.add_argument("--repair", action="store_true", help="repair what can be; no original is touched")
    check.set_defaults(command=_check)

    demo = commands.add_parser("demo", help="make a demonstration slide")
    demo.add_argument("--import", action="store_true", dest="imports", help="import it instead of keeping it")
    demo.add_argument("--output", type=Path, metavar="PATH", help="where it is written (demonstration.tiff)")
    demo.add_argument("--size", type=int, default=20_000, metavar="PX", help="its width and height (20000)")
    demo.set_defaults(command=_demo)
    return parser


# pims import ------------------------------------------------------------------------------------------


def _import(given: argparse.Namespace) -> int:
    missing = [path for path in given.paths if not path or not os.path.lexists(path)]
    if missing:
        return _wrong(f"there is no file or folder {missing[0]!r}")
    given.paths = [Path(path) for path in given.paths]
    settings = Settings.load()
    own = {settings.root.resolve(), settings.pending_path.resolve()}
    for path in given.paths:
        resolved = path.resolve()
        if path.is_dir() and own & {resolved, *resolved.parents}:
            return _wrong(f"{path} is where this server keeps its images; import from another folder")
    unlisted: list[OSError] = []
    sources = [source for path in given.paths for source in _files_of(path, own, unlisted.append)]
    return _import_files(settings, sources, map(_not_listed, unlisted), as_json=given.json)


def _files_of(path: Path, own: Container[Path], on_error: Callable[[OSError], None]) -> Iterator[Path]:
    """The file itself, or the files of a folder: sorted, no hidden ones, links to folders not followed.

    Parameters
    ----------
    own : folders to leave out, which are this server's; absolute, without links
    on_error : told of folders that can't be listed
    """
    if not path.is_dir():
        yield path
        return
    resolved = path.resolve()
    for folder, subfolders, names in os.walk(path, onerror=on_error):
        here = resolved / Path(folder).relative_to(path)
        subfolders[:] = sorted(
            name for name in subfolders if not name.startswith(".") and here / name not in own
        )
        yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))


def _not_listed(error: OSError) -> ImportResult:
    """A folder whose files can't be known."""
    step = ImportStep.EXTRACTING_DATA
    status, sentence = explain(error, step)
    return ImportResult(os.fsdecode(error.filename), None, None, status, step, sentence)


def _import_files(
    settings: Settings, sources: list[Path], failures: Iterable[ImportResult] = (), *, as_json: bool
) -> int:
    """Import the files and print how each ended, after the failures that are known before."""
    stream = sys.stderr if as_json else sys.stdout
    line_of_progress = ProgressLine(stream) if stream.isatty() else None
    told = StdoutListener(stream) if len(sources) <= VERBOSE_FILES else None
    failed_before = list(failures)
    results: list[ImportResult] = []
    limits, listener = import_limits(settings), line_of_progress or told
    with ImportProcesses(import_options(settings), limits, listener=listener) as processes:
        for result in chain(failed_before, processes.run(sources)):
            results.append(result)
            counted = f"[{len(results)}/{len(failed_before) + len(sources)}]"
            line = json.dumps(result.as_dict()) if as_json else f"{counted} {_told(result)}"
            if line_of_progress is not None:
                line_of_progress.ended(result.source)
                line_of_progress.clear()
            print(line, flush=True)
    if not as_json:
        imported = sum(result.status is ImportStatus.DEPLOYED for result in results)
        skipped = sum(result.status is ImportStatus.SKIPPED for result in results)
        failed = len(results) - imported - skipped
        print(f"{imported} imported, {skipped} skipped, {failed} failed")
    return OK if all(result.status.is_good for result in results) else FAILED


def _told(result: ImportResult) -> str:
    """One line for people."""
    if result.status is ImportStatus.DEPLOYED:
        text = f"imported as {result.format}: {result.path}"
    elif result.status is ImportStatus.SKIPPED:
        text = f"was imported already: {result.path}"
    else:
        during = result.step.words
        known = during in str(result.error)
        text = f"{result.status}{'' if known else f' during {during}'}: {result.error}"
    warnings = "".join(f" (warning: {warning})" for warning in result.warnings)
    return printable(f"{result.source}: {text}{warnings}")


# pims demo --------------------------------------------------------------------------------------------


def _demo(given: argparse.Namespace) -> int:
    from pims.testing.slides import write_demonstration_slide

    if given.size < 1:
        return _wrong("--size: at least 1")

    def make(path: Path) -> None:
        print(f"writing a slide of {given.size} x {given.size} px", flush=True)
        write_demonstration_slide(path, given.size, given.size)

    if not given.imports or given.output is not None:
        output: Path = given.output or Path("demonstration.tiff")
        if output.exists():
            return _wrong(f"--output: {output} exists already")
        make(output)
        print(f"written: {output}")
        return _import_files(Settings.load(), [output], as_json=False) if given.imports else OK
    settings = Settings.load()
    make_parent(settings.pending_path)
    private = Claim(settings.pending_path / f"demo-{uuid.uuid4()}")
    try:
        slide = private.path / "demonstration.tiff"
        make(slide)
        return _import_files(settings, [slide], as_json=False)
    finally:
        private.remove()


# pims formats -----------------------------------------------------------------------------------------


def _formats(given: argparse.Namespace) -> int:
    registry = discover_formats()
    formats = [FormatFacts.of(fmt) for fmt in registry]
    if given.json:
        print(json.dumps([facts.as_dict() for facts in formats], indent=1))
    else:
        for facts in formats:
            print(f"{facts.id:<12} {facts.conversion:<7} {facts.name} ({facts.plugin})")
    for failure in registry.failures:
        print(f"{failure.package} could not be loaded: {failure.reason}", file=sys.stderr)
    return OK


# pims check -------------------------------------------------------------------------------------------


def _check(given: argparse.Namespace) -> int:
    if given.path is not None and not (given.path and Path(given.path).is_dir()):
        return _wrong(f"there is no folder {given.path!r}")
    settings = Settings.load()
    wrong = [] if given.path else check_installation(settings, print)
    root = Path(given.path) if given.path else settings.root
    if root.is_dir():
        how = UploadsCheck(digests=given.digests, repair=given.repair)
        wrong += check_uploads(root, settings, how, lambda line: print(printable(line), flush=True))
    for sentence in wrong:
        print(f"WRONG: {printable(sentence)}")
    print("something is wrong" if wrong else "everything is in order")
    return FAILED if wrong else OK


# pims serve -------------------------------------------------------------------------------------------


def _serve(given: argparse.Namespace) -> int:
    settings = Settings.load(host=given.host, port=given.port, workers=given.workers)
    if given.images is not None and not (given.images and Path(given.images).exists()):
        return _wrong(f"--images: there is no file or folder {given.images!r}")
    if not _is_folder(settings.root):
        return _wrong(f"ROOT: {settings.root} is no folder and can't be made")
    configure_logging(settings.log_config_file, debug=settings.debug)
    for sentence in without_effect():
        print(sentence, file=sys.stderr)
    port = _free_port(settings.host, settings.port)
    # The server processes read the settings again, from the environment.
    _put_into_environment(HOST=settings.host, PORT=port, WORKERS=settings.workers)
    with _beside(_commands_beside(given, settings)):
        _run_server(settings, port)
    return OK


def _is_folder(path: Path) -> bool:
    """Whether it is one; it is made if need be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError):
        return False
    return True


def _run_server(settings: Settings, port: int) -> None:
    from pims.api.metrics import METRICS_DIRECTORY
    from pims.api.processes import counting_directory, run_processes

    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    address = f"http://{host}:{port}{settings.api_base_path}"
    print(f"PIMS: {address}/   API documentation: {address}/docs", flush=True)
    with counting_directory() as directory:
        _put_into_environment(**{METRICS_DIRECTORY: directory or ""})
        run_processes(
            "pims.application:app_from_environment",
            host=settings.host,
            port=port,
            workers=settings.workers,
            loop="uvloop",
            http="pims.api.http_protocol:BoundedHttpProtocol",
            ws="none",
            proxy_headers=False,  # X-Forwarded-For is anybody's word, and addresses decide who may ask
            timeout_graceful_shutdown=GRACE_SECONDS,
            server_header=False,
            access_log=False,
            log_config=None,
        )


def _free_port(host: str, port: int) -> int:
    """The port, or a free one for 0. Raises ConfigurationError when another listens there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
                raise ConfigurationError(f"HOST: {host} is no address of this machine") from error
            raise ConfigurationError(
                f"PORT: can't listen on {host} port {port}: {error.strerror}; choose another with --port"
            ) from error
        return int(probe.getsockname()[1])


def _put_into_environment(**settings: object) -> None:
    for name, value in settings.items():
        for other in [known for known in os.environ if known.upper() == name]:
            del os.environ[other]
        os.environ[name] = str(value)


def _commands_beside(given: argparse.Namespace, settings: Settings) -> list[list[str]]:
    pims = [sys.executable, "-m", "pims.cli"]
    commands = []
    if given.images is not None:
        commands.append([*pims, "import", "--", str(given.images)])
    if given.demo and not upload_names(settings.root):
        commands.append([*pims, "demo", "--import"])
    return commands


@contextmanager
def _beside(commands: list[list[str]]) -> Iterator[None]:
    """Processes that run while the block does, in a group of their own: Ctrl-C reaches them through us."""
    processes: list[subprocess.Popen[bytes]] = []
    bound = partial(die_with_parent, os.getpid())
    try:
        for command in commands:
            # No thread runs yet, so that preexec_fn is safe.
            process = subprocess.Popen(
                command,
                process_group=0,
                stdin=subprocess.DEVNULL,
                preexec_fn=bound,  # noqa: PLW1509
            )
            processes.append(process)
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


if __name__ == "__main__":
    sys.exit(main())
