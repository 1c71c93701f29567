"""The ten public functions: one for each of the nine equations, and `linear_tanh` for two of them at once.

Each function takes arrays as callers have them. It checks them, finds or makes the array for the result, and launches a
kernel on as many threads as pay. The kernel's inner loops are those of `equations`, which training uses, too. What the
kernel adds is the split among threads and, where rows aren't whole lines, the way into padded rows and back.
"""
