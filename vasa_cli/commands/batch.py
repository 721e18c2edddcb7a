"""`vasa batch`: many videos from one manifest."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vasa_cli.commands import common
from vasa_cli.commands.options import words
from vasa_cli.commands.render import check_dtype, signing_of
from vasa_cli.errors import BatchError, InputError, UsageError, VasaError

if TYPE_CHECKING:
    from vasa_cli.batch.job import Job, Outcome
    from vasa_cli.batch.manifest import Shared
    from vasa_cli.batch.run import Executor

HOW = "Batch"
Manifest = Annotated[
    str | None, typer.Argument(metavar="MANIFEST", help="A .yaml, .jsonl or .csv file, or - for stdin.", show_default=False)
]
Form = Annotated[
    str,
    typer.Option(
        "--format",
        help="auto, yaml, jsonl or csv.",
        autocompletion=words("auto", "yaml", "jsonl", "csv"),
        rich_help_panel=common.INPUTS,
    ),
]
Schema = Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of manifests.", rich_help_panel=common.INPUTS)]
OutputDir = Annotated[
    Path | None,
    typer.Option(
        "--output-dir", help="Folder of the videos.", rich_help_panel=common.OUTPUT, show_default="the manifest's folder"
    ),
]
JournalFile = Annotated[
    Path | None,
    typer.Option(
        "--journal", "--state", help="Where it is written down what is done.", rich_help_panel=HOW,
        show_default="MANIFEST.journal.jsonl",
    ),
]  # fmt: skip
Resume = Annotated[
    bool,
    typer.Option("--resume", help="Skip jobs that are done and unchanged, do changed ones again.", rich_help_panel=HOW),
]
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="Run only the jobs that failed the last time.", rich_help_panel=HOW)
]
FailFast = Annotated[bool, typer.Option("--fail-fast/--keep-going", help="Stop at the first failed job.", rich_help_panel=HOW)]
Jobs = Annotated[int, typer.Option("--jobs", min=1, max=1024, help="Worker processes on this machine.", rich_help_panel=HOW)]
Shard = Annotated[
    str | None,
    typer.Option(
        "--shard", metavar="I/N", help="Only the I-th of N parts of the jobs, chosen by id.", rich_help_panel=HOW,
        show_default=False,
    ),
]  # fmt: skip
Scheduler = Annotated[
    str | None,
    typer.Option(
        "--scheduler", metavar="ADDRESS", help="Run on the dask cluster whose scheduler is at tcp://HOST:PORT.",
        rich_help_panel=HOW, show_default=False,
    ),
]  # fmt: skip
Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster", metavar="local:N", help="Run on a dask cluster of N workers, made here.", rich_help_panel=HOW,
        show_default=False,
    ),
]  # fmt: skip
Timeout = Annotated[
    float | None, typer.Option("--timeout", min=0.1, help="Seconds that a job may take.", rich_help_panel=HOW, show_default="any")
]
Retries = Annotated[
    int,
    typer.Option("--retries", min=0, max=100, help="Repeats of what failed for a passing reason.", rich_help_panel=HOW),
]
Progress = Annotated[
    str,
    typer.Option(
        "--progress",
        help="auto, bar, lines, json or none.",
        autocompletion=words("auto", "bar", "lines", "json", "none"),
        rich_help_panel=HOW,
    ),
]
Report = Annotated[
    Path | None,
    typer.Option("--report", help="Write an HTML page about all jobs here.", rich_help_panel=HOW, show_default=False),
]
Junit = Annotated[
    Path | None, typer.Option("--junit", help="Write JUnit XML here, for CI.", rich_help_panel=HOW, show_default=False)
]
BaseSeed = Annotated[
    int, typer.Option("--seed", min=0, max=2**31 - 1, help="Varies the seeds that ids give.", rich_help_panel=common.MOTION)
]
NoProvenance = Annotated[
    bool, typer.Option("--no-provenance", help="Leave the AI-generated mark out.", rich_help_panel=common.OUTPUT)
]
Sign = Annotated[
    tuple[Path, Path] | None,
    typer.Option(
        "--sign", metavar="CERT.pem KEY.pem", help="Sign every video as C2PA content credentials; see `vasa render`.",
        rich_help_panel=common.OUTPUT, show_default=False,
    ),
]  # fmt: skip
Dtype = Annotated[
    str | None, typer.Option("--dtype", help="float32 or float16.", rich_help_panel=common.RUN, show_default="float32")
]


@common.command
def batch(
    manifest: Manifest = None,
    output_dir: OutputDir = None,
    resume: Resume = False,
    retry_failed: RetryFailed = False,
    fail_fast: FailFast = False,
    overwrite: common.Overwrite = False,
    jobs: Jobs = 1,
    shard: Shard = None,
    scheduler: Scheduler = None,
    cluster: Cluster = None,
    timeout: Timeout = None,
    retries: Retries = 2,
    progress: Progress = "auto",
    report: Report = None,
    junit: Junit = None,
    journal_file: JournalFile = None,
    seed: BaseSeed = 0,
    form: Form = "auto",
    schema: Schema = False,
    weights: common.Weights = None,
    speech: common.Speech = None,
    device: common.Device = None,
    dtype: Dtype = None,
    threads: common.Threads = None,
    max_pixels: common.MaxPixels = None,
    max_duration: common.MaxDuration = None,
    refine: common.Refine = None,
    no_provenance: NoProvenance = False,
    sign: Sign = None,
    cache_dir: common.CacheDir = None,
    no_cache: common.NoCache = False,
    dry_run: common.DryRun = False,
    quiet: common.Quiet = False,
    as_json: common.AsJson = False,
) -> None:
    """Do every row of MANIFEST: render, encode or generate, each with its own options.

    Paths are relative to the manifest's folder; portrait and audio may be globs; `vasa batch --schema` tells all keys. A row's
    default seed comes from its id. Exit code 8: ran to the end, some jobs failed.
    """
    from vasa_cli.batch.manifest import Shared, read_manifest
    from vasa_cli.requests import SPEECH, check_speech

    if schema:
        from vasa_cli.batch.row import schema as schema_of

        print(json.dumps(schema_of(), indent=2))
        return
    if manifest is None:
        raise UsageError("batch needs MANIFEST, such as: vasa batch jobs.yaml; or --schema")
    common.use_threads(threads)
    common.use_limits(max_pixels, max_duration)
    if manifest == "-" and retry_failed and journal_file is None:
        raise UsageError("--retry-failed with a manifest from stdin needs --journal FILE")
    shared = Shared(
        output_dir, seed, common.check_weights(weights), device or "auto", check_dtype(dtype), not no_provenance, cache_dir,
        not no_cache, overwrite, bool(refine), check_speech(speech or SPEECH[0]), signing_of(sign),
    )  # fmt: skip
    executor = _executor(jobs, scheduler, cluster, timeout)
    rows = read_manifest(manifest, shared, form=form, text=_stdin() if manifest == "-" else None)
    if shared.sign is not None:
        from vasa_cli.trust.sign import check_signer

        check_signer(shared.sign)  # once, before thousands of jobs find it out one by one
    rows, part = _sharded(rows, shard)
    if dry_run:
        _plan(rows, as_json)
        return
    journal = journal_file or (None if manifest == "-" else Path(f"{manifest}{part}.journal.jsonl"))
    _check_files(rows, manifest, journal, report, junit)
    mode = {"resume": resume, "retry_failed": retry_failed, "fail_fast": fail_fast, "retries": retries}
    start = time.perf_counter()
    outcomes = _run(rows, journal, executor, mode, shared, progress, quiet, as_json)
    _tell(outcomes, rows, manifest, time.perf_counter() - start, report, junit, quiet, as_json)


def _stdin() -> str:
    from vasa_cli.batch.source import LARGEST

    data = sys.stdin.buffer.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise UsageError(f"stdin: more than {LARGEST >> 20} MB; split the manifest")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise InputError(f"stdin: the manifest is not UTF-8 text ({e})") from e


def _check_files(rows: list[Job], manifest: str, journal: Path | None, report: Path | None, junit: Path | None) -> None:
    """What is written at the end can be written, and over nothing else: known now, not after hours. Raises UsageError."""
    from vasa_cli.batch.places import check_others
    from vasa_cli.files import check_output

    named = {
        "--report": report,
        "--junit": junit,
        "--journal": journal,
        "the manifest": None if manifest == "-" else Path(manifest),
    }
    check_others(rows, {called: path for called, path in named.items() if path is not None and not path.is_char_device()})
    for flag in ("--report", "--junit"):
        if (path := named[flag]) is not None:
            try:
                check_output(path, overwrite=True)
            except UsageError as e:
                raise UsageError(f"{flag}: {str(e).replace('-o', flag)}") from e


def _executor(jobs: int, scheduler: str | None, cluster: str | None, timeout: float | None) -> Executor:
    from vasa_cli.batch.run import Here
    from vasa_cli.device import threads

    if (scheduler is not None) + (cluster is not None) + (jobs > 1) > 1:
        raise UsageError("--jobs, --scheduler and --cluster each say where jobs run: give one of them")
    if scheduler is not None or cluster is not None:
        from vasa_cli.batch.cluster import Dask, parse_cluster

        return Dask(scheduler, parse_cluster(cluster) if cluster is not None else None, threads(), timeout)
    if jobs > 1 or timeout is not None:  # only a process of its own can be ended
        from vasa_cli.batch.pool import Pool

        return Pool(jobs, threads(), timeout)
    return Here()


def _sharded(jobs: list[Job], shard: str | None) -> tuple[list[Job], str]:
    """The jobs of this part, and what its journal's name adds."""
    from vasa_cli.batch.shard import in_shard, parse_shard

    if shard is None:
        return jobs, ""
    number, count = parse_shard(shard)
    return [job for job in jobs if in_shard(job.id, number, count)], f".{number}of{count}"


def _run(
    rows: list[Job], place: Path | None, executor: Executor, mode: dict[str, Any], shared: Shared, progress: str, quiet: bool,
    as_json: bool,
) -> list[Outcome]:  # fmt: skip
    from vasa_cli.batch.faces import shared_faces
    from vasa_cli.batch.journal import Journal
    from vasa_cli.batch.run import run_batch
    from vasa_cli.batch.show import make_show
    from vasa_cli.portrait.cache import FaceCache

    def done(outcome: Outcome) -> None:
        if outcome.status in ("done", "skipped") and not as_json:
            print(outcome.output, flush=True)

    show = make_show(progress, quiet=quiet)
    kept = shared.use_cache and FaceCache(shared.cache_dir).keeps()
    apart = not kept and getattr(executor, "scheduler", None) is None  # another machine has other folders
    try:
        with Journal(place, resume=mode["resume"] or mode["retry_failed"]) as journal, shared_faces(rows, apart=apart) as jobs:
            outcomes = run_batch(jobs, journal, executor=executor, show=show, done=done, **mode)
            if shared.use_cache:
                FaceCache(shared.cache_dir).sweep()
            return outcomes
    finally:
        show.close()


def _tell(
    outcomes: list[Outcome], jobs: list[Job], manifest: str, seconds: float, report: Path | None, junit: Path | None,
    quiet: bool, as_json: bool,
) -> None:  # fmt: skip
    """Table, page, XML, summary; raises BatchError when jobs failed."""
    from vasa_cli.batch.run import counted
    from vasa_cli.batch.summary import summary, table

    whole = summary(outcomes, seconds)
    if as_json:
        common.emit({**whole, "jobs": [o.to_json() for o in outcomes]}, "", True)
    if not quiet:
        print(table(outcomes, whole), file=sys.stderr)
    name = "stdin" if manifest == "-" else Path(manifest).name
    if junit is not None:
        from vasa_cli.batch.summary import write_junit

        write_junit(junit, outcomes, name, seconds)
    if report is not None:
        from vasa_cli.batch.report import write_report

        write_report(report, outcomes, jobs, name, whole)
    counts = counted(outcomes)
    if counts["failed"]:
        raise BatchError(f"{counts['failed']} of {len(outcomes)} jobs failed; mend them and run again with --resume")


def _plan(jobs: list[Job], as_json: bool) -> None:
    """Check every job as `--dry-run` of its command would."""
    from vasa_cli.batch.summary import plan_of_job

    plans: list[dict[str, Any]] = []
    for job in jobs:
        try:
            plans.append({"id": job.id, "ok": True, **plan_of_job(job)})
        except VasaError as e:
            plans.append({"id": job.id, "ok": False, "error": common.one_line(str(e)), "exit_code": e.exit_code})
    lines = []
    for p in plans:
        length = f"{p['frames']} frames, {p['seconds']} s" if "frames" in p else "a face"
        lines.append(f"{p['id']}: {length} -> {p['output']}" if p["ok"] else f"{p['id']}: error: {p['error']}")
    common.emit({"dry_run": True, "jobs": plans}, "\n".join(lines), as_json)
    bad = sum(not p["ok"] for p in plans)
    if bad:
        raise BatchError(f"{bad} of {len(plans)} jobs would fail")
