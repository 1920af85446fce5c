"""How large an answer may be that goes into the row of a job, or over the bus."""

from __future__ import annotations

import orjson

from cloudlb.resource.journal_answers import MAX_ANSWER
from cloudlb.wire import Answer, Opaque, fields_of, wire_name


def fitted(answer: Answer | Opaque) -> Answer | Opaque:
    """The answer, or, if it has more than MAX_ANSWER bytes, what is kept of it: its class and its result.

    That is what an agent's journal keeps, too, so that it does not matter which way an answer has come.
    """
    fields = fields_of(answer)
    size = len(orjson.dumps(fields))
    if size <= MAX_ANSWER:
        return answer
    details = f"The answer was too large to be kept: {size} bytes of at most {MAX_ANSWER}"
    return Opaque(wire_name(answer), {"result": fields.get("result") is True, "details": details})
