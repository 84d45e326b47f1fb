"""Read the units table of an open file.

::

    table        what it holds
    columns      builds it from its columns
    reader       the columns in an HDF5 file
    spike_times  collects spike times
"""
