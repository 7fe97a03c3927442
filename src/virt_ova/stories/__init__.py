"""The stories: what virt-ova does, from beginning to end, each short enough to read aloud."""
