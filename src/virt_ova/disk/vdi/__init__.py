"""The VDI format of VirtualBox."""
