"""VMX, VMware's own description of a machine, to and from the values of an OVF descriptor. Pure, no input or output."""
