"""Draw a 7 as a pen on paper would: python tests/draw_seven.py FILE."""

import sys

from PIL import Image, ImageDraw

picture = Image.new("RGB", (240, 240), (236, 229, 214))
ImageDraw.Draw(picture).line([(70, 60), (170, 62), (110, 190)], fill=(40, 44, 90), width=9)
picture.save(sys.argv[1])
