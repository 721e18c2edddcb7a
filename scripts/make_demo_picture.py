"""The README's moving picture: a few seconds of the demo video as an animated WebP.

make demo && python scripts/make_demo_picture.py out/demo.mp4 docs/demo.webp
"""

from __future__ import annotations

import argparse
from pathlib import Path

import imageio.v3 as iio
import numpy as np
from PIL import Image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--side", type=int, default=320, help="pixels")
    options = parser.parse_args()
    frames = np.asarray(iio.imread(options.video, plugin="FFMPEG"))[: round(options.seconds * 25) : 2]  # 12.5 fps
    pictures = [Image.fromarray(f).resize((options.side, options.side), Image.Resampling.LANCZOS) for f in frames]
    options.picture.parent.mkdir(parents=True, exist_ok=True)
    pictures[0].save(options.picture, save_all=True, append_images=pictures[1:], duration=80, loop=0, quality=55, method=6)
    print(f"{options.picture}: {len(pictures)} frames, {options.picture.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
