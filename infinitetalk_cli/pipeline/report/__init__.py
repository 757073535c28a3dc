"""What became of a job, for people and programs: the report beside the result."""
