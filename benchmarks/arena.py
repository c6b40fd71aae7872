"""The servers and slides of one run: what a comparison needs is prepared when it first asks for it."""

from __future__ import annotations

import http.client
import importlib.util
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType

from benchmarks.load import LoadGenerator
from benchmarks.servers import (
    HOST,
    WORKERS,
    Server,
    free_port,
    pims_command,
    pims_environment,
    running,
    uvicorn_command,
)
from benchmarks.slides import BenchSlide, demonstration_slide, svs_slide
from benchmarks.yardsticks import Recorded, write_answers

__all__ = ["Arena"]

ADDED_BY_UVICORN = {"date", "server"}


class Arena:
    """A context manager; leaving it ends every server."""

    def __init__(self, folder: Path, *, long: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.long = long
        """Whether there is time."""
        self._stack = ExitStack()

    def __enter__(self) -> Arena:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    @cached_property
    def load(self) -> LoadGenerator:
        return LoadGenerator(self.folder)

    @cached_property
    def slide(self) -> BenchSlide:
        return demonstration_slide(self.folder)

    @cached_property
    def svs(self) -> BenchSlide | None:
        """None without the folder of samples."""
        return svs_slide(self.folder)

    @cached_property
    def stored_urls(self) -> list[str]:
        """Every tile that is stored as it is sent, of both slides."""
        slides = [self.slide, *filter(None, [self.svs])]
        return [slide.tile_url(*tile) for slide in slides for tile in slide.tiles()]

    @cached_property
    def ours(self) -> Server:
        """This server: `pims serve`."""
        return self.pims("pims", WORKERS)

    @cached_property
    def one_process(self) -> Server:
        """This server with one process, so that all requests share its decoded tiles; no answer is kept."""
        return self.pims("pims-one", 1, RESPONSE_CACHE_BYTES="0")

    @cached_property
    def forgetful(self) -> Server:
        """This server without caches of answers and decoded tiles."""
        return self.pims("pims-forgetful", WORKERS, RESPONSE_CACHE_BYTES="0", TILE_CACHE_BYTES="0")

    def pims(self, name: str, workers: int, **settings: str) -> Server:
        """This server once more, with settings."""
        port = free_port()
        command = pims_command("serve", "--workers", str(workers), "--host", HOST, "--port", str(port))
        return self._started(name, command, port, self.slide.tile_url(0, 0), settings)

    def bare(self, factory: str, slide: BenchSlide, workers: int = WORKERS) -> Server:
        """A bare application of benchmarks/yardsticks.py for a slide."""
        port = free_port()
        command = uvicorn_command(f"benchmarks.yardsticks:{factory}", port, workers)
        return self._started(
            f"{factory}-{slide.file.stem}", command, port, "/0/0", {"BENCH_SLIDE": str(slide.file)}
        )

    @cached_property
    def recorded(self) -> Server:
        """A bare application that gives our answers to all stored tiles from memory."""
        write_answers(self.folder, self._answers())
        return self._yardstick("recorded", self.stored_urls[0], BENCH_ANSWERS=str(self.folder))

    @cached_property
    def codec(self) -> Server:
        """A bare application that decodes and encodes."""
        return self._yardstick("codec", "/0/0", BENCH_SLIDE=str(self.slide.file))

    @cached_property
    def deepzoom(self) -> Server | None:
        """A bare application around openslide-python; None when it is not installed."""
        if importlib.util.find_spec("openslide") is None:
            return None
        return self._yardstick("deepzoom", "/0/0", BENCH_SLIDE=str(self.slide.file))

    def _yardstick(self, factory: str, probe: str, **environment: str) -> Server:
        port = free_port()
        command = uvicorn_command(f"benchmarks.yardsticks:{factory}", port)
        return self._started(factory, command, port, probe, environment)

    def _started(self, name: str, command: list[str], port: int, probe: str, more: dict[str, str]) -> Server:
        environment = {**pims_environment(self.folder / "root"), **more}
        server = running(name, command, port, probe=probe, folder=self.folder, environment=environment)
        return self._stack.enter_context(server)

    def _answers(self) -> Recorded:
        """Our own answers to all stored tiles. RuntimeError when one is not 200."""
        answers: Recorded = {}
        connection = http.client.HTTPConnection(HOST, self.ours.port, timeout=10)
        for url in self.stored_urls:
            connection.request("GET", url)
            response = connection.getresponse()
            body = response.read()
            if response.status != 200:
                raise RuntimeError(f"this server answers {response.status} to {url}")
            headers = [(name.lower(), value) for name, value in response.getheaders()]
            answers[url] = (
                [(n.encode(), v.encode()) for n, v in headers if n not in ADDED_BY_UVICORN],
                body,
            )
        connection.close()
        return answers
