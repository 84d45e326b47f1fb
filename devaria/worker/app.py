"""The Flask application of the local worker."""

import logging
import secrets
from pathlib import Path
from typing import Optional, Tuple

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from devaria.worker.api import admin, figures, jobs, runner
from devaria.worker.api.rate_limit import RateLimiter
from devaria.worker.api.web import SERVICES, Refusal, Services, answer
from devaria.worker.dashboard import pages
from devaria.worker.dashboard.job_forms import JobForms
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
    job_forms: JobForms,
) -> Tuple[Flask, Database]:
    """Build the application over a data directory.

    Args:
        data_dir: The directory for the database and the figures; created if needed.
        keys: The API keys.
        rate_limit: Whether the contract's rate limits apply.
        clock: Returns the time in epoch milliseconds.
        requeue_after_ms: How long the runner of a job may be silent; 0 for no limit.
        job_forms: The parameters that the dashboard asks for.

    Returns:
        The application, and the database, which the caller must close.

    Raises:
        OSError: The data directory cannot be written.
        sqlite3.Error: The database cannot be opened.
    """
    figure_store = FigureStore(data_dir / "figures", clock)
    database = Database(data_dir / "jobs.sqlite3")
    # Without None, Flask would serve `static` and `templates` of the current directory.
    app = Flask("devaria-worker", static_folder=None, template_folder=None)
    app.jinja_env.finalize = visible  # applied to every value that a template writes
    app.extensions[pages.JOB_FORMS] = job_forms
    app.extensions[SERVICES] = Services(
        keys=keys,
        jobs=JobStore(database, clock, requeue_after_ms),
        news=database.news,
        runners=RunnerStore(database, clock),
        figures=figure_store,
        signer=UrlSigner(secrets.token_bytes(32), clock),
        limiter=RateLimiter(clock) if rate_limit else None,
        clock=clock,
    )
    app.url_map.merge_slashes = False  # a doubled slash is an unknown path, not a redirect
    for routes in (runner, jobs, admin, figures, pages):
        app.register_blueprint(routes.blueprint)
    app.before_request(_before_routing)
    app.after_request(_add_headers)
    app.register_error_handler(Exception, _answer_error)
    return app, database


def _before_routing() -> Optional[Response]:
    """Answer requests that need no route: health by any method, and OPTIONS on any path."""
    if request.path in _HEALTH_PATHS:
        return answer(**_HEALTH)
    if request.method == "OPTIONS":
        return Response(status=204)
    if request.method == "HEAD" and request.path.startswith("/api/"):
        # Flask answers HEAD wherever there is a GET; the contract does not.
        raise NotFound
    return None


def _add_headers(response: Response) -> Response:
    # Figures come from strangers: the browser must not guess that a file is a page or a script.
    response.headers["X-Content-Type-Options"] = "nosniff"
    # Pages of other origins may read the API, but not the dashboard.
    if request.path not in _HEALTH_PATHS and request.blueprint != pages.blueprint.name:
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
