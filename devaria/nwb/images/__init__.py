"""Read frames of an image series: `opening` finds and checks it, `times` chooses the frames."""
