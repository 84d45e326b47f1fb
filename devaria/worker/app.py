"""The Flask application of the local worker."""

import logging
import secrets
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from devaria.common.http.addresses import PublicHosts
from devaria.worker.api import admin, figures, jobs, runner
from devaria.worker.api.guards import checks_of
from devaria.worker.api.rate_limit import RateLimiter
from devaria.worker.api.web import SERVICES, Refusal, Services, answer, max_body_bytes
from devaria.worker.dashboard import pages
from devaria.worker.dashboard.access import SESSIONS
from devaria.worker.dashboard.job_forms import JobForms
from devaria.worker.dashboard.sessions import Sessions
from devaria.worker.dashboard.views import visible
from devaria.worker.keys import WorkerKeys
from devaria.worker.store.database import Clock, Database, DatabaseBusy
from devaria.worker.store.expiry import FigureCheck
from devaria.worker.store.figures import FigureStore, UrlSigner
from devaria.worker.store.jobs import JobStore
from devaria.worker.store.runners import RunnerStore

_log = logging.getLogger(__name__)

_HEALTH_PATHS = ("/", "/health")
_HEALTH = {"status": "ok", "service": "devaria-worker"}
_RETRY_AFTER_SEC = 5
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
    hosts: PublicHosts,
    steady: Clock,
    figures_quota_bytes: int,
) -> Tuple[Flask, Database]:
    """Build the application over a data directory.

    Args:
        data_dir: The directory for the database and the figures; created if needed.
        keys: The API keys.
        rate_limit: Whether the contract's rate limits apply.
        clock: Returns the time in epoch milliseconds.
        requeue_after_ms: How long the runner of a job may be silent; 0 for no limit.
        job_forms: The parameters that the dashboard asks for.
        hosts: The hosts that may be asked whether a figure still exists.
        steady: Returns a steady time in milliseconds.
        figures_quota_bytes: How much the figures may take; 0 for no limit.

    Returns:
        The application, and the database, which the caller must close.

    Raises:
        OSError: The data directory cannot be written.
        sqlite3.Error: The database cannot be opened.
    """
    database = Database(data_dir / "jobs.sqlite3")
    figure_store = FigureStore(data_dir / "figures", clock, figures_quota_bytes)
    # Without None, Flask would serve `static` and `templates` of the current directory.
    app = Flask("devaria-worker", static_folder=None, template_folder=None)
    app.jinja_env.finalize = visible  # applied to every value that a template writes
    app.extensions[pages.JOB_FORMS] = job_forms
    app.extensions[SESSIONS] = Sessions(database, clock, keys.dashboard_token)
    app.extensions[SERVICES] = Services(
        keys=keys,
        jobs=JobStore(database, clock, requeue_after_ms, steady),
        news=database.news,
        runners=RunnerStore(database, clock),
        figures=figure_store,
        figure_check=FigureCheck(figure_store, clock, hosts),
        signer=UrlSigner(secrets.token_bytes(32), steady),
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


def body_limit(app: Flask, environ: Dict[str, Any]) -> int:
    """Return how many bytes the body of a request may have, before it is received.

    Args:
        app: The application.
        environ: The WSGI environment of the request; its body is not looked at.

    Returns:
        The number; -1 if the request is refused, whatever its body is.
    """
    with app.request_context(environ):
        try:
            view = app.view_functions.get(request.endpoint or "")
            for check in checks_of(view):
                check()
            for look in app.before_request_funcs.get(request.blueprint, ()):
                if look() is not None:
                    return -1
            return figures.declared_bytes() if view is figures.put else max_body_bytes()
        except (Refusal, HTTPException, ValueError):  # the route will say what is wrong
            return -1


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
    if isinstance(error, DatabaseBusy):
        busy = answer(503, error="The database is busy; try again")
        busy.headers["Retry-After"] = str(_RETRY_AFTER_SEC)
        return busy
    if isinstance(error, HTTPException):
        return answer(error.code or 500, error=error.description)
    _log.error("%s %s failed", request.method, request.path, exc_info=error)
    return answer(500, error="Internal server error", details=str(error))
