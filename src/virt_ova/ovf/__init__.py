"""OVF descriptors: from bytes to values. Pure, no input or output."""
