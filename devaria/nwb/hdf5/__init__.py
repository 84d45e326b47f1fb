"""Read HDF5 files that may be malicious, and read their columns fast.

::

    remote_file     opens a remote file with h5py, and explains what is wrong with it
    link_guard      opens groups and datasets without leaving the file
    heap_guard      checks variable-length strings on which HDF5 would loop for ever
    column          reads a column in parallel, ahead of HDF5
    chunks          decodes a column's chunks, in threads or by HDF5
    btree_prefetch  fetches the index of a column's chunks in parallel
"""
