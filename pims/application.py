"""HTTP put around a composition."""

from __future__ import annotations

import asyncio
import gc
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi_offline import FastAPIOffline
from starlette.middleware.cors import CORSMiddleware

import pims
from pims.api.answer import ImageAnswerer, Threads
from pims.api.authorize import Authorizer, Gate, LoopbackAuthorizer, NetworkAuthorizer
from pims.api.boundary import Boundary
from pims.api.errors import install_handlers
from pims.api.fastpath import FastPath
from pims.api.metric_layout import Gauge
from pims.api.metrics import METRICS_DIRECTORY, Metrics
from pims.api.params.size import SizeLimits
from pims.api.readiness import Readiness
from pims.api.request_log import RequestLog
from pims.api.router import api_router
from pims.api.schemas.problem import ProblemBody
from pims.api.services import Services
from pims.composition import Composition
from pims.log import configure_logging
from pims.settings import Auth, Settings
from pims.tasks.parent import die_with_parent

__all__ = ["app_from_environment", "create_app", "documented_app"]

logger = logging.getLogger("pims.application")

DESCRIPTION = """\
Tiles, thumbnails, windows and metadata of microscopy images, whatever their format.

Errors are `application/problem+json`. Every path that answers GET answers HEAD.
"""
SAMPLE_SECONDS = 1.0
"""How old what other processes know of this one may be."""
OPEN_PATHS = ("/ping", "/health/live", "/health/ready")
"""Answered without credentials."""
END_SECONDS = 2.0
"""How long renders may still run after the last request was answered or given up."""
PUBLIC_SETTINGS = (
    "api_base_path",
    "auth",
    "conversion_jpeg_quality",
    "conversion_lossless",
    "default_image_size_safety_mode",
    "image_response_cache_control_max_age",
    "max_decode_pixels",
    "output_size_ceiling",
    "output_size_limit",
)
"""What /info tells: no secret, no path, no address. A new setting is not told before it stands here."""
REQUEST_HEADERS = (
    "Authorization",
    "If-None-Match",
    "X-Annotation-Origin",
    "X-Image-Size-Safety",
    "X-Request-ID",
)
RESPONSE_HEADERS = ("ETag", "X-Image-Size-Limit", "X-Pims-Cache", "X-Request-ID")


def create_app(
    composition: Composition, *, owns_process: bool = False, metrics: Metrics | None = None
) -> FastPath:
    """The application that answers for `composition`, and closes it when it shuts down.

    The fast path is around everything else: what a framework does for every request costs as much as a tile.
    `owns_process` says that the process is there for it alone: it ends soon after the application did,
    whatever is still being rendered. What is counted goes to `metrics`.
    """
    app = documented_app(composition, owns_process=owns_process, metrics=metrics)
    services: Services = app.state.services
    return FastPath(
        app,
        services.answerer,
        services.size_limits,
        services.base_path,
        varies_by_origin=bool(composition.settings.cors_origins),
    )


def documented_app(
    composition: Composition, *, owns_process: bool = False, metrics: Metrics | None = None
) -> FastAPI:
    """Every route, without the fast path; `app.state` has what the routes work with."""
    settings = composition.settings
    base = settings.api_base_path
    app: FastAPI = FastAPIOffline(
        title="PIMS",
        version=pims.__version__,
        description=DESCRIPTION,
        docs_url=f"{base}/swagger",
        redoc_url=f"{base}/docs",
        openapi_url=f"{base}/openapi.json",
        static_url=f"{base}/static-offline-docs",
        swagger_ui_oauth2_redirect_url=f"{base}/swagger/oauth2-redirect",
        redirect_slashes=False,
        lifespan=_lifespan(composition, owns_process=owns_process),
    )
    app.state.metrics = metrics or Metrics()
    app.state.readiness = Readiness(settings.root.absolute(), lambda: _renders(composition))
    _watch(app.state.metrics, composition)
    app.state.services = _services(composition, _authorizer(settings), app.state.metrics)
    app.include_router(api_router(base))
    _publish_openapi(app, base)
    install_handlers(app)
    _add_middleware(app, settings)
    return app


def app_from_environment() -> FastPath:
    """The application configured by the environment, for the server. Raises ConfigurationError.

    A server process among several ends with the one that started it, even when that one is killed. They
    count together in the directory that the first one made.
    """
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None:
        die_with_parent(parent.pid)
    settings = Settings.load()
    configure_logging(settings.log_config_file, debug=settings.debug)
    return create_app(Composition(settings), owns_process=True, metrics=_shared_metrics())


def _shared_metrics() -> Metrics:
    directory = os.environ.get(METRICS_DIRECTORY)
    try:
        return Metrics(Path(directory) if directory else None)
    except OSError as error:
        logger.warning("this process counts for itself, not with the others: %s", error.strerror)
        return Metrics()


def _watch(metrics: Metrics, composition: Composition) -> None:
    threads = (composition.render_threads, composition.large_render_threads)
    metrics.watch(Gauge.IMAGES_OPEN, lambda: len(composition.pool))
    metrics.watch(Gauge.RENDERS_WAITING, lambda: sum(some.waiting for some in threads))


def _renders(composition: Composition) -> bool:
    """Whether every render thread that was started lives."""
    threads = (composition.render_threads, composition.large_render_threads)
    return all(some.is_working for some in threads)


def _services(composition: Composition, authorizer: Authorizer, metrics: Metrics) -> Services:
    settings = composition.settings
    return Services(
        registry=composition.registry,
        opener=composition.opener,
        pool=composition.pool,
        authorizer=authorizer,
        answerer=ImageAnswerer(
            composition.pool,
            authorizer,
            Threads(composition.render_threads, composition.large_render_threads),
            max_age=settings.image_response_cache_control_max_age,
            cache_bytes=settings.response_cache_bytes,
            metrics=metrics,
        ),
        size_limits=SizeLimits(
            settings.output_size_limit,
            settings.output_size_ceiling,
            settings.default_image_size_safety_mode,
        ),
        base_path=settings.api_base_path,
        max_age=settings.image_response_cache_control_max_age,
        version=pims.__version__,
        settings=_public_settings(settings),
    )


def _authorizer(settings: Settings) -> Authorizer:
    if settings.auth is Auth.OFF:
        return LoopbackAuthorizer(settings.allowed_hosts)
    secret = settings.auth_secret.get_secret_value() if settings.auth_secret else None
    return NetworkAuthorizer(settings.auth_networks, secret)


def _public_settings(settings: Settings) -> dict[str, Any]:
    """What anyone who may ask may know."""
    return settings.model_dump(mode="json", include=set(PUBLIC_SETTINGS))


def _publish_openapi(app: FastAPI, base: str) -> None:
    """The description lists the body of errors, and is also where clients look for it without a prefix."""

    def description() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes
            )
            definition = ProblemBody.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas = schema.setdefault("components", {}).setdefault("schemas", {})
            schemas.update(definition.pop("$defs"))
            schemas["ProblemBody"] = definition
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = description  # type: ignore[method-assign]
    if base:
        app.add_api_route("/openapi.json", description, include_in_schema=False)


def _add_middleware(app: FastAPI, settings: Settings) -> None:
    """From the inside out: access, CORS, whose preflights bring no credentials, the boundary, the log."""
    services: Services = app.state.services
    open_paths = [f"{settings.api_base_path}{path}" for path in OPEN_PATHS]
    app.add_middleware(Gate, authorizer=services.authorizer, open_paths=open_paths)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=("GET", "HEAD", "POST"),
            allow_headers=REQUEST_HEADERS,
            expose_headers=RESPONSE_HEADERS,
        )
    app.add_middleware(Boundary)
    app.add_middleware(RequestLog, metrics=app.state.metrics)


def _lifespan(composition: Composition, *, owns_process: bool) -> Any:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # What was loaded until now stays until the end: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        if owns_process:
            _drain_on_sigterm(app.state.readiness)
        sampling = asyncio.create_task(_sample(app.state.metrics))
        try:
            yield
        finally:
            sampling.cancel()
            if owns_process:
                _end_soon()
            composition.close(wait=not owns_process)

    return lifespan


async def _sample(metrics: Metrics) -> None:
    """Keep what other processes can see of this one up to date."""
    while True:
        metrics.sample()
        await asyncio.sleep(SAMPLE_SECONDS)


def _drain_on_sigterm(readiness: Readiness) -> None:
    """Say that no more requests are wanted, before the server does with the signal what it always did."""
    if threading.current_thread() is not threading.main_thread():
        return
    before = signal.getsignal(signal.SIGTERM)

    def on_sigterm(number: int, frame: FrameType | None) -> None:
        readiness.drain()
        if callable(before):
            before(number, frame)

    signal.signal(signal.SIGTERM, on_sigterm)


def _end_soon() -> None:
    """See that the process ends: a decoder at work can't be interrupted, and nobody waits for it any more."""
    timer = threading.Timer(END_SECONDS, os._exit, (0,))
    timer.daemon = True
    timer.start()
