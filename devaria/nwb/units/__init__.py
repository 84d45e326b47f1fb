"""Read the units table of an open file.

::

    build         builds the table from its columns, whatever kind of file they lie in
    reader        its columns in an HDF5 file
    column        one of these, in the shapes and forms that writers give them
    times_reader  reads the spike times from there
    spike_times   collects them as float32
    plausible     whether they can be seconds
    extra         further columns of the table, and events, as a job asks for them
    choice        which units are drawn, in which order and groups
    table         the table, and how it gets from one process to the other
"""
