"""The SVG of a chart."""

from xml.etree import ElementTree as ET

from services.scheduler.charts.shapes import HEIGHT, WIDTH, Line, Picture, Text


def svg(drawn: Picture) -> bytes:
    """Return a picture as SVG."""
    root = ET.Element(
        "svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {WIDTH} {HEIGHT}", width=str(WIDTH),
        height=str(HEIGHT), attrib={"font-family": "sans-serif"},
    )  # fmt: skip
    ET.SubElement(root, "rect", width=str(WIDTH), height=str(HEIGHT), fill="white")
    for shape in drawn:
        match shape:
            case Line():
                points = " ".join(f"{x:.1f},{y:.1f}" for x, y in shape.points)
                stroke = {"stroke": shape.colour, "stroke-width": f"{shape.width:g}"}
                ET.SubElement(root, "polyline", points=points, fill="none", attrib=stroke)
            case Text():
                about = {"text-anchor": shape.anchor, "font-size": str(shape.size), "fill": shape.colour}
                text = ET.SubElement(root, "text", x=f"{shape.x:.1f}", y=f"{shape.y:.1f}", attrib=about)
                text.text = shape.text
    image: bytes = ET.tostring(root, xml_declaration=True, encoding="utf-8")
    return image
