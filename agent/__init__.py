"""The cloudlb agent: one hypervisor host on the wire."""
