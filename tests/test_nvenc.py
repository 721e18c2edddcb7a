"""NVENC is offered only where frames really come out of it."""

from __future__ import annotations

from pathlib import Path

from vasa_cli.video.nvenc import NVENC, working_nvenc

LISTED = f"case \"$*\" in *-encoders*) echo ' V....D {NVENC} NVIDIA';; *"


def fake(folder: Path, name: str, body: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho \"$*\" >> '{folder}/{name}.calls'\n{body}\n")
    path.chmod(0o755)
    return path


def test_listed_is_not_enough(tmp_path: Path) -> None:
    assert working_nvenc(fake(tmp_path, "works", f"{LISTED}) exit 0;; esac"))
    assert not working_nvenc(fake(tmp_path, "no-card", f"{LISTED}) echo 'Cannot load libcuda.so.1' >&2; exit 1;; esac"))
    assert NVENC in (tmp_path / "no-card.calls").read_text().splitlines()[-1]  # it was tried


def test_without_the_encoder_nothing_is_tried(tmp_path: Path) -> None:
    assert not working_nvenc(fake(tmp_path, "plain", "echo ' V..... libx264 H.264'"))
    assert len((tmp_path / "plain.calls").read_text().splitlines()) == 1
    assert not working_nvenc(tmp_path / "nothing")
