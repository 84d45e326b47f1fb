"""Read NWB files in Zarr (folders of objects) and LINDI (references into other files).

The metadata are JSON, which this package reads itself. numcodecs decompresses chunks; the package
zarr is not needed. What a file says is bounded, and its codecs are of a list: none runs code.

::

    container   answers requests about an open file, as `hdf5.container` does
    stores      documents and chunks: the interface, and a folder over HTTP
    listing     the names in a folder without consolidated metadata
    lindi       documents and chunks of a LINDI file
    tar         the members of a tar archive
    documents   the metadata of one group or array, as Zarr 2 and 3 have them
    codecs      what an array's chunks went through
    tree        paths, links and searches
    ahead       fetches chunks ahead of their reader
    chunks      where a chunk lies, how it is fetched and decoded
    shards      chunks in objects that hold many
    runs        joins ranges that lie close to each other
    values      reads arrays of numbers
    texts       reads arrays of texts
    units       the columns of a units table
"""
