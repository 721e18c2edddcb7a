"""What a batch says at its end: a table for people, numbers for scripts, JUnit XML for CI; and the plan of one job."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from vasa_cli.batch.job import Job, Outcome
from vasa_cli.batch.run import counted
from vasa_cli.files import whole_file
from vasa_cli.requests import GenerateRequest, RenderRequest

ROWS = 30  # of the table; in larger batches it holds what is not simply done
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def summary(outcomes: Sequence[Outcome], seconds: float) -> dict[str, Any]:
    """Numbers of the whole batch. seconds: of the wall; work_seconds: of all jobs together."""
    return {
        "counts": counted(list(outcomes)),
        "seconds": round(seconds, 3),
        "work_seconds": round(sum(o.seconds for o in outcomes), 3),
        "frames": sum(o.frames or 0 for o in outcomes if o.status == "done"),
        "encodes": sum(o.encoded for o in outcomes),
        "repeated": sum(o.attempts - 1 for o in outcomes),
    }


def table(outcomes: Sequence[Outcome], whole: dict[str, Any]) -> str:
    """Lines for stderr: jobs, at most `ROWS`, then one line about all."""
    shown = list(outcomes) if len(outcomes) <= ROWS else [o for o in outcomes if o.status not in ("done", "skipped")][:ROWS]
    rows = [("id", "status", "frames", "seconds", "output")] if shown else []
    for o in shown:
        what = f"exit {o.exit_code}: {o.error}" if o.status == "failed" else o.output
        rows.append((o.id, o.status, "" if o.frames is None else str(o.frames), f"{o.seconds:.1f}" if o.seconds else "", what))
    widths = [max(len(row[i]) for row in rows) for i in range(4)] if rows else []
    lines = ["  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]) for row in rows]
    counts = ", ".join(f"{n} {status}" for status, n in whole["counts"].items() if n) or "no jobs"
    pace = f", {whole['frames'] / whole['seconds']:.0f} frames/s" if whole["frames"] and whole["seconds"] else ""
    return "\n".join([*lines, f"batch: {counts} in {whole['seconds']:.1f} s{pace}"])


def write_junit(path: Path, outcomes: Sequence[Outcome], name: str, seconds: float) -> None:
    """One test case a job. Raises UsageError when the place cannot be written."""
    counts = counted(list(outcomes))
    totals = {"tests": str(len(outcomes)), "failures": str(counts["failed"]), "errors": "0"}
    totals |= {"skipped": str(counts["skipped"] + counts["not run"]), "time": f"{seconds:.3f}"}
    root = ElementTree.Element("testsuites", {**totals, "name": "vasa batch"})
    suite = ElementTree.SubElement(root, "testsuite", {**totals, "name": _clean(name)})
    for o in outcomes:
        attributes = {"classname": _clean(name), "name": _clean(o.id), "time": f"{o.seconds:.3f}"}
        case = ElementTree.SubElement(suite, "testcase", attributes)
        if o.status == "failed":
            text = _clean(o.error or "failed")
            ElementTree.SubElement(case, "failure", {"message": text, "type": f"exit {o.exit_code}"}).text = text
        elif o.status != "done":
            reason = "done before" if o.status == "skipped" else "not run"
            ElementTree.SubElement(case, "skipped", {"message": reason})
        ElementTree.SubElement(case, "system-out").text = _clean(o.output)
    ElementTree.indent(root)
    with whole_file(path) as part:
        ElementTree.ElementTree(root).write(part, encoding="utf-8", xml_declaration=True)


def _clean(text: str) -> str:
    """Without the characters that XML cannot hold."""
    return _NOT_XML.sub("?", text)


def plan_of_job(job: Job) -> dict[str, Any]:
    """What the job would do. Raises what it would."""
    from vasa_cli import pipeline
    from vasa_cli.record import face_is_cached, motion_plan, plan_of

    request = job.request
    if isinstance(request, RenderRequest):
        return {"task": "render", **plan_of(request)}
    if isinstance(request, GenerateRequest):
        look = {"face_cached": face_is_cached(job.face)} if job.face is not None else {}
        return {"task": "generate", **motion_plan(request), **look}
    pipeline.check_output(job.output, overwrite=request.overwrite, create=False)
    return {"task": "encode", "output": str(job.output), "face_cached": face_is_cached(request)}
