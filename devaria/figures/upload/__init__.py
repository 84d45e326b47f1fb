"""The upload of figures with figpack's client: quick, with time-outs, and without leaks.

::

    publishing     `publish`: builds and uploads a figure, again if need be
    figpack_calls  stands in the place of figpack's HTTP calls
    connections    opened ahead, and kept for the length of an upload
    lanes          large files first
    manifest       a request less: the list of the files is signed along with them
    store_hint     where the files went the last time

Only `publishing` and `store_hint` can be imported without requests and figpack.
"""

from devaria.figures.upload.publishing import (
    UploadLimits,
    UploadProgress,
    opened_connections,
    publish,
)

__all__ = ["UploadLimits", "UploadProgress", "opened_connections", "publish"]
