"""Decode chunks of values, beside each other. HDF5 and Zarr files share this.

::

    selection   which chunks and values some rows need
    pipeline    decodes many chunks beside each other
    decoder     decodes a chunk, in threads
    codecs      undoes one filter, in bounded memory
    declared    the length that compressed bytes declare for what they hold
"""
