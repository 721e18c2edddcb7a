"""Text as it may be shown: what strangers wrote into files (names, tags, receipts) must not steer a terminal or break a line."""

from __future__ import annotations

import json
from typing import Any

UNSHOWN = "\N{REPLACEMENT CHARACTER}"


def one_line(text: str) -> str:
    """The text on one line, without control characters, such as those that a terminal obeys."""
    return "".join(c if c.isprintable() else UNSHOWN for c in " ".join(text.split()))


def to_json(data: Any, indent: int | None = None) -> str:
    """JSON that can be written as UTF-8: letters as they are, unless there are some that UTF-8 does not have (from a file's name
    in another encoding), which then are escaped, as all are."""
    text = json.dumps(data, ensure_ascii=False, indent=indent)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(data, indent=indent)
    return text
