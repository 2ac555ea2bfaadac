"""The likely causes of a deviation: which settings would make the outputs those that are expected.

What concerns the input needs another call of the service; what concerns the output is another reading of the same one.
Decisions only, no I/O.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from shared.scoring.golden.compare import Floats, Reading, deviation
from shared.scoring.golden.expected import Photograph
from shared.settings import Activation, ChannelOrder, Datatype, Fit, Preprocessing
from shared.settings.service import MEANS, SCALES
from shared.upstream.codecs import ModelInterface

ENCODED = (
    "The service decodes the files itself: the order of its channels, its mean and scale and its crop cannot be tried "
    "by the gateway; compare the service's own decoding with the training code."
)
UINT8 = "The model takes UINT8: mean and scale are its own, and cannot be tried by the gateway."

# The shorter side before a crop, as a multiple of its side: none beyond it, and the usual 256 for 224.
_MARGINS = (1.0, 256 / 224)

_DEFAULT = Preprocessing()
# CHANNEL_MEAN and CHANNEL_SCALE, each by the text of the setting.
_NORMALISATIONS = {name: (name, MEANS[name], SCALES[name]) for name in MEANS} | {
    "127,127,127": ("128,128,128", _DEFAULT.mean, _DEFAULT.scale)
}


# The settings of a reading, and the reading.
type Way = tuple[tuple[str, ...], Reading]


class Variant(NamedTuple):
    """A way to prepare pictures, and the settings that it takes."""

    causes: tuple[str, ...]
    preprocessing: Preprocessing


def variants(model: ModelInterface) -> list[Variant]:
    """The ways to prepare pictures that differ from the model's, those with the fewest changes first."""
    how = model.preprocessing
    if model.takes_files:
        return []
    combined = itertools.product(_orders(how), _normalisations(how, model.datatype), _fits(how))
    found = []
    for (order, order_cause), (mean, scale, channel_causes), (resize, fit, fit_causes) in combined:
        changed = replace(how, order=order, mean=mean, scale=scale, resize=resize, fit=fit)
        found.append(Variant((*order_cause, *channel_causes, *fit_causes), changed))
    return sorted((one for one in found if one.causes), key=lambda one: len(one.causes))


def untried(model: ModelInterface) -> str:
    """Which causes cannot be tried, and why; empty where all can."""
    if model.takes_files:
        return ENCODED
    return UINT8 if model.datatype is Datatype.UINT8 else ""


def readings(current: Reading, photographs: Sequence[Photograph], list_name: str) -> list[Way]:
    """The ways to read an output, the current one first, with the settings that each takes.

    ``list_name`` is the setting LABELS.
    """
    others = [one for one in Activation if one is not current.activation]
    functions = (((), current.activation), *(((f"ACTIVATION={one}",), one) for one in others))
    by_label = any(one.label is not None for one in photographs)
    shifts = (((), 0), *(((_moved(shift, list_name, by_label=by_label),), shift) for shift in (1, -1)))
    found = [
        ((*function_cause, *shift_cause), replace(current, activation=function, shift=shift))
        for function_cause, function in functions
        for shift_cause, shift in shifts
    ]
    return sorted(found, key=lambda one: len(one[0]))


def _moved(shift: int, list_name: str, *, by_label: bool) -> str:
    if not by_label:
        return f"the classes of expected.json counted from one {'more' if shift > 0 else 'less'}"
    if (list_name, shift) == ("imagenet", 1):
        return "LABELS=imagenet-background"
    if (list_name, shift) == ("imagenet-background", -1):
        return "LABELS=imagenet"
    return f"LABELS with {'one more line' if shift > 0 else 'one line less'} at its start"


def explanations(
    photographs: Sequence[Photograph],
    outputs: Sequence[Mapping[str, Floats]],
    ways: Sequence[Way],
) -> Iterator[tuple[str, ...]]:
    """The ways of reading by which all photographs match; ``ways`` are those of :func:`readings`."""
    for causes, reading in ways:
        if not any(deviation(one, found, reading) for one, found in zip(photographs, outputs, strict=True)):
            yield causes


def _orders(how: Preprocessing) -> Iterator[tuple[ChannelOrder, tuple[str, ...]]]:
    yield how.order, ()
    other = ChannelOrder.RGB if how.order is ChannelOrder.BGR else ChannelOrder.BGR
    yield other, (f"CHANNEL_ORDER={other}",)


type _Triple = tuple[float, float, float]


def _normalisations(how: Preprocessing, datatype: Datatype) -> Iterator[tuple[_Triple, _Triple, tuple[str, ...]]]:
    yield how.mean, how.scale, ()
    if datatype is not Datatype.UINT8:
        for name, (scale_name, mean, scale) in _NORMALISATIONS.items():
            if (mean, scale) != (how.mean, how.scale):
                yield mean, scale, (f"CHANNEL_MEAN={name} and CHANNEL_SCALE={scale_name}",)


def _fits(how: Preprocessing) -> Iterator[tuple[int, Fit, tuple[str, ...]]]:
    yield how.resize, how.fit, ()
    for resize in dict.fromkeys(round(how.size * margin) for margin in _MARGINS):
        if (resize, Fit.CROP) != (how.resize, how.fit):
            yield resize, Fit.CROP, (*_changed_fit(how, Fit.CROP), f"IMAGE_RESIZE={resize}")
    for fit in (Fit.STRETCH, Fit.LETTERBOX):
        if fit is not how.fit:
            yield how.resize, fit, _changed_fit(how, fit)


def _changed_fit(how: Preprocessing, fit: Fit) -> tuple[str, ...]:
    return () if fit is how.fit else (f"RESIZE={fit}",)
