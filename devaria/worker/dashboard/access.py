"""Who may see the dashboard, and what a browser may do with its pages.

The dashboard's link contains a token. The first request exchanges it for a session, so the token
leaves the address bar at once.

A browser sends a cookie to every port of its host. So the cookie holds no token, only a random
secret of its session, and its path contains the session's id: programs on other ports do not know
the path, so the browser never asks them for it.

Other sites must not be able to make the browser submit or delete jobs. The cookie is
SameSite=Strict, but to a browser another port of this host is the same site. So each POST must also
have this worker's origin in its ``Origin`` header. Browsers set it on every POST, and no page can
change it. So forms need no token of their own.
"""

from typing import Any, Dict, Optional, cast
from urllib.parse import urlsplit

from flask import Response, current_app, g, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from devaria.worker.api.guards import same_key
from devaria.worker.api.web import services
from devaria.worker.dashboard.sessions import Sessions

PATH = "/dashboard"
#: The application holds its `Sessions` under this name.
SESSIONS = "devaria-sessions"
_COOKIE = "devaria-session"
_NO_LINK = "Open the dashboard with the link that the worker printed when it started.\n"
_FOREIGN = "This request does not come from the dashboard.\n"
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
        " connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none';"
        " frame-ancestors 'none'"
    ),
    # With no-referrer, browsers would send `Origin: null` with the dashboard's own forms.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def check_access() -> Optional[BaseResponse]:
    """Check a request to a page of a session: return None to let it pass, or else the answer."""
    # Pages take no such argument: they find it in `g`, and so do the links in them.
    g.session = (request.view_args or {}).pop("session", None)
    if g.session is None:
        return None  # the entrance, which begins a session
    if not _sessions().is_valid(g.session, request.cookies.get(_COOKIE, "")):
        return _refused(_NO_LINK)
    if request.method == "POST" and not _is_own_origin(request.headers.get("Origin", "")):
        return _refused(_FOREIGN)
    return None


def entered() -> BaseResponse:
    """Begin a session if the request has the token of the link, and lead to its first page."""
    if not same_key(request.args.get("token", ""), services().keys.dashboard_token):
        return _refused(_NO_LINK)
    g.session, secret = _sessions().begin()
    reply = redirect(url_for("dashboard.overview"), 303)
    path = f"{PATH}/{g.session}"
    reply.set_cookie(_COOKIE, secret, path=path, httponly=True, samesite="Strict")
    return reply


def left() -> BaseResponse:
    """End the session of the request."""
    _sessions().end(g.session)
    reply = Response(f"Logged out. {_NO_LINK}", mimetype="text/plain")
    reply.delete_cookie(_COOKIE, path=f"{PATH}/{g.session}", httponly=True, samesite="Strict")
    return reply


def name_session(_endpoint: str, values: Dict[str, Any]) -> None:
    """Put the session into the URL of a page; Flask calls this for each."""
    values.setdefault("session", g.session)


def add_headers(response: Response) -> Response:
    """Add headers that make the browser load nothing from other hosts and keep no copy."""
    response.headers.update(_HEADERS)
    return response


def _sessions() -> Sessions:
    return cast(Sessions, current_app.extensions[SESSIONS])


def _is_own_origin(origin: str) -> bool:
    # The scheme is not compared: behind an https proxy, the worker itself still serves http.
    try:
        return urlsplit(origin).netloc == request.host
    except ValueError:
        return False


def _refused(reason: str) -> Response:
    return Response(reason, 403, mimetype="text/plain")
