"""What is wrong with a dataset, and what is only unusual: many small checks, and one diagnosis."""
