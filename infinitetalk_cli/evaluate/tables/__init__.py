"""What an evaluation says: figures, tables, pages, and methods side by side."""
