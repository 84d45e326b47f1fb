"""Who may see the dashboard, and what a browser may do with its pages.

The link with the token is exchanged for a cookie, and so is in the address bar for a moment only.
Against actions that another site makes the browser send, two things stand. The cookie is
SameSite=Strict; that alone would let in pages of another port of this host, which are of the same
site. So each POST must also come from this very origin, by the ``Origin`` header, which browsers
set on every POST and no page can change. There is then no token in each form to keep, and a page
that stayed open over a restart of the worker still works.
"""

import hashlib
from typing import Optional
from urllib.parse import urlsplit

from flask import Response, redirect, request
from werkzeug.wrappers import Response as BaseResponse

from devaria.worker.api.guards import same_key
from devaria.worker.api.web import services

PATH = "/dashboard"
_NO_LINK = "Open the dashboard by the link that the worker printed at its start.\n"
_FOREIGN = "This request does not come from the dashboard.\n"
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
        " connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none';"
        " frame-ancestors 'none'"
    ),
    # Not no-referrer: with it, browsers say `Origin: null` on the forms' own POSTs.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def check_access() -> Optional[BaseResponse]:
    """Let a request to the dashboard pass, or answer it.

    Returns:
        None to let it pass.
    """
    token = services().keys.dashboard_token
    # Cookies do not know ports: each worker of this host needs a name of its own.
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
    """Tell the browser to load nothing from elsewhere, and to keep nothing.

    Args:
        response: An answer of the dashboard.

    Returns:
        The same.
    """
    response.headers.update(_HEADERS)
    return response


def _is_own_origin(origin: str) -> bool:
    # By host and port alone: behind a proxy that speaks https, this worker knows itself as http.
    try:
        return urlsplit(origin).netloc == request.host
    except ValueError:
        return False


def _refused(reason: str) -> Response:
    return Response(reason, 403, mimetype="text/plain")
