#!/usr/bin/env bash
# mediapipe asks for opencv-contrib-python, whose wheel wants libGL.so.1 from the system. Where that library is missing (slim
# containers), put the headless build of the very same version in its place. Does nothing where cv2 already imports.
set -euo pipefail
bin=${BIN:?folder of the environment\'s python}
if "$bin/python" -c 'import cv2' >/dev/null 2>&1; then exit 0; fi
version=$("$bin/python" -c 'from importlib.metadata import version; print(version("opencv-contrib-python"))')
echo "libGL.so.1 is missing here: replacing opencv-contrib-python $version by its headless build"
"$bin/python" -m pip uninstall --quiet --yes opencv-contrib-python
"$bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall "opencv-contrib-python-headless==$version"
"$bin/python" -c 'import cv2'
