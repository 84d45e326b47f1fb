"""Read the units table of an open file: `reader` reads it, `table` is what it holds."""
