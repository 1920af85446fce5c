"""What settings accept: each check returns the text normalized, or raises ValueError and says why it would not do.

It also says in words what it accepts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from ipaddress import ip_network

from attrs import frozen

from cloudlb.domain.balancing import Algorithm
from cloudlb.domain.host_list import parse_addresses

MAX_SECONDS = 2**31 - 1
"""An agent of CloudStack's keeps intervals in a signed 32-bit number of seconds times 1000 in 64 bits."""

MAX_PING_INTERVAL = 86_400
"""A day: an agent that pings less often is as good as not supervised."""


@frozen
class Check:
    """What a setting accepts."""

    accepts: str
    """In words, for people."""
    normalize: Callable[[str], str]

    def __call__(self, text: str) -> str:
        """Return the text normalized, or raise ValueError."""
        return self.normalize(text)


def _accepting(words: str) -> Callable[[Callable[[str], str]], Check]:
    return partial(Check, words)


@_accepting("addresses, comma-separated")
def addresses(text: str) -> str:
    """Addresses of servers, comma-separated."""
    return ",".join(parse_addresses(text))


@_accepting("one of " + ", ".join(f"`{one.value}`" for one in Algorithm))
def algorithm(text: str) -> str:
    """A balancing algorithm."""
    name = text.strip().lower()
    if name not in (every := [one.value for one in Algorithm]):
        raise ValueError(f"unknown algorithm {text!r}; known are {', '.join(every)}")
    return name


MAX_WEIGHT = 1000
"""Of a server; the least is 1."""


@_accepting(f"pairs of an address and a whole number from 1 to {MAX_WEIGHT}, comma-separated")
def weights(text: str) -> str:
    """``10.0.0.1=2,10.0.0.2=1``: addresses of servers and their weights; one that is left out weighs 1."""
    parts = [part.partition("=") for part in filter(None, map(str.strip, text.split(",")))]
    if not parts:
        return ""
    weight = whole(1, MAX_WEIGHT, "(a server's weight)")
    for address, equals, value in parts:
        if not (equals and value.strip()):
            raise ValueError(f"{address!r} has no weight, such as 10.0.0.1=2")
    found = parse_addresses(",".join(address for address, _, _ in parts))
    return ",".join(f"{address}={weight(value)}" for address, (_, _, value) in zip(found, parts, strict=True))


def whole(least: int, most: int = MAX_SECONDS, unit: str = "seconds") -> Check:
    """A whole number of something."""

    def check(text: str) -> str:
        # isascii: int() also takes digits of other scripts, which no other reader of the value would.
        stripped = text.strip()
        if not (stripped.isascii() and stripped.removeprefix("-").isdigit()):
            raise ValueError(f"{text!r} is not a whole number of {unit}")
        if len(stripped) > len(str(MAX_SECONDS)) or not least <= int(stripped) <= most:
            raise ValueError(f"{stripped[:20]} is not between {least} and {most} {unit}")
        return str(int(stripped))

    return Check(f"a whole number of {unit}, from {least}{'' if most == MAX_SECONDS else f' to {most}'}", check)


def factor(least: float, most: float) -> Check:
    """A number with or without a decimal point."""

    def check(text: str) -> str:
        stripped = text.strip()
        before, _, after = stripped.partition(".")
        if not (stripped.isascii() and before.isdigit() and (after.isdigit() or not after) and len(stripped) <= 10):
            raise ValueError(f"{text!r} is not a number such as 2.5")
        if not least <= float(stripped) <= most:
            raise ValueError(f"{stripped} is not between {least:g} and {most:g}")
        return stripped

    return Check(f"a number such as 2.5, from {least:g} to {most:g}", check)


@_accepting("pairs of a name and seconds, comma-separated")
def command_timeouts(text: str) -> str:
    """``CheckHealthCommand=5,CheckOnHostCommand=5``: class names without package, and seconds."""
    seconds = whole(1)
    parts = []
    for part in filter(None, map(str.strip, text.split(","))):
        name, equals, value = map(str.strip, part.partition("="))
        if not (equals and name.isascii() and name.isidentifier()):
            raise ValueError(f"{part!r} is not a command's name and seconds, such as CheckHealthCommand=5")
        parts.append(f"{name}={seconds(value)}")
    found = [part.partition("=")[0] for part in parts]
    if repeated := next((name for name in found if found.count(name) > 1), None):
        raise ValueError(f"{repeated} stands there twice")
    return ",".join(parts)


@_accepting("names, comma-separated, each once")
def names(text: str) -> str:
    """Names, comma-separated, each once."""
    found = list(filter(None, map(str.strip, text.split(","))))
    for name in found:
        if not (name.isascii() and name.isidentifier()):
            raise ValueError(f"{name!r} is not a name")
        if found.count(name) > 1:
            raise ValueError(f"{name} stands there twice")
    return ",".join(found)


@_accepting("IP addresses and networks, comma-separated")
def networks(text: str) -> str:
    """IP addresses and networks, comma-separated: ``127.0.0.1,10.0.0.0/8,fd00::/8``."""
    found = []
    for part in filter(None, map(str.strip, text.split(","))):
        try:
            network = ip_network(part)
        except ValueError as error:
            raise ValueError(f"{part!r} is neither an address nor a network such as 10.0.0.0/8: {error}") from None
        found.append(str(network.network_address) if network.num_addresses == 1 else str(network))
    return ",".join(dict.fromkeys(found))


@_accepting("true or false")
def truth(text: str) -> str:
    """True or false, in any case."""
    value = text.strip().lower()
    if value not in ("true", "false"):
        raise ValueError(f"{text!r} is neither true nor false")
    return value
