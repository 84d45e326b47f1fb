"""The Flask application of the local worker."""

import logging
import secrets
from pathlib import Path
from typing import Mapping, Optional, Tuple

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from devaria.worker.api import admin as routes_admin
from devaria.worker.api import figures as figure_routes
from devaria.worker.api import jobs as routes_jobs
from devaria.worker.api import runner as routes_runner
from devaria.worker.api.rate_limit import RateLimiter
from devaria.worker.api.web import EXTENSION, Refusal, Services, answer
from devaria.worker.dashboard import pages as dashboard
from devaria.worker.dashboard.job_forms import ParamForm
from devaria.worker.dashboard.views import visible
from devaria.worker.keys import WorkerKeys
from devaria.worker.store.database import Clock, Database
from devaria.worker.store.figures import FigureStore, UrlSigner
from devaria.worker.store.jobs import JobStore
from devaria.worker.store.runners import RunnerStore

_log = logging.getLogger(__name__)

_HEALTH_PATHS = ("/", "/health")
_HEALTH = {"status": "ok", "service": "devaria-worker"}
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "Content-Type, Authorization, X-Runner-ID",
}


def create_app(
    data_dir: Path,
    keys: WorkerKeys,
    *,
    rate_limit: bool,
    clock: Clock,
    requeue_after_ms: int,
    job_forms: Mapping[str, Mapping[str, ParamForm]],
) -> Tuple[Flask, Database]:
    """Build the application over a data directory.

    Args:
        data_dir: Holds the database and the figures; created if it is needed.
        keys: The API keys.
        rate_limit: Whether the contract's rate limits apply.
        clock: Gives the time in epoch milliseconds.
        requeue_after_ms: How long the runner of a job may be silent; 0 for ever.
        job_forms: The declared parameters of job types, by name, for the dashboard.

    Returns:
        The application, and the database for the caller to close.

    Raises:
        OSError: The data directory cannot be written.
        sqlite3.Error: The database cannot be opened.
    """
    figures = FigureStore(data_dir / "figures", clock)
    database = Database(data_dir / "jobs.sqlite3")
    # No folders of its own: they would be the ones in whatever directory the worker was started.
    app = Flask("devaria-worker", static_folder=None, template_folder=None)
    app.jinja_env.finalize = visible  # whatever a page shows, without exception
    app.extensions[EXTENSION] = Services(
        keys=keys,
        jobs=JobStore(database, clock, requeue_after_ms),
        runners=RunnerStore(database, clock),
        figures=figures,
        signer=UrlSigner(secrets.token_bytes(32), clock),
        limiter=RateLimiter(clock) if rate_limit else None,
        clock=clock,
        job_forms=job_forms,
    )
    app.url_map.merge_slashes = False  # a doubled slash is an unknown path, not a redirect
    for routes in (routes_runner, routes_jobs, routes_admin, figure_routes, dashboard):
        app.register_blueprint(routes.blueprint)
    app.before_request(_before_routing)
    app.after_request(_add_headers)
    app.register_error_handler(Exception, _answer_error)
    return app, database


def _before_routing() -> Optional[Response]:
    """Answer what depends on no route: health by any method, and OPTIONS on any path."""
    if request.path in _HEALTH_PATHS:
        return answer(**_HEALTH)
    if request.method == "OPTIONS":
        return Response(status=204)
    if request.method == "HEAD" and request.path.startswith("/api/"):
        # Flask would answer HEAD wherever there is a GET; the worker knows no such method.
        raise NotFound
    return None


def _add_headers(response: Response) -> Response:
    # What is served comes from strangers: a browser must not take a file for a page or a script
    # because it looks like one.
    response.headers["X-Content-Type-Options"] = "nosniff"
    # The dashboard's pages are for no other origin.
    if request.path not in _HEALTH_PATHS and request.blueprint != dashboard.blueprint.name:
        response.headers.update(_CORS)
    return response


def _answer_error(error: Exception) -> Response:
    if isinstance(error, Refusal):
        return answer(error.status, **error.body)
    if isinstance(error, (NotFound, MethodNotAllowed)):
        return answer(404, error="Not found")
    if isinstance(error, HTTPException):
        return answer(error.code or 500, error=error.description)
    _log.error("%s %s failed", request.method, request.path, exc_info=error)
    return answer(500, error="Internal server error", details=str(error))
