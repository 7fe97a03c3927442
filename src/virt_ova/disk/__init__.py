"""The disk engine: readers, writers, and the copy between them."""
