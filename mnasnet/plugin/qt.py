"""The Qt binding of the forms: PyQt6, or PyQt5 in a STUDIO before 0.16. Enums are written in full: both know that."""

from __future__ import annotations

try:
    from PyQt6 import QtCore, QtWidgets, sip
except ImportError:
    from PyQt5 import QtCore, QtWidgets, sip

__all__ = ["QtCore", "QtWidgets", "sip"]
