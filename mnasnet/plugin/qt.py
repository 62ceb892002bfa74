"""The Qt binding of the forms: PyQt6, which comes with STUDIO and is no dependency of the package."""

from __future__ import annotations

from PyQt6 import QtCore, QtWidgets, sip

__all__ = ["QtCore", "QtWidgets", "sip"]
