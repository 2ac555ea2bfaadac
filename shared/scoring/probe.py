"""The smallest proof that a service scores: a request with a grey picture in the form that the service accepts."""

import io

from PIL import Image

from shared.settings import InputForm, ServiceSettings
from shared.upstream.codecs import Codec, Rpc, Selector

_GREY = (127, 127, 127)
_FLOAT_BYTES = 4


def probe(service: ServiceSettings, codec: Codec) -> Rpc:
    """An inference request; ``codec.scores`` checks its response."""
    requests, size = codec.requests(Selector()), service.preprocessing.size
    if service.input_form is InputForm.TENSOR:
        request = requests.floats((1, size, size, 3), bytes(_FLOAT_BYTES * 3 * size * size))
    else:
        file = io.BytesIO()
        Image.new("RGB", (size, size), _GREY).save(file, "JPEG")
        request = requests.encoded([file.getvalue()])
    return Rpc(codec.infer_method, request)
