"""The report: one HTML page about all jobs that needs nothing besides itself, neither files nor network.

Whatever comes from manifests, file names or error messages is escaped; links are relative to the page's folder and can only be
paths; the page's own policy forbids it to load anything.
"""

from __future__ import annotations

import base64
import html
import os
import subprocess
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

from vasa_cli import __version__
from vasa_cli.batch.job import Job, Outcome
from vasa_cli.errors import VasaError
from vasa_cli.files import whole_file
from vasa_cli.requests import RenderRequest
from vasa_cli.video.formats import is_sequence
from vasa_cli.video.receipt import receipt_path

POSTER = 96  # px, the longer side
_SECONDS = 20  # that ffmpeg may take for one poster

_STYLE = """
:root{color-scheme:light dark;--line:#8884;--soft:#8882}
body{font:14px/1.4 system-ui,sans-serif;margin:1.5rem auto;max-width:70rem;padding:0 1rem}
h1{font-size:1.3rem;margin:0}p.sum{margin:.3rem 0 1rem;opacity:.8}
form{position:sticky;top:0;background:Canvas;padding:.6rem 0;display:flex;gap:.5rem 1rem;flex-wrap:wrap;align-items:center;
border-bottom:1px solid var(--line)}
input[type=search]{flex:1 1 14rem;padding:.3rem .5rem;font:inherit}
table{border-collapse:collapse;width:100%}th{text-align:left;cursor:pointer;user-select:none;white-space:nowrap}
th[aria-sort=ascending]::after{content:" \\25b2"}th[aria-sort=descending]::after{content:" \\25bc"}
td,th{padding:.35rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}
td.n{text-align:right;font-variant-numeric:tabular-nums}td.p{width:96px}td.p img{display:block;max-width:96px;max-height:96px}
td.w{overflow-wrap:anywhere}td.i{min-width:8rem}
.s{padding:.1rem .5rem;border-radius:1rem;background:var(--soft);white-space:nowrap}
.failed .s{background:#c62828;color:#fff}.done .s{background:#2e7d32;color:#fff}
code{font-size:.85em;opacity:.75}.e{color:#c62828}@media(prefers-color-scheme:dark){.e{color:#ff8a80}}
"""

_SCRIPT = """
const rows=[...document.querySelectorAll('tbody tr')],q=document.getElementById('q'),n=document.getElementById('n');
const boxes=[...document.querySelectorAll('input[name=status]')];
function filter(){const words=q.value.toLowerCase().split(/\\s+/).filter(Boolean);
const on=new Set(boxes.filter(b=>b.checked).map(b=>b.value));let shown=0;
for(const r of rows){const t=r.dataset.text;const ok=on.has(r.dataset.status)&&words.every(w=>t.includes(w));
r.hidden=!ok;shown+=ok;}n.textContent=shown+' of '+rows.length;}
q.addEventListener('input',filter);boxes.forEach(b=>b.addEventListener('change',filter));
document.querySelector('form').addEventListener('submit',e=>e.preventDefault());
const heads=[...document.querySelectorAll('th[data-key]')];
heads.forEach(h=>h.addEventListener('click',()=>{const k=h.dataset.key,up=h.ariaSort!=='ascending';
heads.forEach(o=>o.removeAttribute('aria-sort'));h.ariaSort=up?'ascending':'descending';
const value=r=>{const v=r.dataset[k];return v!==''&&!isNaN(v)?Number(v):v;};
rows.sort((a,b)=>{const x=value(a),y=value(b);return (x<y?-1:x>y?1:0)*(up?1:-1);});
const body=document.querySelector('tbody');rows.forEach(r=>body.append(r));}));
filter();
"""


def write_report(path: Path, outcomes: Sequence[Outcome], jobs: Sequence[Job], name: str, whole: dict[str, Any]) -> None:
    """Write the page about `outcomes` of `jobs` from the manifest `name`; whole: of `summary`. Raises UsageError."""
    by_id = {job.id: job for job in jobs}
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        posters = list(pool.map(lambda o: _poster_of(o, by_id.get(o.id)), outcomes))
    rows = [_row(o, by_id.get(o.id), poster, path) for o, poster in zip(outcomes, posters, strict=True)]
    with whole_file(path) as part:
        part.write_text(page(rows, outcomes, name, whole), encoding="utf-8")


def page(rows: Iterable[str], outcomes: Sequence[Outcome], name: str, whole: dict[str, Any]) -> str:
    """The whole page. rows: HTML of the table's rows, escaped."""
    counts = {status: n for status, n in whole["counts"].items() if n}
    boxes = "".join(
        f'<label><input type="checkbox" name="status" value="{_e(s)}" checked> {_e(s)} ({n})</label>' for s, n in counts.items()
    )
    total = f"{len(outcomes)} jobs in {whole['seconds']:.1f} s, {whole['frames']} frames, {whole['encodes']} photos encoded"
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; form-action 'none'"
    heads = "".join(
        f'<th data-key="{key}">{_e(text)}</th>' if key else "<th></th>"
        for key, text in (("", ""), ("id", "job"), ("status", "status"), ("frames", "frames"), ("seconds", "seconds"))
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="referrer" content="no-referrer">\n'
        f"<title>{_e(name)}: vasa batch</title><style>{_STYLE}</style></head>\n<body><h1>{_e(name)}</h1>\n"
        f'<p class="sum">{_e(total)}; vasa_cli {_e(__version__)}</p>\n'
        '<form><input type="search" id="q" placeholder="Filter: id, file, error" aria-label="Filter">'
        f'{boxes}<output id="n"></output></form>\n'
        f"<table><thead><tr>{heads}<th>output</th></tr></thead><tbody>\n"
        + "\n".join(rows)
        + f"\n</tbody></table>\n<script>{_SCRIPT}</script></body></html>\n"
    )


def _row(o: Outcome, job: Job | None, poster: bytes | None, place: Path) -> str:
    text = " ".join(filter(None, (o.id, o.status, o.output, o.error, o.note))).lower()
    image = f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(poster).decode()}">' if poster else ""
    frames = "" if o.frames is None else str(o.frames)
    cells = [
        f'<td class="p">{image}</td>',
        f'<td class="w i">{_e(o.id)}<br><code>{_e(o.task)}</code></td>',
        f'<td><span class="s">{_e(o.status)}</span></td>',
        f'<td class="n">{_e(frames)}</td>',
        f'<td class="n">{o.seconds:.1f}</td>',
        f'<td class="w">{_links(o, job, place)}{_remarks(o)}</td>',
    ]
    data = {"status": o.status, "id": o.id, "frames": frames or "-1", "seconds": f"{o.seconds:.3f}", "text": text}
    attributes = " ".join(f'data-{key}="{_e(value)}"' for key, value in data.items())
    return f'<tr class="{_e(o.status.replace(" ", "-"))}" {attributes}>{"".join(cells)}</tr>'


def _links(o: Outcome, job: Job | None, place: Path) -> str:
    target = Path(o.output) if job is None else job.target
    if not target.exists():
        return _e(o.output)
    links = f'<a href="{_href(target, place)}">{_e(o.output)}</a>'
    receipt = receipt_path(Path(o.output))
    if o.task == "render" and receipt.is_file():
        links += f' <a href="{_href(receipt, place)}">receipt</a>'
    return links


def _remarks(o: Outcome) -> str:
    lines = []
    if o.error:
        lines.append(f'<br><span class="e">exit {o.exit_code}: {_e(o.error)}</span>')
    if o.note:
        lines.append(f"<br>{_e(o.note)}")
    if o.attempts > 1:
        lines.append(f"<br>{o.attempts} attempts")
    if o.frame_hash:
        lines.append(f"<br><code>{_e(o.frame_hash[:23])}</code>")
    return "".join(lines)


def _href(target: Path, place: Path) -> str:
    """A relative path as a link: './' before it, so that no name is taken for a scheme."""
    try:
        relative = Path(os.path.relpath(target.absolute(), place.absolute().parent)).as_posix()
        return _e("./" + quote(relative))
    except ValueError:  # another drive
        return _e(target.absolute().as_uri())


def _e(text: str) -> str:
    return html.escape(text, quote=True)


def _poster_of(o: Outcome, job: Job | None) -> bytes | None:
    """A small JPEG from the middle of a finished video; None where there is none."""
    if job is None or o.status not in ("done", "skipped") or not isinstance(job.request, RenderRequest):
        return None
    source = job.output
    if is_sequence(source):
        pictures = sorted(source.parent.glob("*.png")) if source.parent.is_dir() else []
        if not pictures:
            return None
        source = pictures[len(pictures) // 2]
    middle = 0.0 if is_sequence(job.output) else (o.frames or 0) / 2 / 25  # at 25 frames a second, as most are
    return poster(source, middle) or (poster(source, 0.0) if middle else None)


def poster(source: Path, at: float) -> bytes | None:
    """The picture at this second, at most `POSTER` px wide and high, as JPEG."""
    from vasa_cli.video.ffmpeg import file_url, find_ffmpeg, safe_words

    try:
        command = [
            str(find_ffmpeg()), "-v", "error", "-ss", f"{at:.3f}", *safe_words(), "-i", file_url(source), "-frames:v", "1",
            "-vf", f"scale={POSTER}:{POSTER}:force_original_aspect_ratio=decrease", "-q:v", "6", "-f", "mjpeg", "pipe:1",
        ]  # fmt: skip
        made = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS)
    except (OSError, subprocess.SubprocessError, VasaError):
        return None
    return made.stdout if made.returncode == 0 and made.stdout else None
