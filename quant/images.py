"""Image files of any mode as 8-bit RGB, right or not at all."""

from pathlib import Path

import numpy as np

from quant.errors import DataError

# Modes whose conversion loses nothing that is visible
_PLAIN = ("1", "L", "P", "RGB", "CMYK", "YCbCr", "HSV", "RGBX")
_TRANSPARENT = ("LA", "PA", "RGBA", "La", "RGBa")


def read_image(path: str | Path):
    """The PIL image, mode RGB, of a file.

    16-bit grey is brought to 8 bits by dividing by 257, which maps 65535 to 255 (Pillow alone would clip it to white).
    DataError, which names the file: it cannot be read; it has transparent pixels, behind which anything could lie; its
    mode (32-bit integers or floats, Lab) has no range of its own.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            image.load()
            if image.mode in _PLAIN and "transparency" not in image.info:
                return image.convert("RGB")
            if image.mode in _PLAIN + _TRANSPARENT:
                image = image.convert("RGBA")
                if image.getextrema()[3][0] < 255:
                    raise DataError(f"image {path} has transparent pixels; write it anew on a background (RGB)")
                return image.convert("RGB")
            if image.mode.startswith("I;16"):
                grey = np.asarray(image).astype(np.uint32)
                return Image.fromarray(((grey + 128) // 257).astype(np.uint8)).convert("RGB")
            mode = image.mode
    except DataError:
        raise
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()).replace(str(path), "it")
        raise DataError(f"image {path} cannot be read ({reason}); remove it or write it anew") from error
    raise DataError(f"image {path} has the mode {mode}, whose range is not known; write it anew as 8-bit RGB or grey")
