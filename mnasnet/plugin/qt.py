"""The Qt binding of the forms: PyQt6, or PyQt5 in a STUDIO before 0.16. Enums are written in full: both know that."""

from __future__ import annotations

try:
    from PyQt6 import QtWidgets, sip
except ImportError:
    from PyQt5 import QtWidgets, sip

__all__ = ["QtWidgets", "sip"]
