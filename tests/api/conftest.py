"""A small ROOT written by hand, and a client that talks to the application as a server would."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import numpy as np
import pytest
import tifffile

from pims.application import create_app
from pims.composition import Composition
from pims.files.layout import UploadDirectory
from pims.files.manifest import Manifest, Origin
from pims.model.metadata import AssociatedImage, Channel, ImageMetadata, Objective
from pims.settings import Settings

UUID = "11111111-2222-3333-4444-555555555555"

METADATA = ImageMetadata(
    width=600,
    height=400,
    pixel_type="uint8",
    significant_bits=8,
    n_samples=3,
    channels=(
        Channel(0, "R", "#ff0000", 620.0, 590.0),
        Channel(1, "G", "#00ff00"),
        Channel(2, "B", "#1234ff"),
    ),
    brightfield=True,
    physical_size_x_um=0.49912345678,
    physical_size_y_um=0.5,
    acquired_at=datetime(2024, 2, 29, 12, 30, tzinfo=UTC),
    description="a slide",
    microscope_model="Scope 1",
    objective=Objective(20.0, 20.1),
    associated=(AssociatedImage("label", 30, 40, 3),),
)


class Client:
    """Requests answered by an application, without a socket; redirects are not followed."""

    def __init__(self, app: Any, client: tuple[str, int] = ("127.0.0.1", 40000)) -> None:
        self.app = app
        self.client = client

    def request(self, method: str, url: str, **given: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, client=self.client)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost:5000") as client:
                return await client.request(method, url, **given)

        answer = asyncio.run(send())
        if "x-request-id" not in answer.request.headers:
            answer.headers.pop("x-request-id", None)  # made by chance: no two answers would be the same
        return answer

    def get_raw(self, path: str) -> httpx.Response:
        """GET a path as it is written: httpx would resolve its dots before sending it."""

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await self.app({**scope, "path": unquote(path), "raw_path": path.encode()}, receive, send)

        return Client(app, self.client).get("/")

    def get(self, url: str, **given: Any) -> httpx.Response:
        return self.request("GET", url, **given)

    def head(self, url: str, **given: Any) -> httpx.Response:
        return self.request("HEAD", url, **given)


MakeUpload = Callable[..., str]
MakeClient = Callable[..., Client]


def write_upload(
    root: Path,
    uuid: str = UUID,
    name: str = "slide.tif",
    origin: str = "My slide.tif",
    changed_at: int = 0,
    **kept: Any,
) -> str:
    """Write an upload under `root` as an import would have; gives its filepath."""
    directory = UploadDirectory(root / f"upload-{uuid}")
    directory.processed.mkdir(parents=True)
    file = directory.path / name
    with tifffile.TiffWriter(file) as tiff:
        for level, (height, width) in enumerate(((400, 600), (200, 300))):
            pixels = np.full((height, width, 3), 50 * level, np.uint8)
            tiff.write(pixels, tile=(256, 256), photometric="rgb", subfiletype=min(level, 1))
    directory.original("PYRTIFF").symlink_to(f"../{name}")
    directory.spatial("PYRTIFF").symlink_to("original.PYRTIFF")
    content = file.read_bytes()
    manifest = Manifest(
        uuid=uuid,
        file_name=name,
        origin=Origin(origin, len(content), hashlib.sha256(content).hexdigest()),
        original_format="PYRTIFF",
        spatial_format="PYRTIFF",
        **{"metadata": METADATA.as_dict(), **kept},
    )
    manifest.write(directory.manifest)
    if changed_at:
        os.utime(directory.manifest, (changed_at, changed_at))
    return f"{directory.path.name}/{name}"


@contextmanager
def clients(root: Path) -> Iterator[MakeClient]:
    """Makes applications over `root`; keywords are settings, but the client's address."""
    with ExitStack() as opened:

        def make(
            client: tuple[str, int] = ("127.0.0.1", 40000),
            **settings: Any,
        ) -> Client:
            composition = Composition(Settings.load({}, root=root, **settings))
            opened.callback(composition.close)
            return Client(create_app(composition), client)

        yield make


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    path.mkdir()
    return path


@pytest.fixture
def make_upload(root: Path) -> MakeUpload:
    return partial(write_upload, root)


@pytest.fixture
def slide(make_upload: MakeUpload) -> str:
    """The filepath of one image."""
    return make_upload()


@pytest.fixture
def make_client(root: Path) -> Iterator[MakeClient]:
    with clients(root) as make:
        yield make


@pytest.fixture
def client(make_client: MakeClient) -> Client:
    return make_client()


@pytest.fixture(scope="session")
def shared_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with one image, for tests that change nothing."""
    return tmp_path_factory.mktemp("shared-root")


@pytest.fixture(scope="session")
def shared_slide(shared_root: Path) -> str:
    return write_upload(shared_root)


@pytest.fixture(scope="session")
def make_shared_client(shared_root: Path) -> Iterator[MakeClient]:
    """As make_client, over the shared root: the same keywords give the same application."""
    with clients(shared_root) as make:
        yield cache(make)


@pytest.fixture(scope="session")
def shared_client(make_shared_client: MakeClient) -> Client:
    return make_shared_client()
