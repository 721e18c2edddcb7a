"""Parts of a manifest for machines without a scheduler, chosen by id: neither the order of rows nor other rows move a job."""

from __future__ import annotations

import hashlib
import re

from vasa_cli.errors import UsageError


def parse_shard(text: str) -> tuple[int, int]:
    """'I/N' to (I, N), 1 <= I <= N. Raises UsageError."""
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip())
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"--shard {text!r}: expected I/N with I from 1 to N, such as 1/2")
    return int(match[1]), int(match[2])


def in_shard(job_id: str, number: int, count: int) -> bool:
    """Whether this job is in part `number` of `count`: each job is in exactly one of them."""
    return int.from_bytes(hashlib.sha256(job_id.encode()).digest()[4:12], "big") % count == number - 1
