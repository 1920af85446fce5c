"""cloudlb: the agent plane of a cloud."""

from cloudlb._version import __version__

__all__ = ["__version__"]
