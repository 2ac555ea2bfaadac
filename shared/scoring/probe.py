"""The smallest proof that a service scores: a grey picture in the form that it takes, and its answer checked."""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image

from shared.scoring.tensors import AnswerReader, RequestTemplate
from shared.settings import InputForm, ServiceSettings

_GREY = (127, 127, 127)


def probe(service: ServiceSettings) -> tuple[bytes, Callable[[bytes], object]]:
    """A serialized PredictRequest, and what raises ServiceAnswerInvalid for an answer that is no score."""
    template = RequestTemplate(model=service.model, signature=service.signature, input_name=service.input_name)
    size = service.preprocessing.size
    if service.input_form is InputForm.TENSOR:
        request = template.tensor(np.zeros((1, size, size, 3), np.float32))
    else:
        file = io.BytesIO()
        Image.new("RGB", (size, size), _GREY).save(file, "JPEG")
        request = template.encoded([file.getvalue()])
    return request, AnswerReader(service.output_name).scores
