"""Resources that come with the agent, and how one is found by the name of its class."""

from __future__ import annotations

from importlib import import_module

from cloudlb.resource.interface import ServerResource

OURS = ("agent.resources.simulator.SimulatorResource",)


class UnknownResource(ValueError):
    """The ``resource`` property names no class that could be a resource."""


def load_resource(name: str) -> ServerResource:
    """Make the resource whose class has a dotted name.

    Raises:
        UnknownResource: there is no such class, or it is none of a resource.
    """
    module, _, class_name = name.rpartition(".")
    try:
        found = getattr(import_module(module), class_name)
    except (ImportError, AttributeError, ValueError) as error:
        hint = " (a class of CloudStack's own agent)" if name.startswith("com.cloud.") else ""
        raise UnknownResource(
            f"resource={name}{hint} cannot be loaded: {error}; this agent comes with {', '.join(OURS)}"
        ) from error
    if not (isinstance(found, type) and issubclass(found, ServerResource)):
        raise UnknownResource(f"resource={name} is no ServerResource; this agent comes with {', '.join(OURS)}")
    return found()
