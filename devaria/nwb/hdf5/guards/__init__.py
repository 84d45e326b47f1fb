"""Bounds on what HDF5 itself does with a file that may be malicious, before it does it.

::

    inflation   what the filters of a chunk make of it
    reads       how much HDF5 reads at once, and of how many chunks
"""
