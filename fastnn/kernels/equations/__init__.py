"""The equations and the mathematics in them: each formula stands here once."""
