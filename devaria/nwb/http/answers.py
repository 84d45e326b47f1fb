"""What the head of an answer says of a range of a file. Servers spell it in many ways."""

import re
import zlib
from typing import Iterator, List, NamedTuple, Optional

import requests

from devaria.nwb.errors import NwbError
from devaria.nwb.http.retry import RetryableFault
from devaria.nwb.http.session import joined_bytes

# RFC 9110, 14.4. Some servers write no space, an equals sign, or another case.
_CONTENT_RANGE = re.compile(r"bytes[ =]*(\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.IGNORECASE)
_UNSATISFIED = re.compile(r"bytes[ =]*\*/(\d{1,18})", re.IGNORECASE)

#: Content codings that leave the bytes as they are. Some tools store "aws-chunked" with a file,
#: though it was the coding of the upload only.
_NO_CODINGS = ("", "identity", "aws-chunked")

#: Content codings that zlib decodes.
_ZLIB_CODINGS = ("gzip", "x-gzip", "deflate")

#: zlib: find out whether the stream has a head of gzip or of zlib.
_ANY_HEAD = 32 + zlib.MAX_WBITS

_PIECE_BYTES = 256 * 1024

#: The fault of a body that is shorter or longer than its head says.
WRONG_LENGTH = "the answer does not have the announced length"


class Part(NamedTuple):
    """A range of the file.

    Attributes:
        start: Offset of the first byte.
        stop: Offset after the last byte.
        size: Length of the file in bytes, or None if the server does not tell it.
    """

    start: int
    stop: int
    size: Optional[int]


class Version(NamedTuple):
    """What tells two versions of a file apart.

    Attributes:
        size: Length of the file in bytes.
        etag: The header ``ETag``.
        modified: The header ``Last-Modified``.
    """

    size: int
    etag: Optional[str]
    modified: Optional[str]

    def differs_from(self, other: "Version") -> bool:
        """Tell whether two answers are about different contents.

        Several machines may answer for one name, each with ETags of its own. So other ETags tell
        nothing if the length and the date are the same. Nor do weak ones without a date.

        Args:
            other: What another answer says.
        """
        if self.size != other.size:
            return True
        if not self.etag or not other.etag or self.etag == other.etag:
            return False
        is_weak = self.etag.startswith("W/") or other.etag.startswith("W/")
        if self.modified is None or other.modified is None:
            return not is_weak
        return self.modified != other.modified


def version_of(response: requests.Response, size: int) -> Version:
    """Return which version of the file an answer is about.

    Args:
        response: Any answer about the file.
        size: Length of the file in bytes.
    """
    return Version(size, response.headers.get("ETag"), response.headers.get("Last-Modified"))


def part_of(response: requests.Response) -> Optional[Part]:
    """Return which part of the file an answer holds.

    Args:
        response: An answer with status 206.

    Returns:
        The part; None if the header ``Content-Range`` does not tell it.
    """
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    if match is None:
        return None
    first, last, size = match.groups()
    part = Part(int(first), int(last) + 1, None if size == "*" else int(size))
    return part if part.start < part.stop <= (part.size or part.stop) else None


def unsatisfied_size(response: requests.Response) -> Optional[int]:
    """Return the length of the file in an answer with status 416; None if it does not tell it."""
    match = _UNSATISFIED.fullmatch(response.headers.get("Content-Range", "").strip())
    return int(match[1]) if match else None


def body_of(part: Part, pieces: Iterator[bytes], stop: int) -> bytes:
    """Read the bytes of a part, those from an offset on left out.

    Args:
        part: What the head of the answer says.
        pieces: The body of the answer.
        stop: Offset in the file, after the last byte that is wanted.

    Raises:
        RetryableFault: The body is shorter or longer than the head says.
    """
    length = part.stop - part.start
    wanted = min(length, stop - part.start)
    # One byte more shows whether the body ends where it should.
    body = joined_bytes(pieces, wanted + (wanted == length))
    if len(body) < wanted or len(body) > length:
        raise RetryableFault(WRONG_LENGTH)
    return body[:wanted]


def announced_size(response: requests.Response) -> Optional[int]:
    """Return the length of a body in bytes, by the header ``Content-Length``; None without it."""
    length = response.headers.get("Content-Length", "")
    return int(length) if re.fullmatch(r"\d{1,18}", length) else None


def is_multipart(response: requests.Response) -> bool:
    """Tell whether an answer holds its range as one of several parts, with a head for each."""
    kind = response.headers.get("Content-Type", "")
    return kind.strip().lower().startswith("multipart/byteranges")


def codings_of(response: requests.Response) -> List[str]:
    """Return the content codings of an answer, without those that change nothing."""
    names = response.headers.get("Content-Encoding", "").lower().split(",")
    return [name.strip() for name in names if name.strip() not in _NO_CODINGS]


def decoded(pieces: Iterator[bytes], codings: List[str], max_bytes: int) -> Iterator[bytes]:
    """Decode a body as it arrives, in bounded memory.

    Args:
        pieces: The body.
        codings: What ``codings_of`` returns, not empty.
        max_bytes: How much of the body is read, before it is decoded.

    Yields:
        Decoded pieces, never empty and never long.

    Raises:
        NwbError: The coding is not gzip or deflate, or the body is damaged or too long.
        RetryableFault: The body breaks off.
    """
    if len(codings) > 1 or codings[0] not in _ZLIB_CODINGS:
        raise NwbError(f"the server compresses what it sends ({', '.join(codings)[:40]})")
    decoder = None
    for piece in pieces:
        max_bytes -= len(piece)
        if max_bytes < 0:
            raise NwbError(
                "the server sends more than may be downloaded (DEVARIA_MAX_DOWNLOAD_BYTES)"
            )
        while piece:
            if decoder is None or decoder.eof:  # gzip may have several members (RFC 1952)
                decoder = zlib.decompressobj(_window_bits(piece, codings[0]))
            try:
                content = decoder.decompress(piece, _PIECE_BYTES)
            except zlib.error:
                raise NwbError("the server sends damaged gzip data") from None
            piece = decoder.unused_data if decoder.eof else decoder.unconsumed_tail
            if content:
                yield content
    rest = b"" if decoder is None else decoder.flush()
    if rest:
        yield rest
    if decoder is None or not decoder.eof:
        raise RetryableFault(WRONG_LENGTH)


def _window_bits(piece: bytes, coding: str) -> int:
    """Return how zlib is to read a stream, from the stream's first bytes."""
    has_zlib_head = piece[0] & 15 == zlib.DEFLATED and int.from_bytes(piece[:2], "big") % 31 == 0
    # Many servers leave out the head that "deflate" should have (RFC 9110, 8.4.1.2).
    return -zlib.MAX_WBITS if coding == "deflate" and not has_zlib_head else _ANY_HEAD
