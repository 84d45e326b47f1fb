"""Read byte ranges of one file over HTTP, from a server that is not trusted.

::

    address_guard  connections to public addresses only
    session        one range request: redirects, time-outs, the body as it arrives
    answers        what the head of an answer says: the range, the version, the content coding
    refusals       the error for an answer without the file
    retry          which faults are tried again, how often, and until when
    ranges         the file: verifies every range, and explains every fault
    objects        objects beneath one URL, such as a Zarr folder
    tail           the file's last bytes, requested together with the first
    download       the whole file, if the server has no byte ranges
    prefetch       ranges fetched ahead of the reader, in parallel
    block_file     a file object over the ranges, cached in blocks, for h5py
"""
