"""The ten public functions, one for each equation: from arrays as callers have them to the loops of `equations`.

Each function checks its operands, finds or makes the array for the result, and launches a kernel on as many threads as
pay. A kernel shares its inner loops with training. What it adds is the split among threads and, where the caller's rows
aren't whole lines, the way into padded rows and back.
"""
