"""Read a pose estimation: `source` finds and checks its parts, `reader` reads them."""
