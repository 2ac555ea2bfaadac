"""The smallest proof that a service scores: a request with a grey picture in the form that the service accepts."""

import io

from PIL import Image

from shared.upstream.codecs import Codec, Rpc, Selector

_GREY = (127, 127, 127)


def probe(codec: Codec) -> Rpc:
    """An inference request of a codec whose model is known; ``codec.scores`` checks its response."""
    requests, model = codec.requests(Selector()), codec.model
    if model is None:
        raise RuntimeError("the service's metadata must be read first")
    size = model.preprocessing.size
    if not model.takes_files:
        request = requests.numbers(model.datatype, model.shape(1), bytes(model.picture_bytes))
    else:
        file = io.BytesIO()
        Image.new("RGB", (size, size), _GREY).save(file, "JPEG")
        request = requests.encoded([file.getvalue()])
    return Rpc(codec.infer_method, request)
