"""Bars of one measured column as SVG, in both the light and the dark of a reader's browser."""

import html

WIDTH, LABEL, VALUE, BAR, GAP = 720, 220, 90, 22, 8
STYLE = """text { font: 13px system-ui, sans-serif; fill: #222 } .title { font-weight: 600 }
rect { fill: #9aa7b5 } .ours { fill: #0f766e }
@media (prefers-color-scheme: dark) { text { fill: #ddd } rect { fill: #5b6876 } .ours { fill: #2dd4bf } }"""


def bars(title, unit, rows):
    """`rows`: label and value each, in the order shown. Those of Sluice have a colour of their own."""
    most = max((value for _, value in rows), default=0) or 1
    height = 40 + len(rows) * (BAR + GAP)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" role="img" '
             f'aria-label="{html.escape(title, quote=True)}">', f"<style>{STYLE}</style>",
             f'<text class="title" x="0" y="18">{html.escape(title)}, {html.escape(unit)}</text>']
    for i, (label, value) in enumerate(rows):
        y = 34 + i * (BAR + GAP)
        width = (WIDTH - LABEL - VALUE) * value / most
        kind = ' class="ours"' if "sluice" in label or "through the mount" in label else ""
        parts.append(f'<text x="0" y="{y + 16}">{html.escape(label)}</text>'
                     f'<rect{kind} x="{LABEL}" y="{y}" width="{width:.1f}" height="{BAR}"/>'
                     f'<text x="{LABEL + width + 8:.1f}" y="{y + 16}">{value:g}</text>')
    return "\n".join([*parts, "</svg>", ""])
