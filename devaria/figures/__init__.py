"""figpack figures from plain arrays, and their upload.

::

    raster         the figpack view of a units table
    raster_arrays  the arrays of that view, computed with numpy
    upload         uploads a figure without leaking keys or signed URLs
    progress       turns the progress of a job's parts into percentages and console lines
"""
