"""Every photograph: from an uploaded file's bytes to what a service takes, an ordinary file or a float tensor.

``forwardable`` only walks the headers, in some microseconds, on the event loop. ``to_file`` and ``to_tensor`` decode:
call them in a thread. Pillow frees the interpreter lock while it decodes, resizes and encodes.
"""

from shared.scoring.images.formats import Format, format_of
from shared.scoring.images.forwarding import forwardable
from shared.scoring.images.outputs import normalise, to_file, to_tensor

__all__ = ["Format", "format_of", "forwardable", "normalise", "to_file", "to_tensor"]
