"""The routes of the figure store: the calls of figpack's upload client, and the figures.

Runners upload figures, so uploads need the runner key, as ``x-api-key`` (from
``FIGPACK_API_KEY``). URLs are built from the request's Host header: a runner reaches the worker by
that name, and need not reach it by the worker's own address.
"""

import functools
from typing import Any, Dict, cast

from flask import Blueprint, Response, request, send_file

from devaria.worker.api.guards import View, same_key
from devaria.worker.api.web import Refusal, answer, json_body, services
from devaria.worker.store.figures import is_upload_path

blueprint = Blueprint("figures", __name__)

MAX_FILES = 20
# A figure's scripts come from strangers and run on the dashboard's host. The sandbox gives them an
# origin of their own, so that they cannot use the dashboard's cookie.
_SANDBOX = "sandbox allow-scripts allow-downloads allow-popups"
# The operating system's table differs between machines, and with `nosniff` a browser does not run
# a script of the wrong type.
CONTENT_TYPES = {
    "css": "text/css",
    "gif": "image/gif",
    "html": "text/html",
    "ico": "image/x-icon",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "js": "text/javascript",
    "json": "application/json",
    "mjs": "text/javascript",
    "png": "image/png",
    "svg": "image/svg+xml",
    "txt": "text/plain",
    "wasm": "application/wasm",
    "woff2": "font/woff2",
    "zarray": "application/json",
    "zattrs": "application/json",
    "zgroup": "application/json",
    "zmetadata": "application/json",
}


def _needs_runner_key(view: View) -> View:
    @functools.wraps(view)
    def guarded(**arguments: Any) -> Response:
        if not same_key(request.headers.get("X-API-Key", ""), services().keys.runner):
            raise Refusal(401, success=False, message="Invalid API key")
        return view(**arguments)

    return cast(View, guarded)


@blueprint.post("/figpack/figures/create")
@_needs_runner_key
def create() -> Response:
    """Make a new figure; answer 201 with its URL."""
    body = _body()
    names = ("title", "figpackVersion", "totalFiles", "totalSize")
    figure_id = services().figures.create({name: body[name] for name in names if name in body})
    figure_url = f"{request.host_url}figures/{figure_id}/index.html"
    figure = {"figureId": figure_id, "figureUrl": figure_url, "status": "uploading"}
    return answer(201, success=True, figure=figure)


@blueprint.post("/figpack/upload")
@_needs_runner_key
def upload() -> Response:
    """Answer 200 with signed URLs, to which the client uploads files of a figure."""
    body = _body()
    figure_id, files = _figure_id(body), body.get("files")
    if not isinstance(files, list) or not 0 < len(files) <= MAX_FILES:
        raise Refusal(400, success=False, message=f"files must be a list of 1 to {MAX_FILES}")
    signed = [_signed(figure_id, file) for file in files]
    return answer(success=True, mode="server-signed", signedUrls=signed)


@blueprint.put("/figpack/signed/<figure_id>/<path:relative_path>")
def put(figure_id: str, relative_path: str) -> Response:
    """Store a file that is uploaded to a signed URL.

    Returns:
        200; 403 if the URL is not valid or has expired; 400 if the size is not the declared one.
    """
    query = request.args.to_dict()
    if not services().signer.is_valid(figure_id, relative_path, query):
        raise Refusal(403, success=False, message="Invalid or expired signature")
    try:
        services().figures.save(figure_id, relative_path, request.stream, int(query["size"]))
    except ValueError as error:
        raise Refusal(400, success=False, message=str(error)) from error
    return answer(success=True)


@blueprint.post("/figpack/figures/finalize")
@_needs_runner_key
def finalize() -> Response:
    """Mark a figure as completely uploaded.

    Returns:
        200; 400 if it has no ``index.html``.
    """
    if not services().figures.finalize(_figure_id(_body())):
        raise Refusal(400, success=False, message="Figure has no index.html")
    return answer(success=True)


@blueprint.get("/figures/<figure_id>/<path:relative_path>")
def serve(figure_id: str, relative_path: str) -> Response:
    """Serve a file of a figure: 200, or 404."""
    path = services().figures.file(figure_id, relative_path)
    if path is None:
        raise Refusal(404, error="Not found")
    extension = path.name.rpartition(".")[2].lower()
    content_type = CONTENT_TYPES.get(extension, "application/octet-stream")
    response = send_file(path.absolute(), mimetype=content_type)
    response.headers["Content-Security-Policy"] = _SANDBOX
    return response


def _body() -> Dict[str, Any]:
    try:
        return json_body()
    except ValueError as error:
        raise Refusal(400, success=False, message=f"Invalid JSON: {error}") from error


def _figure_id(body: Dict[str, Any]) -> str:
    figure_url = body.get("figureUrl")
    known = services().figures.figure_id(figure_url) if isinstance(figure_url, str) else None
    if known is None:
        raise Refusal(404, success=False, message="Figure not found")
    return known


def _signed(figure_id: str, file: Any) -> Dict[str, str]:
    path, size = (file.get("relativePath"), file.get("size")) if isinstance(file, dict) else (0, 0)
    if not isinstance(path, str) or not is_upload_path(path):
        raise Refusal(400, success=False, message=f"Invalid relativePath: {path!r}")
    if type(size) is not int or size < 0:
        raise Refusal(400, success=False, message=f"Invalid size of {path!r}")
    query = services().signer.sign(figure_id, path, size)
    return {"relativePath": path, "signedUrl": f"{request.host_url}figpack/signed/{query}"}
