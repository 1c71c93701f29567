"""Training: its options, the loop of epochs, and what happens between epochs."""
