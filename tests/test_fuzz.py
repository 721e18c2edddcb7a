"""The readers of strangers' files, thousands of damaged inputs with fixed seeds; `scripts/fuzz.py` is the long, guided run."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent / "fuzz"))

from mutate import mutations
from targets import READERS, TARGETS, NoLine, checked, seeds

from vasa_cli.errors import UsageError

SHORT = 500  # inputs a target
hypothesis = pytest.importorskip("hypothesis", reason="pip install hypothesis")
st = hypothesis.strategies
calm = hypothesis.settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow],
)


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_files_are_read_or_refused_in_one_line(name: str, tmp_path: Path) -> None:
    for data in mutations(seeds(name), SHORT, seed=4):
        began = time.process_time()
        try:
            TARGETS[name](data, tmp_path)
        except Exception as e:  # which input it was: that is the finding
            pytest.fail(f"{name}: {type(e).__name__}: {e} for {data[:300]!r}")
        assert time.process_time() - began < 5, data[:300]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 3 << 20  # KB: of all tests that this process ran


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_has_inputs_that_are_accepted(name: str, tmp_path: Path) -> None:
    """Otherwise the fuzzer would only ever see the first check."""
    accepted = 0
    for data in seeds(name):
        try:
            READERS[name](data, tmp_path)
            accepted += 1
        except Exception:  # refused
            continue
    if name == "receipt" and not accepted:
        pytest.skip("the weights have changed since tests/fuzz/make_corpus.py ran: receipts are refused at their end")
    assert accepted


def test_the_check_itself() -> None:
    """A reader that raises something else, or no line, is found."""

    def wrong(data: bytes, folder: Path) -> None:
        raise KeyError("x")

    def endless(data: bytes, folder: Path) -> None:
        raise UsageError("x" * 10_000)

    with pytest.raises(KeyError):
        checked(wrong)(b"", Path())
    with pytest.raises(NoLine):
        checked(endless)(b"", Path())


# ---------------------------------------------------------------------------------------------------- property-based

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
words = st.sampled_from(
    [
        "gaze",
        "distance",
        "emotion",
        "head",
        "mouth",
        "repeat",
        "style",
        "guidance",
        "name",
        "blend",
        "reset",
        "preset",
        "t",
        "yaw",
        "seed",
    ]
)
mappings = st.dictionaries(words, values | st.dictionaries(words, values, max_size=3), max_size=5)


@calm
@hypothesis.given(data=mappings)
def test_presets_of_any_values(tmp_path: Path, data: dict[str, Any]) -> None:
    import yaml

    TARGETS["preset"](yaml.safe_dump(data, allow_unicode=True).encode("utf-8", "replace"), tmp_path)


@calm
@hypothesis.given(data=mappings)
def test_control_lines_of_any_values(tmp_path: Path, data: dict[str, Any]) -> None:
    TARGETS["control"](json.dumps(data).encode(), tmp_path)


@calm
@hypothesis.given(
    key=st.sampled_from(
        ["seed", "steps", "controls", "inputs", "options", "weights", "output", "device", "preset", "dtype", "format"]
    ),
    value=values,
)
def test_receipts_with_any_value(tmp_path: Path, key: str, value: Any) -> None:
    data = json.loads(seeds("receipt")[0])
    TARGETS["receipt"](json.dumps({**data, key: value}).encode(), tmp_path)


@calm
@hypothesis.given(meta=st.dictionaries(st.sampled_from(["format", "fps", "seed", "controls", "hashes"]), st.text(max_size=30)))
def test_motion_files_with_any_metadata(tmp_path: Path, meta: dict[str, str]) -> None:
    raw = seeds("motion")[0]
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    header["__metadata__"] |= meta
    text = json.dumps(header).encode()
    TARGETS["motion"](len(text).to_bytes(8, "little") + text + raw[8 + size :], tmp_path)


@calm
@hypothesis.given(data=st.binary(max_size=300))
def test_any_bytes_at_all(tmp_path: Path, data: bytes) -> None:
    for name, run in TARGETS.items():
        if name != "manifest":
            run(data, tmp_path)


@calm
@hypothesis.given(rows=st.lists(mappings, max_size=3))
def test_manifests_of_any_values(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    lines = "\n".join(json.dumps({"portrait": "a.png", "audio": "a.wav", **row}) for row in rows)
    TARGETS["manifest"](b"\x02" + lines.encode(), tmp_path)
