"""VASA: one portrait and one speech recording become a talking-face video."""

__version__ = "0.1.0"
