"""Targets: one driver per kind of hypervisor, found by connection URI."""
