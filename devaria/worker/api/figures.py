"""The routes of the figure store: the calls of figpack's upload client, and the figures.

Uploads need the figure key, as ``x-api-key`` (from ``FIGPACK_API_KEY``). URLs are built from the
request's Host header: a runner reaches the worker by that name, and need not reach it by the
worker's own address.
"""

from typing import Any, Dict

from flask import Blueprint, Response, request, send_file

from devaria.worker.api.guards import checked, same_key
from devaria.worker.api.web import Refusal, answer, json_body, services
from devaria.worker.store.figures import StoreFull, is_upload_path

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


@checked
def _needs_figure_key() -> None:
    # The runner key opens it too: its holders may do more than that.
    shown, keys = request.headers.get("X-API-Key", ""), services().keys
    if not same_key(shown, keys.figure) and not same_key(shown, keys.runner):
        raise Refusal(401, success=False, message="Invalid API key")


@checked
def _needs_signature() -> None:
    query, path = request.args.to_dict(), request.view_args or {}
    if not services().signer.is_valid(path["figure_id"], path["relative_path"], query):
        raise Refusal(403, success=False, message="Invalid or expired signature")


@blueprint.post("/figpack/figures/create")
@_needs_figure_key
def create() -> Response:
    """Make a new figure; answer 201 with its URL."""
    body = _body()
    size = body.get("totalSize")
    _check_room(size if type(size) is int else 0)
    names = ("title", "figpackVersion", "totalFiles", "totalSize")
    figure_id = services().figures.create({name: body[name] for name in names if name in body})
    figure_url = f"{request.host_url}figures/{figure_id}/index.html"
    figure = {"figureId": figure_id, "figureUrl": figure_url, "status": "uploading"}
    return answer(201, success=True, figure=figure)


@blueprint.post("/figpack/upload")
@_needs_figure_key
def upload() -> Response:
    """Answer 200 with signed URLs, to which the client uploads files of a figure."""
    body = _body()
    figure_id, files = _figure_id(body), body.get("files")
    if not isinstance(files, list) or not 0 < len(files) <= MAX_FILES:
        raise Refusal(400, success=False, message=f"files must be a list of 1 to {MAX_FILES}")
    signed = [_signed(figure_id, file) for file in files]
    _check_room(sum(file["size"] for file in files))
    return answer(success=True, mode="server-signed", signedUrls=signed)


@blueprint.put("/figpack/signed/<figure_id>/<path:relative_path>")
@_needs_signature
def put(figure_id: str, relative_path: str) -> Response:
    """Store a file that is uploaded to a signed URL.

    Returns:
        200; 403 if the URL is not valid or has expired; 400 if the size is not the declared one;
        507 if the store is full.
    """
    try:
        services().figures.save(figure_id, relative_path, request.stream, declared_bytes())
    except ValueError as error:
        raise Refusal(400, success=False, message=str(error)) from error
    except StoreFull as error:
        raise Refusal(507, success=False, message=str(error)) from error
    return answer(success=True)


def declared_bytes() -> int:
    """Return the size in bytes that the signed URL of the current request declares."""
    return int(request.args["size"])


@blueprint.post("/figpack/figures/finalize")
@_needs_figure_key
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


def _check_room(size: int) -> None:
    try:
        services().figures.check_room(size)
    except StoreFull as error:
        raise Refusal(507, success=False, message=str(error)) from error


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
