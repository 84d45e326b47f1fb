"""Reading the units table of a remote NWB file, and turning it into a figpack raster plot.

A submitted URL and the file behind it come from a stranger: every module here treats them so.
This package imports nothing of the runner, and the runner's job handler imports it late, because
it needs h5py, numpy and figpack, which are optional.

    limits        how much is read at most, set by the operator
    address_guard connections to public addresses only
    http_session  requests for ranges of one file, redirects followed, bodies read as they come
    http_range    byte ranges of one file over HTTP, every answer verified
    file_end      the file's last bytes, asked for beside the first
    urls, retry, http_faults  what that needs: which URLs may be fetched, what is tried again
    units_path    the form of a path to a units table
    whole_file    a file whose server has no byte ranges
    file_kind     what a file is that is not HDF5
    prefetch      ranges fetched ahead of the reader, in parallel, in bounded memory
    block_file    a file object over those ranges, cached in blocks
    index_lookahead  nodes of a strewn index of chunks, fetched together
    remote_file   the two together, opened by h5py, with errors that say what the file is
    hdf5_guard    paths and datasets that do not lead out of the file
    heap_guard    texts in which HDF5 might go round for ever
    chunk_decode, pipeline  chunks inflated in threads, or by HDF5 itself
    column_stream a column read at the line's speed
    spike_times   its values as float32, by whichever way is the fastest
    collection    Python's garbage collector, off for a while
    units_table   the spike trains of one units table
    units_reader  reading them: its columns, its ids
    reading       the process that reads the table, apart from the one that has keys
    reading_child, confinement  that process from inside, and what it may not do
    table_files   a units table as plain files, by which the one gets it from the other
    raster_arrays the arrays of a raster plot, from a units table
    raster        the figpack view that writes these arrays
    publish       uploading it, in a way that ends
    progress      how far all that is
    synthetic     a small NWB file for demos and tests
"""
