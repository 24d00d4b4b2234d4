"""The PNG of a chart: its picture drawn three times as large and made smaller, so that its lines are smooth."""

from io import BytesIO

from PIL import Image, ImageDraw, ImageFont

from services.scheduler.charts.shapes import HEIGHT, WIDTH, Line, Picture, Text

SCALE, SHRINK = 3, 1.5  # so that the image has twice the picture's size
_ANCHORS = {"start": "ls", "middle": "ms", "end": "rs"}  # in Pillow's words


def png(drawn: Picture) -> bytes:
    """Return a picture as PNG."""
    image = Image.new("RGB", (WIDTH * SCALE, HEIGHT * SCALE), "white")
    canvas = ImageDraw.Draw(image)
    for shape in drawn:
        match shape:
            case Line():
                points = [(x * SCALE, y * SCALE) for x, y in shape.points]
                canvas.line(points, fill=shape.colour, width=max(1, round(shape.width * SCALE)), joint="curve")
            case Text():
                font = ImageFont.load_default(shape.size * SCALE)
                at = (shape.x * SCALE, shape.y * SCALE)
                canvas.text(at, shape.text, fill=shape.colour, font=font, anchor=_ANCHORS[shape.anchor])
    written = BytesIO()
    size = (round(WIDTH * SCALE / SHRINK), round(HEIGHT * SCALE / SHRINK))
    image.resize(size, Image.Resampling.LANCZOS).save(written, "PNG", optimize=True)
    return written.getvalue()
