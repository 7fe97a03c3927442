"""A package: an archive, its descriptor, its manifest, its disks."""
