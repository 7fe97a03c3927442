"""The folder target ``dir:PATH``: disks, domain XML and a script that runs the machine. No daemon, no hypervisor."""

from virt_ova.target.directory.driver import DirectoryDriver

DRIVER = DirectoryDriver()
"""What the entry point names."""
