"""Reading an HDF5 file that a stranger made."""
