"""Comparisons of outputs with what is expected, and the causes of deviations."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from shared.scoring.golden import causes
from shared.scoring.golden.compare import Floats, Reading, deviation
from shared.scoring.golden.expected import Photograph
from shared.scoring.labels import softmax
from shared.settings import Activation, ChannelOrder, Datatype, Preprocessing
from shared.upstream.codecs import ModelInterface

NAMES = ("cat", "dog", "crane", "crane")
PROBABILITIES, LOGITS = Activation.NONE, Activation.SOFTMAX
READING = Reading(PROBABILITIES, NAMES)
MODEL = ModelInterface("x", Datatype.FP32, "y", Preprocessing())


def output(*values: float) -> Mapping[str, Floats]:
    return {"y": np.array(values, np.float32)}


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        (Photograph("a", label="dog", score=0.7), ""),
        (Photograph("a", label="dog", score=0.719), ""),
        (Photograph("a", index=1, score=0.7), ""),
        (Photograph("a", index=1, label="dog"), ""),
        (Photograph("a", label="cat", score=0.2), ""),
        (Photograph("a", label="crane", score=0.08), ""),
        (Photograph("a", 0.2, label="dog", score=0.55), ""),
        (Photograph("a", label="dog", score=0.73), "'dog' (class 1) has 0.7000; 0.7300 ± 0.02 is expected"),
        (
            Photograph("a", label="cat", score=0.7),
            "'cat' (class 0) has 0.2000; 0.7000 ± 0.02 is expected; the best is 'dog' (class 1) with 0.7000",
        ),
        (
            Photograph("a", label="cat"),
            "'cat' (class 0) is expected to be the best; it has 0.2000; the best is 'dog' (class 1) with 0.7000",
        ),
        (Photograph("a", label="cow", score=1), "the label 'cow' is not in LABELS"),
        (Photograph("a", label="cat", index=1), "class 1 is 'dog' in LABELS; 'cat' is expected"),
        (Photograph("a", label="cat", index=9), "class 9 is '' in LABELS; 'cat' is expected"),
        (Photograph("a", index=9), "class 9 is expected; the service has 4 classes"),
    ],
)
def test_a_class_and_its_score_are_compared(expected: Photograph, found: str) -> None:
    assert deviation(expected, output(0.2, 0.7, 0.02, 0.08), READING) == found


def test_a_softmax_is_applied_to_logits() -> None:
    expected = Photograph("a", 0.001, index=2, score=float(softmax(np.array([1, 2, 3, 0], np.float32))[2]))

    assert deviation(expected, output(1, 2, 3, 0), replace(READING, activation=LOGITS)) == ""
    assert "has 3.0000" in deviation(expected, output(1, 2, 3, 0), READING)


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([[1, 2], [3, 100]], ""),
        ([[2.9, 2], [3, 100]], ""),
        ([[1, 2], [6, 100]], "value 2 of the output 'y' is 3; 6 is expected"),
        ([1, 2, 3], "the output 'y' has the shape [4]; [3] is expected"),
    ],
)
def test_raw_outputs_are_compared_relative_to_their_largest_value(values: object, found: str) -> None:
    expected = Photograph("a", 0.02, outputs={"y": np.array(values, np.float32)})

    assert deviation(expected, output(1, 2, 3, 100), READING) == found


def test_an_output_that_is_missing_or_not_alone_is_named() -> None:
    zero = np.zeros(1, np.float32)

    raw = Photograph("a", outputs={"y": zero, "z": zero})
    assert deviation(raw, output(0), READING) == "the service has no output 'z'; it has 'y'"
    assert "'a', 'b'" in deviation(Photograph("a", index=0), {"a": zero, "b": zero}, READING)


def explained(
    photograph: Photograph, *values: float, activation: Activation = PROBABILITIES, names: str = ""
) -> list[str]:
    ways = causes.readings(replace(READING, activation=activation), [photograph], names)
    assert ways[0] == ((), replace(READING, activation=activation))
    found = causes.explanations([photograph], [output(*values)], ways)
    return [", ".join(one) for one in found]


def test_a_softmax_twice_or_never_is_found() -> None:
    logits = np.array([1, 5, 3, 0], np.float32)
    once = softmax(logits)

    never = Photograph("a", 0.001, label="dog", score=float(once[1]))
    assert explained(never, *logits.tolist()) == ["ACTIVATION=softmax"]
    assert explained(never, *once.tolist(), activation=LOGITS) == ["ACTIVATION=none"]
    assert explained(never, *once.tolist()) == [""]


@pytest.mark.parametrize(
    ("photograph", "names", "cause"),
    [
        (Photograph("a", label="cat", score=0.7), "imagenet", "LABELS=imagenet-background"),
        (Photograph("a", label="cat", score=0.7), "cats.txt", "LABELS with one more line at its start"),
        (Photograph("a", label="cat", index=0, score=0.7), "imagenet", "LABELS=imagenet-background"),
        (Photograph("a", label="crane", index=1, score=0.7), "imagenet-background", "LABELS=imagenet"),
        (Photograph("a", index=0, score=0.7), "imagenet", "the classes of expected.json counted from one more"),
        (Photograph("a", index=2, score=0.7), "imagenet", "the classes of expected.json counted from one less"),
        (Photograph("a", label="crane", score=0.7), "imagenet-background", "LABELS=imagenet"),
        (Photograph("a", label="crane", score=0.7), "cats.txt", "LABELS with one line less at its start"),
    ],
)
def test_labels_that_are_off_by_one_are_found(photograph: Photograph, names: str, cause: str) -> None:
    assert explained(photograph, 0.2, 0.7, 0.02, 0.08, names=names) == [cause]


def test_the_ways_to_prepare_a_picture_begin_with_single_changes() -> None:
    found = causes.variants(MODEL)

    single = [one for one in found if len(one.causes) == 1]
    assert found[: len(single)] == single
    assert {one.causes[0] for one in single} == {
        "CHANNEL_ORDER=BGR",
        *(f"CHANNEL_MEAN={name} and CHANNEL_SCALE={name}" for name in ("imagenet", "tensorflow", "unit", "none")),
        "IMAGE_RESIZE=224",
        "RESIZE=stretch",
        "RESIZE=letterbox",
    }
    pair = next(one for one in found if one.causes == ("CHANNEL_ORDER=BGR", "IMAGE_RESIZE=224"))
    assert pair.preprocessing == replace(MODEL.preprocessing, order=ChannelOrder.BGR, resize=224)
    assert len({one.causes for one in found}) == len(found) < 50


def test_what_is_not_the_gateways_is_not_tried() -> None:
    files, pixels = MODEL._replace(datatype=Datatype.BYTES), MODEL._replace(datatype=Datatype.UINT8)

    assert (causes.variants(files), causes.untried(files)) == ([], causes.ENCODED)
    assert not any("MEAN" in cause for one in causes.variants(pixels) for cause in one.causes)
    assert causes.untried(pixels) == causes.UINT8
    assert causes.untried(MODEL) == ""
