"""The page at /: the images of this server, newest first. Plain HTML, no scripts."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from html import escape
from importlib.resources import files
from string import Template
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query
from starlette.responses import HTMLResponse

from pims.api.services import Services, ServicesDependency
from pims.files.layout import PREFIX
from pims.files.manifest import Manifest
from pims.model.metadata import ImageMetadata

__all__ = ["PAGE_SIZE", "router"]

PAGE_SIZE = 60
THUMB = 256
"""Longest side of a thumbnail on the page, in pixels."""
LARGE_THUMB = 1024

CARD = Template("""\
<li class="card">
<a class="picture" href="$url/thumb.jpg?length=$large"><img src="$url/thumb.jpg?length=$thumb" alt="" \
loading="lazy" decoding="async"></a>
<div class="text">
<h2>$name</h2>
$facts
<nav aria-label="$name"><a href="$url/info">Info</a> \
<a href="$url/thumb.jpg?length=$large">Thumbnail</a> \
<a href="$url/normalized-tile/zoom/0/tx/0/ty/0.jpg">Tile</a></nav>
</div>
</li>""")

EMPTY = """\
<div class="empty">
<h2>No images yet</h2>
<p>Import a file, or every file of a folder, then reload this page:</p>
<pre>python pims/importer/import_local_images.py --path FILE_OR_FOLDER</pre>
</div>"""

router = APIRouter(include_in_schema=False)


@router.get("/", response_class=HTMLResponse)
def home(services: ServicesDependency, page: Annotated[int, Query(ge=1, le=1_000_000)] = 1) -> HTMLResponse:
    """One page of images; past the last, the last."""
    uploads = services.opener.list_uploads()
    last = max(1, -(-len(uploads) // PAGE_SIZE))
    page = min(page, last)
    shown = uploads[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]
    html = _template().substitute(
        style=_style(),
        base=escape(services.base_path),
        version=escape(services.version),
        summary=f"{len(uploads)} image{'' if len(uploads) == 1 else 's'}",
        content=_grid(services, shown) if shown else EMPTY,
        pages=_pages(services.base_path, page, last),
    )
    return HTMLResponse(html, headers={"content-security-policy": _policy(), "cache-control": "no-cache"})


def _grid(services: Services, uploads: Sequence[Manifest]) -> str:
    cards = "\n".join(_card(services, manifest) for manifest in uploads)
    return f'<ul class="grid">\n{cards}\n</ul>'


def _card(services: Services, manifest: Manifest) -> str:
    path = quote(f"{PREFIX}{manifest.uuid}/{manifest.file_name}", errors="replace")
    facts = "\n".join(f"<p>{escape(fact)}</p>" for fact in _facts(manifest))
    return CARD.substitute(
        url=escape(f"{services.base_path}/image/{path}"),
        name=escape(manifest.origin.name or manifest.file_name),
        facts=facts,
        thumb=THUMB,
        large=LARGE_THUMB,
    )


def _facts(manifest: Manifest) -> list[str]:
    """Lines under the name. A manifest that another server wrote badly must not hide the other images."""
    try:
        metadata = ImageMetadata.from_dict(manifest.metadata)
        return [_size(metadata, manifest.original_format), *_optics(metadata)]
    except (TypeError, ValueError, KeyError, AttributeError):
        return [f"{manifest.original_format} · its metadata can't be read"]


def _size(metadata: ImageMetadata, original_format: str) -> str:
    parts = [f"{metadata.width:,} x {metadata.height:,} px".replace(",", "\N{NARROW NO-BREAK SPACE}")]
    if metadata.n_concrete_channels > 1:
        parts.append(f"{metadata.n_concrete_channels} channels")
    if metadata.depth > 1:
        parts.append(f"{metadata.depth} focal planes")
    if metadata.duration > 1:
        parts.append(f"{metadata.duration} time points")
    return " · ".join([*parts, original_format])


def _optics(metadata: ImageMetadata) -> list[str]:
    parts = []
    magnification = metadata.objective.nominal_magnification or metadata.objective.calibrated_magnification
    if magnification is not None:
        parts.append(f"{magnification:g}x")
    if metadata.physical_size_x_um is not None:
        parts.append(f"{metadata.physical_size_x_um:.4g} µm/px")
    return [" · ".join(parts)] if parts else []


def _pages(base: str, page: int, last: int) -> str:
    if last == 1:
        return ""
    links = [f"<span>Page {page} of {last}</span>"]
    if page > 1:
        links.insert(0, f'<a rel="prev" href="{escape(base)}/?page={page - 1}">Newer</a>')
    if page < last:
        links.append(f'<a rel="next" href="{escape(base)}/?page={page + 1}">Older</a>')
    return f'<nav class="pages" aria-label="Pages">{"".join(links)}</nav>'


@lru_cache(maxsize=1)
def _template() -> Template:
    return Template(files(__package__).joinpath("home.html").read_text("utf-8"))


@lru_cache(maxsize=1)
def _style() -> str:
    return files(__package__).joinpath("home.css").read_text("utf-8")


@lru_cache(maxsize=1)
def _policy() -> str:
    """Content-Security-Policy: pictures of this server and this very style sheet, nothing else."""
    digest = b64encode(sha256(_style().encode()).digest()).decode()
    return (
        f"default-src 'none'; img-src 'self'; style-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
