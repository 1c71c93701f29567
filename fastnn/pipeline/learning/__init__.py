"""Training on tables, in memory and out of core."""
