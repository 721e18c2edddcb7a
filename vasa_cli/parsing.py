"""JSON, YAML and safetensors headers written by strangers: parsed within bounds, or ValueError in one line.

A few bytes can ask for endless work: brackets nested a million deep, aliases that unfold to billions of nodes, numbers of a
million digits, headers that announce terabytes.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

JSON_DEPTH = 64
YAML_DEPTH = 64
YAML_NODES = 500_000  # after unfolding aliases
DIGITS = 400  # of a number; a float has at most about 330 that mean something
HEADER_BYTES = 16 << 20
TENSORS = 4096
DIMENSIONS = 8
ITEM_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2, "I32": 4, "U32": 4, "F32": 4,
    "I64": 8, "U64": 8, "F64": 8,
}  # fmt: skip
_TIGHT = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)


def read_text(path: Path, most: int) -> str:
    """The file's text (UTF-8). Raises ValueError when it is larger than `most` bytes or no UTF-8, OSError as `open`."""
    with path.open("rb") as f:
        data = f.read(most + 1)
    if len(data) > most:
        raise ValueError(f"larger than {most >> 10} KB")
    return data.decode("utf-8-sig")


def load_json(text: str | bytes, depth: int = JSON_DEPTH) -> Any:
    """`json.loads`, but NaN and infinity are refused, and so is deep nesting. Raises ValueError."""
    text = text.decode("utf-8") if isinstance(text, bytes) else text
    level = 0
    for found in _TIGHT.finditer(text):
        mark = found.group()[0]
        level += 1 if mark in "[{" else -1 if mark in "]}" else 0
        if level > depth:
            raise ValueError(f"nested deeper than {depth}")
    return json.loads(text, parse_constant=_no_number, parse_float=_finite)


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is not a number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is too large")
    return value


# ---------------------------------------------------------------------------------------------------- YAML


def load_yaml(text: str) -> Any:
    """`yaml.safe_load` within bounds. Raises yaml.YAMLError for what is no YAML, ValueError for what asks too much of it."""
    node = compose_yaml(text)
    return None if node is None else construct_yaml(node)


def compose_yaml(text: str) -> Any:
    """The tree of nodes of the one document in the text (None: there is none), whose size unfolded is bounded. Raises
    yaml.YAMLError, ValueError."""
    import yaml

    _shallow(text)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is not None:
            _unfolded(node)
    except RecursionError as e:
        raise ValueError(f"nested deeper than {YAML_DEPTH}") from e
    return node


def construct_yaml(node: Any) -> Any:
    """The value of a node of `compose_yaml`. Raises yaml.YAMLError, ValueError."""
    import yaml

    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(node)
    except (ValueError, OverflowError, TypeError, KeyError, IndexError, AttributeError, AssertionError) as e:
        # PyYAML lets errors of int(), float() and dates through: `2024-99-99` has the form of a date
        raise ValueError(str(e).splitlines()[0] if str(e) else "a value that cannot be") from e
    finally:
        loader.dispose()


def _shallow(text: str) -> None:
    """Refuse nesting before the parser recurses into it: brackets, and steps of indentation and dashes on one line."""
    level = 0
    for c in text:
        level += 1 if c in "[{" else -1 if c in "]}" and level else 0
        if level > 16 * YAML_DEPTH:  # brackets within text count too, so this bound is generous
            raise ValueError(f"nested deeper than {YAML_DEPTH}")


def _unfolded(node: Any) -> int:
    """Nodes of the tree with every alias written out. Raises ValueError when there are too many, too deep, or endless."""
    import yaml

    sizes: dict[int, int] = {}
    within: set[int] = set()

    def count(n: Any, depth: int) -> int:
        if isinstance(n, yaml.ScalarNode):
            if len(n.value) > DIGITS and n.tag.endswith((":int", ":float", ":timestamp")):
                raise ValueError(f"a number of {len(n.value)} digits")
            return 1
        if depth > YAML_DEPTH:
            raise ValueError(f"nested deeper than {YAML_DEPTH}")
        if id(n) in within:
            raise ValueError("an alias within what it names")
        if id(n) not in sizes:
            within.add(id(n))
            parts = n.value if isinstance(n, yaml.SequenceNode) else [x for pair in n.value for x in pair]
            sizes[id(n)] = 1 + sum(count(x, depth + 1) for x in parts)
            within.discard(id(n))
        if sizes[id(n)] > YAML_NODES:
            raise ValueError(f"more than {YAML_NODES} values once its aliases are unfolded")
        return sizes[id(n)]

    return count(node, 0)


# ---------------------------------------------------------------------------------------------------- safetensors


def check_safetensors(path: Path, most: int) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Names to type and shape, from the header alone, once it is proven to fit the file. Raises ValueError, OSError.

    The tensors must lie one behind the other and fill the file exactly, as the format demands; `most` bounds its bytes.
    """
    size = path.stat().st_size
    if size > most:
        raise ValueError(f"{size} bytes are more than {most >> 20} MB")
    with path.open("rb") as f:
        length = int.from_bytes(f.read(8), "little")
        if size < 10 or length > min(size - 8, HEADER_BYTES):
            raise ValueError("the header is longer than the file" if length > size - 8 else "the header is too long")
        header = load_json(f.read(length))
    if not isinstance(header, dict) or len(header) > TENSORS:
        raise ValueError("the header is not one of tensors")
    meta = header.pop("__metadata__", {})
    if not isinstance(meta, dict) or not all(isinstance(v, str) for v in meta.values()):
        raise ValueError("the metadata are not text")
    spans = sorted(_span(name, entry) for name, entry in header.items())
    ends = [0, *(end for _, end in spans)]
    if [start for start, _ in spans] != ends[:-1] or ends[-1] != size - 8 - length:
        raise ValueError("the tensors do not fill the file")
    return {name: (entry["dtype"], tuple(entry["shape"])) for name, entry in header.items()}


def _span(name: str, entry: Any) -> tuple[int, int]:
    """Where a tensor lies behind the header. Raises ValueError."""
    if not isinstance(entry, dict):
        raise ValueError(f"tensor {name[:40]!r} is not described")
    found: list[Any] = [entry.get(key) for key in ("dtype", "shape", "data_offsets")]
    kind, shape, span = found
    if not isinstance(kind, str) or kind not in ITEM_BYTES or not _counts(shape) or not _counts(span) or len(span) != 2:
        raise ValueError(f"tensor {name[:40]!r} has no readable type, shape or place")
    if span[1] - span[0] != ITEM_BYTES[kind] * math.prod(shape):
        raise ValueError(f"tensor {name[:40]!r} has {span[1] - span[0]} bytes, which do not fit its shape {shape}")
    return span[0], span[1]


def _counts(values: Any) -> bool:
    """Whether it is a short list of whole numbers from 0 on."""
    return isinstance(values, list) and len(values) <= DIMENSIONS and all(type(v) is int and 0 <= v < 2**48 for v in values)
