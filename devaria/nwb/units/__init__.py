"""Read the units table of an open file.

::

    reader        reads the table
    column        one column, in the shapes and forms that writers give them
    times_reader  reads the spike times, of which there may be many
    spike_times   collects them as float32
    plausible     whether they can be seconds
    extra         further columns of the table, and events, as a job asks for them
    choice        which units are drawn, in which order and groups
    table         the table, and how it gets from one process to the other
"""
