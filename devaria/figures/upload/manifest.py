"""Sign the manifest of an upload along with the other files, which saves a request.

figpack 0.4.1 asks for signed URLs of a figure's files in batches, uploads them, and then asks again
for the one of ``manifest.json``, the list of these files. With the last batch all of the list is
known but the digits of its timestamp. So the manifest joins that batch, with the largest size that
it may have. Spaces after the JSON then fill it up to that size.
"""

import json
import time
from typing import Any, Callable, Dict, List, Mapping, Optional

_MANIFEST = "manifest.json"

#: How many files figpack's API signs in one request.
_MAX_BATCH = 20

#: A timestamp of this century with as many digits as Python prints at most, and how much shorter
#: another one may be, in characters.
_LONGEST_TIMESTAMP = 1700000000.1234567
_MAX_SPACES = 16

#: For how long a signed URL is used, in seconds. figpack asks for it just before it uses it.
_FRESH_SEC = 60.0


class ManifestAhead:
    """Follows the upload of one figure. Whatever it does not expect is left as figpack has it.

    Args:
        num_files: How many files figpack uploads, without the manifest; None if it does not say.
        clock: Returns monotonic time in seconds.
    """

    def __init__(
        self, num_files: Optional[int], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._num_files = num_files
        self._clock = clock
        self._files: List[Mapping[str, Any]] = []
        self._max_bytes = 0
        self._answer: Any = None
        self._answered_at = 0.0
        self._url: Optional[str] = None

    def joined(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Add the manifest to a request for signed URLs, if that is for the last files.

        Args:
            request: The JSON that figpack sends.
        """
        files = _files_of(request)
        self._files += files
        if not files or len(self._files) != self._num_files or len(files) >= _MAX_BATCH:
            return request
        self._max_bytes = len(self._manifest())
        return {**request, "files": [*files, {"relativePath": _MANIFEST, "size": self._max_bytes}]}

    def note(self, answer: Any) -> None:
        """Keep the answer to a request that the manifest has joined.

        Args:
            answer: A `requests.Response` whose JSON names signed URLs.
        """
        self._answer, self._answered_at = answer, self._clock()

    def answer_to(self, request: Mapping[str, Any]) -> Any:
        """Return the answer to figpack's own request for the manifest, if it is known already.

        Args:
            request: The JSON that figpack would send.

        Returns:
            A `requests.Response`; None if figpack must ask.
        """
        files = _files_of(request)
        if self._answer is None or [file["relativePath"] for file in files] != [_MANIFEST]:
            return None
        spaces = self._max_bytes - files[0]["size"]
        if not 0 <= spaces <= _MAX_SPACES or self._clock() - self._answered_at > _FRESH_SEC:
            return None
        self._url = signed_urls(self._answer).get(_MANIFEST)
        return None if self._url is None else self._answer

    def body(self, url: str, data: Any) -> Any:
        """Return what is to be uploaded: the manifest in the size that was named, others as is.

        Args:
            url: Where figpack uploads a file to.
            data: The file, open for reading.
        """
        return data.read().ljust(self._max_bytes) if url == self._url else data

    def _manifest(self) -> str:
        """Return the manifest, as figpack 0.4.1 writes it."""
        files = [{"path": file["relativePath"], "size": file["size"]} for file in self._files]
        manifest = {
            "timestamp": _LONGEST_TIMESTAMP,
            "files": files,
            "total_size": sum(file["size"] for file in files),
            "total_files": len(files),
        }
        return json.dumps(manifest, indent=2)


def _files_of(request: Mapping[str, Any]) -> List[Mapping[str, Any]]:
    """Return the files that a request for signed URLs names; none if it has another form."""
    files = request.get("files")
    if isinstance(files, list) and all(
        isinstance(file, dict) and {*file} == {"relativePath", "size"} for file in files
    ):
        return files
    return []


def signed_urls(answer: Any) -> Dict[str, str]:
    """Return the signed URLs that an answer of figpack's API holds.

    Args:
        answer: A `requests.Response`.

    Returns:
        The URLs by path in the figure; none if the answer is not as figpack 0.4.1 wants it.
    """
    try:
        content = answer.json()
        if content["mode"] != "server-signed":
            return {}
        return {str(each["relativePath"]): str(each["signedUrl"]) for each in content["signedUrls"]}
    except (ValueError, TypeError, KeyError):
        return {}
