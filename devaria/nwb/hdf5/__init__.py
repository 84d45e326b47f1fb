"""Read HDF5 files that may be malicious, and read their datasets fast.

::

    remote_file   opens a remote file with h5py, and explains what is wrong with it
    link_guard    opens groups and datasets without leaving the file
    heap_guard    checks variable-length texts on which HDF5 would loop for ever
    browse        finds and describes groups and datasets
    attributes    reads their attributes
    texts         reads datasets of texts
    datasets      reads datasets of numbers: one, many after another, or one in pieces
    values        chooses a reader for a dataset's layout
    contiguous    reads contiguous datasets
    chunked       reads datasets in chunks
    chunk_index   finds the chunks
    filters       which filters are known, and how long what they decode to may be
    chunks        decodes a chunk, in threads or by HDF5
    metadata      fetches headers and indexes in parallel
    pointers      what these refer to
"""
