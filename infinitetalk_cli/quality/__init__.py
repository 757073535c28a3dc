"""What is measured of generated frames: numbers in, numbers out. Nothing here knows torch, files or the pipeline."""
