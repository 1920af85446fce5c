"""Answers as a journal keeps them: texts that fit into a ping, and lead back to the same answers."""

from __future__ import annotations

from contextlib import suppress

import orjson

from cloudlb.resource.journal_file import Entry
from cloudlb.wire import Answer, BodyError, Opaque, fields_of, read_content, simple_name, wire_name

MAX_ANSWER = 256 * 2**10
"""Bytes of one answer as it stands in a ping. Of a larger one only the result is kept and sent."""
MAX_ANSWER_BRACKETS = 2000
"""Arrays and objects of one answer, of which a server reads a limited number in one ping."""

_PLAIN = wire_name(Answer())


def unknown_outcome(entry: Entry) -> Answer:
    """The answer to what was begun by a process that died."""
    command = simple_name(entry.name)
    return Answer(
        result=False,
        details=f"The agent was restarted while it carried out {command}: what has become of it is unknown",
    )


def kept(answer: Answer) -> tuple[Answer, str]:
    """What is sent and kept of an answer that can be written, and its fields as a JSON text."""
    text = orjson.dumps(fields_of(answer)).decode()
    size, containers = len(orjson.dumps(text)), brackets(text)
    if size > MAX_ANSWER or containers > MAX_ANSWER_BRACKETS:
        return kept(
            Answer(
                result=answer.result,
                details=f"The answer was too large to be kept: {size} bytes, {containers} arrays and objects",
            )
        )
    return answer, text


def answer_of(entry: Entry) -> Answer:
    """The answer that is kept; if it is not, or cannot be read, one that says so."""
    if entry.answer is None or entry.answer_name is None:
        return Answer(
            result=False, details="The command was carried out before; its answer was acknowledged and is not kept"
        )
    # The class may be one that this agent does not have any more.
    for name in (entry.answer_name, _PLAIN):
        with suppress(ValueError, TypeError, BodyError):
            answer = read_content(Opaque(name, orjson.loads(entry.answer)))
            if isinstance(answer, Answer):
                return answer
    return Answer(result=False, details="The command was carried out before; its answer in the journal is damaged")


def brackets(text: str) -> int:
    """Arrays and objects of a JSON text as a server counts them, which is quick and takes those in texts along."""
    return text.count("[") + text.count("{")
