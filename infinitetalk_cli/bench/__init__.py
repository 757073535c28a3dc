"""How fast the transformer runs here: random weights of any size, timed, counted and split by part."""
