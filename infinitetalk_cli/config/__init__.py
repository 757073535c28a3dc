"""Settings: what they are (`profile`, `job`), from file to them (`load`), what they need (`weights`)."""
