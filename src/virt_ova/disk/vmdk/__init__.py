"""VMDK sparse extents: what VMware calls hosted sparse and stream-optimized."""
