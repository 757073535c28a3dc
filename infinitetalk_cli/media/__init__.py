"""Media files in and out. PyAV is imported here and nowhere else, and its errors end at `edges`."""
