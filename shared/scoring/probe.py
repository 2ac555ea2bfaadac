"""The smallest proof that a service scores: a request with a grey picture in the form that the service accepts."""

import io

from shared.upstream.codecs import Codec, RequestTemplate, Rpc, Selector

_GREY = (127, 127, 127)


def probe(codec: Codec, requests: RequestTemplate | None = None) -> Rpc:
    """An inference request of a codec whose model is known; ``codec.check`` checks its response.

    ``requests`` are the codec's, where they are not the usual ones.
    """
    model = codec.model
    if model is None:
        raise RuntimeError("the service's metadata must be read first")
    requests, size = requests or codec.requests(Selector()), model.preprocessing.size
    if not model.takes_files:
        request = requests.numbers(model.datatype, model.shape(1), bytes(model.picture_bytes))
    else:
        from PIL import Image  # noqa: PLC0415 - no cold start needs it

        file = io.BytesIO()
        Image.new("RGB", (size, size), _GREY).save(file, "JPEG")
        request = requests.encoded([file.getvalue()])
    return Rpc(codec.infer_method, request)
