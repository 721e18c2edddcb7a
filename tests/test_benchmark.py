"""The benchmark measures what it says: parts write their own lines, fragments are counted, the floor really warps."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import bench_common  # noqa: E402
import bench_floors  # noqa: E402
import bench_latency  # noqa: E402
import bench_stream  # noqa: E402
import benchmark  # noqa: E402


def test_each_part_replaces_its_own_lines(tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    sections = {"benchmark": "old table", "other": "kept"}
    blocks = [f"<!-- {name}:start -->\n{text}\n<!-- {name}:end -->\n" for name, text in sections.items()]
    page.write_text("\n".join(["# Results\n", *blocks]))
    benchmark.write("floors", "first floors", page)
    benchmark.write("stages", "the stages", page)
    benchmark.write("floors", "second floors", page)
    text = page.read_text()
    assert "old table" not in text
    assert "first floors" not in text
    assert text.index("the stages") < text.index("second floors") < text.index("kept")  # in the order of the parts
    assert text.count("## Speed") == 1


def test_95_per_cent() -> None:
    assert bench_common.p95([3.0]) == 3.0
    assert bench_common.p95(list(range(1, 101))) == 95
    assert bench_common.p95(list(range(1, 21))) == 19


def test_peak_memory_is_that_of_the_process() -> None:
    if not Path("/proc/self/status").is_file():
        pytest.skip("needs /proc")
    code = "x = bytearray(80 << 20); x[::4096] = b'1' * len(x[::4096]); input()"
    with subprocess.Popen([sys.executable, "-c", f"{code}"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        for _ in range(500):
            if bench_common.peak_memory(process.pid) > 80:
                break
            torch.zeros(1).sum()
            __import__("time").sleep(0.01)
        assert process.pid in bench_common.children(os.getpid())
        assert 80 < bench_common.peak_memory(process.pid) < 140
        process.stdin.close()
    assert bench_common.peak_memory(process.pid) == 0


def test_video_frames_in_fragments_are_counted(tmp_path: Path) -> None:
    """ffmpeg's own fragmented MP4, with sound in fragments of its own."""
    from vasa_cli.video.ffmpeg import find_ffmpeg

    path = tmp_path / "a.mp4"
    sources = ["-f", "lavfi", "-i", "testsrc=s=64x64:r=25:d=1.2", "-f", "lavfi", "-i", "sine=r=48000:d=1.2"]
    flags = ["-movflags", "frag_every_frame+empty_moov+default_base_moof", "-c:v", "libx264", "-c:a", "aac"]
    subprocess.run([find_ffmpeg(), "-v", "error", *sources, *flags, path], check=True)
    with path.open("rb") as f:
        times = bench_latency.frame_times(f)
    assert len(times) == 30
    assert times == sorted(times)


def test_where_tracks_end(tmp_path: Path) -> None:
    from vasa_cli.video.ffmpeg import find_ffmpeg

    path = tmp_path / "a.mp4"
    sources = ["-f", "lavfi", "-i", "testsrc=s=64x64:r=25:d=1.2", "-f", "lavfi", "-i", "sine=r=48000:d=1.6"]
    subprocess.run([find_ffmpeg(), "-v", "error", *sources, "-c:v", "libx264", "-c:a", "aac", path], check=True)
    frames, shown = bench_stream.track(path, "v:0")
    assert (frames, float(shown)) == (30, pytest.approx(1.2))
    assert float(bench_stream.track(path, "a:0")[1]) == pytest.approx(1.6, abs=0.022)  # whole AAC frames


def test_the_thin_plate_floor_warps() -> None:
    rng = np.random.default_rng(0)
    photo = torch.from_numpy(rng.random((1, 3, 16, 16), np.float32))
    photo = torch.nn.functional.interpolate(photo, size=(128, 128), mode="bicubic", align_corners=False)[0].clamp(0, 1)
    still = torch.from_numpy(rng.uniform(10, 118, (40, 2)).astype(np.float32))
    warp = bench_floors.ThinPlate(photo, still)
    same = warp(still[None])[0]
    assert (same - photo)[:, 2:-2, 2:-2].abs().max() < 0.02
    shifted = warp(still[None] + torch.tensor([8.0, 0.0]))[0]  # everything 8 px to the right
    assert (shifted[:, 2:-2, 10:-2] - photo[:, 2:-2, 2:-10]).abs().max() < 0.02


def test_it_runs_and_writes(tmp_path: Path, environment: dict[str, str]) -> None:
    page = tmp_path / "page.md"
    command = [sys.executable, str(ROOT / "scripts" / "benchmark.py"), "--quick", "--parts", "stages,memory", "--repeats", "1"]
    more = ["--weights", "smoke", "--write", "--page", str(page)]
    done = subprocess.run([*command, *more], env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    text = page.read_text(encoding="utf-8")
    for words in ("Next to speed up:", "| decoder |", "peak MB", "VASA-1", "load average before the run"):
        assert words in text
    assert "nan" not in text
    bad = subprocess.run([*command[:2], "--parts", "everything"], env=environment, capture_output=True, text=True)
    assert bad.returncode == 2
    assert "known are commands" in bad.stderr
