"""`vasa batch`: many videos from one manifest."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vasa_cli.commands import common
from vasa_cli.commands.render import check_dtype
from vasa_cli.errors import BatchError, UsageError, VasaError
from vasa_cli.progress import make_reporter

if TYPE_CHECKING:
    from vasa_cli.batch.manifest import Job
    from vasa_cli.batch.run import Outcome

Manifest = Annotated[
    str, typer.Argument(metavar="MANIFEST", help="A .yaml, .jsonl or .csv file, or - for stdin.", show_default=False)
]
Form = Annotated[str, typer.Option("--format", help="auto, yaml, jsonl or csv.", rich_help_panel=common.INPUTS)]
OutputDir = Annotated[
    Path | None,
    typer.Option(
        "--output-dir", help="Folder of the videos.", rich_help_panel=common.OUTPUT, show_default="the manifest's folder"
    ),
]
StateFile = Annotated[
    Path | None,
    typer.Option("--state", help="Where progress is kept.", rich_help_panel=common.RUN, show_default="MANIFEST.state.jsonl"),
]
Resume = Annotated[
    bool,
    typer.Option("--resume", help="Skip jobs that an earlier run finished with the same inputs.", rich_help_panel=common.RUN),
]
FailFast = Annotated[
    bool, typer.Option("--fail-fast/--keep-going", help="Stop at the first failed job.", rich_help_panel=common.RUN)
]
BaseSeed = Annotated[
    int, typer.Option("--seed", min=0, max=2**31 - 1, help="Varies the seeds that ids give.", rich_help_panel=common.MOTION)
]
NoProvenance = Annotated[
    bool, typer.Option("--no-provenance", help="Leave the AI-generated mark out.", rich_help_panel=common.OUTPUT)
]
Dtype = Annotated[
    str | None, typer.Option("--dtype", help="float32 or float16.", rich_help_panel=common.RUN, show_default="float32")
]


@common.command
def batch(
    manifest: Manifest,
    output_dir: OutputDir = None,
    resume: Resume = False,
    fail_fast: FailFast = False,
    overwrite: common.Overwrite = False,
    seed: BaseSeed = 0,
    form: Form = "auto",
    state_file: StateFile = None,
    weights: common.Weights = None,
    speech: common.Speech = None,
    device: common.Device = None,
    dtype: Dtype = None,
    threads: common.Threads = None,
    refine: common.Refine = None,
    no_provenance: NoProvenance = False,
    cache_dir: common.CacheDir = None,
    no_cache: common.NoCache = False,
    dry_run: common.DryRun = False,
    quiet: common.Quiet = False,
    as_json: common.AsJson = False,
) -> None:
    """Render every row of MANIFEST, each with portrait, audio and options.

    A row may hold id, output, preset, seed, steps, speech, face, crop, fit, size, background, refine, crf, motion and controls.
    Paths are relative to the manifest's folder. A row's default seed comes from its id. Exit code 8: ran to the end, some jobs
    failed.
    """
    from vasa_cli.batch.manifest import Shared, read_manifest
    from vasa_cli.batch.run import check_outputs, run_batch
    from vasa_cli.batch.state import State
    from vasa_cli.requests import SPEECH, check_speech

    common.use_threads(threads)
    if manifest == "-" and resume and state_file is None:
        raise UsageError("--resume with a manifest from stdin needs --state FILE")
    shared = Shared(
        output_dir,
        seed,
        common.check_weights(weights),
        device or "auto",
        check_dtype(dtype),
        not no_provenance,
        cache_dir,
        not no_cache,
        overwrite,
        bool(refine),
        check_speech(speech or SPEECH[0]),
    )
    jobs = read_manifest(manifest, shared, form=form, text=sys.stdin.read() if manifest == "-" else None)
    if dry_run:
        _plan(jobs, as_json)
        return
    place = state_file or (None if manifest == "-" else Path(f"{manifest}.state.jsonl"))
    state = State(place, resume=resume)
    check_outputs(jobs, state, overwrite=overwrite)

    def done(outcome: Outcome) -> None:
        if outcome.status == "failed":
            print(f"vasa: {outcome.id}: error: {outcome.error}", file=sys.stderr, flush=True)
        elif outcome.status in ("done", "skipped") and not as_json:
            print(outcome.output, flush=True)

    outcomes = run_batch(jobs, state, lambda prefix: make_reporter(quiet=quiet, prefix=prefix), fail_fast=fail_fast, done=done)
    counts = {status: sum(o.status == status for o in outcomes) for status in ("done", "skipped", "failed", "not run")}
    if as_json:
        common.emit({"counts": counts, "jobs": [o.to_json() for o in outcomes]}, "", True)
    if not quiet:
        print("batch: " + ", ".join(f"{n} {status}" for status, n in counts.items() if n), file=sys.stderr)
    if counts["failed"]:
        raise BatchError(f"{counts['failed']} of {len(outcomes)} jobs failed; mend them and run again with --resume")


def _plan(jobs: list[Job], as_json: bool) -> None:
    """Check every job as `render --dry-run` would."""
    from vasa_cli.record import plan_of

    plans: list[dict[str, Any]] = []
    for job in jobs:
        try:
            plans.append({"id": job.id, "ok": True, **plan_of(job.request)})
        except VasaError as e:
            plans.append({"id": job.id, "ok": False, "error": common.one_line(str(e)), "exit_code": e.exit_code})
    lines = [
        f"{p['id']}: {p['frames']} frames, {p['seconds']} s -> {p['output']}" if p["ok"] else f"{p['id']}: error: {p['error']}"
        for p in plans
    ]
    common.emit({"dry_run": True, "jobs": plans}, "\n".join(lines), as_json)
    bad = sum(not p["ok"] for p in plans)
    if bad:
        raise BatchError(f"{bad} of {len(plans)} jobs would fail")
