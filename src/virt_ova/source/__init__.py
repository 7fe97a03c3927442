"""Where the bytes of a package are: a tar, a folder, an open file. Knows nothing of OVF."""
