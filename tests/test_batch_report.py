"""What a batch says at its end: table, summary, JUnit XML, and a page that loads nothing, in a browser where there is one."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from vasa_cli.batch.job import Job, Outcome
from vasa_cli.batch.manifest import Shared, read_manifest
from vasa_cli.batch.report import write_report
from vasa_cli.batch.show import make_show
from vasa_cli.batch.summary import summary, table, write_junit
from vasa_cli.errors import UsageError

EVIL = "</script><script>document.title='hacked'</script>\"'&\u202e"


def batch_of(folder: Path, count: int) -> tuple[list[Outcome], list[Job]]:
    """Every tenth job failed, one was not run; a video under a name that looks like a scheme."""
    video = folder / "javascript:alert(1) #%.mp4"
    make_video(video)
    rows, outcomes = [], []
    for i in range(count):
        name = f"job{i:03d}"
        output = str(video) if i == 0 else f"{name}.mp4"
        if i and i % 10:
            shutil.copy(video, folder / output)
        rows.append({"id": name, "portrait": "p.png", "audio": "s.wav", "output": output})
        status = "failed" if i and i % 10 == 0 else "done"
        error = f"no face: {EVIL}" if status == "failed" else None
        outcomes.append(
            Outcome(name, status, str(folder / output), error=error, exit_code=4 if error else 0, frames=6, seconds=i / 7)
        )
    outcomes[-1] = Outcome(outcomes[-1].id, "not run", outcomes[-1].output)
    (folder / "jobs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return outcomes, read_manifest(str(folder / "jobs.jsonl"), Shared())


def make_video(path: Path) -> None:
    import numpy as np

    from vasa_cli.video.writer import VideoWriter

    plain = path.with_name("plain.mp4")
    from fractions import Fraction

    with VideoWriter(plain, (64, 64), Fraction(25), 6) as writer:
        writer.write(np.tile(np.arange(64, dtype=np.uint8)[None, None, :, None] * 4, (6, 64, 1, 3)))
    plain.rename(path)


def test_the_page_holds_all_it_needs_and_escapes_what_it_is_given(tmp_path: Path) -> None:
    outcomes, jobs = batch_of(tmp_path, 21)
    page = tmp_path / "sub" / "out.html"
    write_report(page, outcomes, jobs, f"jobs{EVIL}", summary(outcomes, 3.0))
    text = page.read_text(encoding="utf-8")
    assert text.count("<script>") == 1 and EVIL not in text
    assert not re.search(r"(src|href)=\"(?!data:image/jpeg;base64,|\.\./|\./)", text)  # nothing from anywhere else
    assert 'href="./../javascript%3Aalert%281%29%20%23%25.mp4"' in text
    assert text.count("data:image/jpeg") == 19  # posters of all that are done
    assert "default-src 'none'" in text
    assert not list(page.parent.glob("*.part*"))


def test_junit_counts_and_survives_odd_characters(tmp_path: Path) -> None:
    outcomes, _ = batch_of(tmp_path, 21)
    outcomes[10] = Outcome("job010", "failed", "x.mp4", error=f"bad \x00\x1b\ud800 {EVIL}", exit_code=3)
    write_junit(tmp_path / "out.xml", outcomes, "jobs\x00.yaml", 3.0)
    suite = ElementTree.parse(tmp_path / "out.xml").getroot().find("testsuite")
    assert suite is not None
    assert {k: suite.get(k) for k in ("tests", "failures", "skipped")} == {"tests": "21", "failures": "1", "skipped": "1"}
    failures = suite.findall("testcase/failure")
    assert failures[0].get("type") == "exit 3" and EVIL in str(failures[0].text)


def test_table_and_summary(tmp_path: Path) -> None:
    outcomes, _ = batch_of(tmp_path, 21)
    whole = summary(outcomes, 2.0)
    assert whole["counts"] == {"done": 19, "skipped": 0, "failed": 1, "not run": 1}
    assert table(outcomes, whole).splitlines()[-1] == "batch: 19 done, 1 failed, 1 not run in 2.0 s, 57 frames/s"
    many = outcomes * 3  # of many, only what is not simply done
    assert len(table(many, summary(many, 2.0)).splitlines()) == 1 + 6 + 1


def test_progress_for_machines_is_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    show = make_show("json", quiet=False)
    show.begin(1, 2)
    show.start("a", 1)
    show.say("a", "progress", stage="render", done=3, total=6)
    show.end(Outcome("a", "failed", "a.mp4", error="no face"))
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["event"] for line in lines] == ["begin", "start", "progress", "end"]
    assert lines[2]["done"] == 3 and lines[3]["error"] == "no face"
    with pytest.raises(UsageError, match="--progress 'xml'"):
        make_show("xml", quiet=False)


CHECK = """
const wait=()=>new Promise(r=>setTimeout(r,0));const out={};
const seen=()=>[...document.querySelectorAll('tbody tr')].filter(r=>r.getClientRects().length).length;
const set=async(v)=>{const q=document.getElementById('q');q.value=v;q.dispatchEvent(new Event('input'));await wait();};
const tick=async(v)=>{document.querySelector(`input[value="${v}"]`).click();await wait();};
(async()=>{out.all=seen();await set('job012');out.one=seen();await set('no face');out.failed=seen();await set('');
await tick('done');out.undone=seen();await tick('failed');await tick('not run');out.none=seen();await tick('done');
await tick('failed');document.querySelector('th[data-key=seconds]').click();
document.querySelector('th[data-key=seconds]').click();

out.first=document.querySelector('tbody tr').dataset.id;
out.images=[...document.images].filter(i=>i.complete&&i.naturalWidth).length;
out.title=document.title;const t=performance.getEntriesByType('navigation')[0];out.ms=t.domContentLoadedEventEnd;

out.loaded=performance.getEntriesByType('resource').filter(r=>!r.name.startsWith('data:')).length;
const p=document.createElement('pre');p.id='result';p.textContent=JSON.stringify(out);document.body.append(p);})();
"""


def browse(page: Path, *words: str) -> str:
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
    if browser is None:
        pytest.skip("no Chromium here")
    profile = page.parent / "profile"
    command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", *words, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120).stdout


def test_the_page_in_a_browser_with_200_jobs(tmp_path: Path) -> None:
    outcomes, jobs = batch_of(tmp_path, 200)
    page = tmp_path / "out.html"
    write_report(page, outcomes, jobs, "jobs.jsonl", summary(outcomes, 3.0))
    start = time.perf_counter()
    browse(page, "--dump-dom")
    whole = time.perf_counter() - start  # with the start of the browser
    checked = tmp_path / "checked.html"
    text = page.read_text(encoding="utf-8")
    checked.write_text(text.replace("</body>", f"<script>window.addEventListener('load',()=>{{{CHECK}}})</script></body>"))
    found = re.search(r'<pre id="result">(.*?)</pre>', browse(checked, "--virtual-time-budget=5000", "--dump-dom"))
    assert found is not None
    seen: dict[str, Any] = json.loads(found[1])
    print(seen, f"{whole:.1f} s with the start of the browser")
    assert seen.pop("ms") < 2000
    assert seen == {
        "all": 200, "one": 1, "failed": 19, "undone": 20, "none": 0, "first": "job198", "images": 180, "loaded": 0,
        "title": "jobs.jsonl: vasa batch",
    }  # fmt: skip
