"""Who takes part, and what each of them does with a frame."""
