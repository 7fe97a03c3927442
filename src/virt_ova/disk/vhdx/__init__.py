"""The VHDX format of Hyper-V."""
