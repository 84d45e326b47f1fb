"""Read remote NWB files.

A submitted URL and the file behind it come from a stranger, so no module trusts them. The job
handler imports this package only when a job runs: it needs h5py and numpy, which are optional.

::

    params         checks the form of a URL and of a units path
    limits         the operator's limits on what is read
    errors         the exceptions for wrong parameters, and for files that cannot be used
    http/          byte ranges of one file over HTTP
    hdf5/          HDF5 files over those ranges
    file_kind      names the format of a file that is not HDF5
    units_reader   reads the units table of an open file
    spike_times    reads its spike times, the one large column
    units_table    the result, as arrays and as files that one process hands to another
    sandbox/       the process that does the reading, without keys and with few rights
    synthetic/     writes a small NWB file for demos and tests
"""
