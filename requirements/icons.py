"""Draw static/icons.svg from the names in frontend.toml: `python requirements/icons.py`, or `--check` offline.

Only shapes are kept; stroke, fill and size belong to CSS (`.i`). "mark" is our own and lies in static/favicon.svg.
"""

from __future__ import annotations

import re
import sys
from typing import Any
from xml.etree import ElementTree

from frontend import ROOT, describe, fetch, wanted, write_lock

SPRITE, LICENCE, MARK = "static/icons.svg", "static/icons.LICENSE.txt", "static/favicon.svg"
SVG = "{http://www.w3.org/2000/svg}"
USED = re.compile(
    r"""{%\s*icon\s+"([a-z0-9-]+)"|_icon\.html"\s+with\s+name="([a-z0-9-]+)"|icons?\.svg['" %}]*\#([a-z0-9-]+)"""
)
NAMED_IN_PYTHON = re.compile(r'"([a-z][a-z0-9-]+)"')


def symbol(name: str, source: bytes | str) -> str:
    """Keep the shapes of one icon, without the presentation attributes of its root."""
    root = ElementTree.fromstring(source)
    shapes = "".join(ElementTree.tostring(shape, encoding="unicode").strip() for shape in root)
    shapes = shapes.replace(' xmlns:ns0="http://www.w3.org/2000/svg"', "").replace("<ns0:", "<").replace(" />", "/>")
    return f'<symbol id="{name}" viewBox="0 0 24 24">{shapes}</symbol>'


def draw(icons: dict[str, Any]) -> None:
    content, integrity = fetch(icons["package"], icons["version"])
    symbols = [symbol("mark", (ROOT / MARK).read_text())]
    symbols += [symbol(name, content[f"icons/{name}.svg"]) for name in icons["names"]]
    source = f"{icons['package']} {icons['version']} ({icons['licence']})"
    credit = f'<!-- {source}, see icons.LICENSE.txt. "mark" is our own. -->'
    (ROOT / SPRITE).write_text(
        "\n".join(['<svg xmlns="http://www.w3.org/2000/svg">', credit, *symbols, "</svg>"]) + "\n"
    )
    (ROOT / LICENCE).write_bytes(content["LICENSE"])
    files = {path: describe(path) for path in (SPRITE, LICENCE)}
    entry = {"version": icons["version"], "licence": icons["licence"], "integrity": integrity, "files": files}
    write_lock({icons["package"]: entry})


def used() -> set[str]:
    """Collect the icon names written in templates, and any listed name quoted in our template tags."""
    templates = [path.read_text() for path in (ROOT / "templates").rglob("*.html")]
    names = {name for text in templates for match in USED.findall(text) for name in match if name}
    tags = (ROOT / "approvals/tenants/templatetags/interface.py").read_text()
    return names | (set(NAMED_IN_PYTHON.findall(tags)) & set(wanted()["icons"]["names"]))


def main() -> int:
    icons = wanted()["icons"]
    if "--check" not in sys.argv:
        draw(icons)
        return 0
    listed = {*icons["names"], "mark"}
    drawn = set(re.findall(r'<symbol id="([a-z0-9-]+)"', (ROOT / SPRITE).read_text()))
    found = [f"{name}: used, not in the sprite" for name in sorted(used() - drawn)]
    found += [f"{name}: listed, not drawn" for name in sorted(listed - drawn)]
    found += [f"{name}: drawn, never used" for name in sorted(drawn - used() - {"mark"})]
    print("\n".join(found) or "every icon used is drawn")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
