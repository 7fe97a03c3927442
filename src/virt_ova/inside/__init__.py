"""What is inside a guest's disks: seen by libguestfs, which mounts them in a small machine of its own, never here."""
