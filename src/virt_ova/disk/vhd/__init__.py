"""The VHD format of Virtual PC and Hyper-V."""
