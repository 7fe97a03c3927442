"""The plan: what will be done, as a pure value."""
