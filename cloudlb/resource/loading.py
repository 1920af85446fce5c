"""Finding a resource by the dotted name of its class, as agent.properties and direct hosts give it."""

from __future__ import annotations

from importlib import import_module

from cloudlb.resource.interface import ServerResource

SIMULATOR = "agent.resources.simulator.SimulatorResource"
"""The resource that plays a host."""


class UnknownResource(ValueError):
    """A name is of no class that could be a resource; the message says why."""


def load_resource(name: str) -> ServerResource:
    """Import the class and make one; it is not configured.

    Raises:
        UnknownResource: there is no such class, or it is none of a resource.
        Exception: whatever its module raises.
    """
    module, _, class_name = name.rpartition(".")
    try:
        found = getattr(import_module(module), class_name)
    except (ImportError, AttributeError, ValueError) as error:
        hint = " (a class of CloudStack's own agent)" if name.startswith("com.cloud.") else ""
        raise UnknownResource(
            f"resource={name}{hint} cannot be loaded: {error}; {SIMULATOR} comes with this program"
        ) from error
    if not (isinstance(found, type) and issubclass(found, ServerResource)):
        raise UnknownResource(f"resource={name} is no ServerResource; {SIMULATOR} comes with this program")
    return found()
