"""Draw the STUDIO forms into docs/images, without a screen.

Each folded as it opens and unfolded in the dark; and one at 200 % with a value that Apply refused.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import install_plugins

FOLDER = install_plugins.ROOT / "docs" / "images"
WIDTH_PX = 460


def main() -> None:
    if "QT_SCALE_FACTOR" in os.environ:
        draw_all(refused=True)
        return
    draw_all()
    subprocess.run([sys.executable, __file__], env={**os.environ, "QT_SCALE_FACTOR": "2"}, check=True)


def draw_all(*, refused: bool = False) -> None:
    """Every form, or one whose value was ``refused``; Qt takes a scale only once in a process."""
    with tempfile.TemporaryDirectory() as home:
        os.environ["HOME"] = os.environ["USERPROFILE"] = home  # Ikomia reads it when it is imported
        os.environ["IKOMIA_AUTO_COMPLETION"] = "false"
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
        install_plugins.install(Path(home))
        import ikomia  # noqa: F401  # before PyQt6, whose Qt must be Ikomia's own
        from PyQt6.QtWidgets import QApplication

        application = QApplication([])
        application.setStyle("Fusion")
        light = application.palette()
        if refused:
            draw("infer_torchvision_mnasnet", FOLDER / "form_refused.png", typed={"input_size": "5"})
            return
        for name in install_plugins.PLUGINS:
            application.setPalette(light)
            draw(name, FOLDER / f"form_{name}.png")
            application.setPalette(dark_palette())
            draw(name, FOLDER / f"form_{name}_dark.png", unfolded=True)


def draw(name: str, target: Path, *, unfolded: bool = False, typed: dict[str, str] | None = None) -> None:
    """One plugin's form as STUDIO would show it; ``typed`` replaces numbers, and Apply is pressed."""
    from ikomia.dataprocess.registry import ik_registry
    from PyQt6.QtWidgets import QApplication, QCheckBox, QPushButton, QScrollArea

    task = ik_registry.create_algorithm(name, public_hub=False)
    known = set(QApplication.topLevelWidgets())
    plugin = importlib.import_module(f"{name}.{name}").IkomiaPlugin()
    form = plugin.get_widget_factory().create(task.get_param_object())  # closes its window when it is forgotten
    (window,) = [
        widget
        for widget in set(QApplication.topLevelWidgets()) - known
        if any(button.text() == "Apply" for button in widget.findChildren(QPushButton))
    ]
    if unfolded:
        for box in window.findChildren(QCheckBox):
            if box.text() == "Advanced":
                box.setChecked(True)
    for field, text in (typed or {}).items():
        form.form.fields[field].lineEdit().setText(text)
    if typed:
        (apply,) = [button for button in window.findChildren(QPushButton) if button.text() == "Apply"]
        apply.click()
    (area,) = window.findChildren(QScrollArea)
    window.resize(
        WIDTH_PX, area.widget().sizeHint().height() + window.sizeHint().height() - area.sizeHint().height() + 2
    )
    window.grab().save(str(target))
    del form
    print(target)


def dark_palette() -> Any:
    """As STUDIO's own dark theme."""
    from PyQt6.QtGui import QColor, QPalette

    palette = QPalette()
    role = QPalette.ColorRole
    for background in (role.Window, role.Button, role.ToolTipBase):
        palette.setColor(background, QColor(53, 53, 53))
    palette.setColor(role.Base, QColor(35, 35, 35))
    for text in (role.WindowText, role.Text, role.ButtonText, role.ToolTipText):
        palette.setColor(text, QColor(230, 230, 230))
    palette.setColor(role.Highlight, QColor(42, 130, 218))
    return palette


if __name__ == "__main__":
    main()
