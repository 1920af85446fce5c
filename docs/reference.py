"""Write into the pages what the program itself says: of settings, properties and the commands of the API.

`make reference` writes; a test compares. What is written is checked in, so that it is there on a git host and in an
editor, and a change of the API or of a default shows in the change that makes it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from textwrap import fill
from types import ModuleType
from typing import Any

from attrs import frozen

from cloudlb.api.command import Command, Success
from cloudlb.api.commands import TOPICS
from cloudlb.api.schema import describe_answer, describe_parameters
from cloudlb.domain.settings import SETTINGS, Setting
from cloudlb.domain.users import Role

DOCS = Path(__file__).parent
ETC = DOCS.parent / "etc"


def _plain(text: str) -> str:
    """Keep Markdown from reading anything into a text, but for what stands in backticks."""
    parts = text.split("`")
    parts[::2] = [re.sub(r"([<*_|\[\\])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)


def _wrapped(text: str) -> str:
    return fill(text, 130, break_long_words=False, break_on_hyphens=False)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


# Settings: below its heading each has what the code says, which ends with the paragraph of the default; then what is
# written by hand.

_SETTING = re.compile(r"(?m)^## `(?P<name>[a-z.]+)`\n(?P<text>(?:(?!^## ).*\n?)*)")


def _facts(setting: Setting) -> str:
    default = f"`{setting.default}`" if setting.default else "empty"
    scope = "global, or of a cluster of hosts" if setting.cluster_scope else "global"
    own = " CloudStack has no such setting." if setting.extension else ""
    facts = f"Default {default}; {scope}. {_sentence(setting.check.accepts)}{own}"
    return f"{_wrapped(_plain(setting.description))}\n\n{_wrapped(facts)}\n"


def settings(page: str) -> str:
    """The page of the settings, with what the code says of each."""
    preamble = page[: start.start()] if (start := _SETTING.search(page)) else page.rstrip("\n") + "\n\n"
    by_hand = {match["name"]: _by_hand(match["text"]) for match in _SETTING.finditer(page)}
    sections = (
        f"## `{setting.name}`\n\n{_facts(setting)}{by_hand.get(setting.name, '')}" for setting in SETTINGS.values()
    )
    return preamble + "\n".join(sections)


def _by_hand(text: str) -> str:
    """What follows the paragraph of the default."""
    paragraphs = text.strip("\n").split("\n\n")
    defaults = [number for number, paragraph in enumerate(paragraphs) if paragraph.startswith("Default ")]
    rest = paragraphs[defaults[0] + 1 :] if defaults else paragraphs
    return "".join(f"\n{paragraph}\n" for paragraph in rest if paragraph)


# Properties: the files in etc/ explain themselves, in paragraphs of comments that end with the keys they are about.

_KEY = re.compile(r"(?P<off>#?)(?P<key>[a-z][a-z.]*)=(?P<value>.*)")


@frozen
class _Group:
    """Keys that are explained together."""

    text: str
    keys: tuple[re.Match[str], ...]


def _groups(paragraph: str) -> Iterator[_Group]:
    text: list[str] = []
    keys: list[re.Match[str]] = []
    for line in paragraph.splitlines():
        if key := _KEY.fullmatch(line):
            keys.append(key)
            continue
        if keys:
            yield _Group(" ".join(text), tuple(keys))
            text, keys = [], []
        text.append(line.removeprefix("#").strip())
    yield _Group(" ".join(text), tuple(keys))


def _defaults(keys: tuple[re.Match[str], ...]) -> str:
    """What stands in the file: an example of what has to be given, the defaults of the rest."""
    lines = ", ".join(f"`{key['key']}={key['value']}`" for key in keys)
    if not keys[0]["off"]:
        return f"To be given: {lines}."
    return f"Default: {lines}." if len(keys) == 1 else f"Defaults: {lines}."


def _linked(text: str) -> str:
    return re.sub(r"docs/([a-z-]+)\.md", r"[\1](\1.md)", _plain(text))


def properties(page: str) -> str:
    """The page of the two files of properties, from the files."""
    parts = [page[: page.index("\n## ")] if "\n## " in page else page]
    for name in ("mgmt.properties", "agent.properties"):
        parts.append(f"## {name}\n")
        for paragraph in (ETC / name).read_text(encoding="utf-8").strip().split("\n\n"):
            for group in _groups(paragraph.replace("\n#\n", "\n")):
                if group.keys:
                    parts.append(f"### {', '.join('`' + key['key'] + '`' for key in group.keys)}\n")
                parts.append(f"{_wrapped(_linked(group.text))}\n")
                if group.keys:
                    parts.append(f"{_wrapped(_defaults(group.keys))}\n")
    return "\n".join(parts)


# The API: from the table that listApis answers from.


def _table(head: str, described: Iterable[Mapping[str, Any]]) -> str:
    """What listApis says of parameters or fields."""
    lines = [f"| {head} | type | |", "| --- | --- | --- |"]
    for row in described:
        name = f"**{row['name']}**" if row.get("required") else row["name"]
        lines.append(f"| {name} | {row['type']} | {_plain(row['description'])} |")
    return "\n".join(lines) + "\n"


def _answer_name(answer: type[Any]) -> str:
    """``HostAnswer`` is about a "Host", ``OutOfBandAnswer`` about an "Out of band"."""
    return re.sub(r"(?<=[a-z])([A-Z])", lambda match: f" {match[1].lower()}", answer.__name__.removesuffix("Answer"))


def _who(command: Command[Any]) -> str:
    if command.public:
        return "Anybody may call it"
    return "Every user may call it" if command.is_for(Role.READ_ONLY) else "Administrators may call it"


def _command(command: Command[Any]) -> str:
    answer = "success"
    if command.answer is not Success:
        name = _answer_name(command.answer)
        answer = f"[{name}](#{name.lower().replace(' ', '-')})"
    answer = f"a job, whose result is {answer}" if command.is_async else answer
    own = " cloudlb's own." if command.extension else ""
    text = f"### `{command.name}`\n\n{_sentence(_plain(command.description))}{own}\n\n"
    text += f"{_who(command)}; the answer is {answer}.\n"
    parameters = describe_parameters(command.arguments)
    return f"{text}\n{_table('parameter', parameters)}" if parameters else text


def _topic(module: ModuleType) -> str:
    """What the first words of a module's docstring call it."""
    return re.split(r"[:.,]", module.__doc__ or module.__name__, maxsplit=1)[0]


def api(page: str) -> str:
    """The page of the API's commands."""
    parts = [page[: page.index("\n## ")] if "\n## " in page else page]
    answers: dict[str, type[Any]] = {}
    for topic in TOPICS:
        parts.append(f"## {_plain(_topic(topic))}\n")
        parts += map(_command, topic.COMMANDS)
        answers |= {_answer_name(command.answer): command.answer for command in topic.COMMANDS}
    parts.append("## What is answered\n\nFields without a value are left out.\n")
    for name, answer in sorted(answers.items()):
        if answer is not Success:
            parts.append(f"### {name}\n\n{_table('field', describe_answer(answer))}")
    return "\n".join(parts)


PAGES: Mapping[str, Callable[[str], str]] = {
    "settings.md": settings,
    "properties.md": properties,
    "api-reference.md": api,
}
"""What makes each page of what it was."""


def main() -> None:
    """Write all of them."""
    for name, make in PAGES.items():
        path = DOCS / name
        path.write_text(make(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
