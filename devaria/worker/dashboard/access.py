"""Who may see the dashboard, and what a browser may do with its pages.

The dashboard's link contains a token. The first request exchanges it for a cookie, so the token
leaves the address bar at once.

Other sites must not be able to make the browser submit or delete jobs. The cookie is
SameSite=Strict, but to a browser another port of this host is the same site. So each POST must also
have this worker's origin in its ``Origin`` header. Browsers set it on every POST, and no page can
change it. So forms need no token of their own, and an open page still works after a restart of the
worker.
"""

import hashlib
from typing import Optional
from urllib.parse import urlsplit

from flask import Response, redirect, request
from werkzeug.wrappers import Response as BaseResponse

from devaria.worker.api.guards import same_key
from devaria.worker.api.web import services

PATH = "/dashboard"
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
    """Check a request to the dashboard: return None to let it pass, or else the answer."""
    token = services().keys.dashboard_token
    # A cookie is sent to all ports of a host, so each worker needs a name of its own for it.
    cookie = f"devaria-{hashlib.sha256(token.encode()).hexdigest()[:16]}"
    shown = request.args.get("token")
    if shown is not None and request.method == "GET" and same_key(shown, token):
        reply = redirect(request.path, 303)
        reply.set_cookie(cookie, token, path=PATH, httponly=True, samesite="Strict")
        return reply
    if shown is not None or not same_key(request.cookies.get(cookie, ""), token):
        return _refused(_NO_LINK)
    if request.method == "POST" and not _is_own_origin(request.headers.get("Origin", "")):
        return _refused(_FOREIGN)
    return None


def add_headers(response: Response) -> Response:
    """Add headers that make the browser load nothing from other hosts and keep no copy."""
    response.headers.update(_HEADERS)
    return response


def _is_own_origin(origin: str) -> bool:
    # The scheme is not compared: behind an https proxy, the worker itself still serves http.
    try:
        return urlsplit(origin).netloc == request.host
    except ValueError:
        return False


def _refused(reason: str) -> Response:
    return Response(reason, 403, mimetype="text/plain")
