"""The qcow2 format of QEMU."""
