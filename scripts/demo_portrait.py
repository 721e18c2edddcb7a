"""Write the public-domain astronaut portrait (NASA; carried by scikit-image's wheel) to the file named on the command line."""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    from PIL import Image
    from skimage import data

    target = Path(sys.argv[1])
    target.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(data.astronaut()).save(target)


if __name__ == "__main__":
    main()
