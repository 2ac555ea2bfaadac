"""The prediction client as an installed package, without the repository on the path."""

import sys
from pathlib import Path

import pytest

from tests.support.clients.packages import install, run

WITHOUT_THE_REPOSITORY = """
import sys
from importlib.util import find_spec

import prediction_client

assert "numpy" not in sys.modules, "numpy is imported before it is needed"
assert not any(map(find_spec, ["shared", "protos", "devstack"])), "the repository is on the path"
with prediction_client.PredictionClient("localhost", 1, retries=False) as client:
    try:
        client.score_numpy_array([[1.0]], timeout=10)
    except prediction_client.errors.Unreachable as error:
        print(prediction_client.__file__, error, sep="\\n")
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install("prediction-client", tmp_path_factory.mktemp("prediction-client"))


def test_the_installed_package_works_without_the_repository(site: Path, tmp_path: Path) -> None:
    ended = run([sys.executable, "-W", "error", "-c", WITHOUT_THE_REPOSITORY], site, tmp_path)

    assert ended.returncode == 0, ended.stderr
    file, error = ended.stdout.splitlines()
    assert file == str(site / "prediction_client" / "__init__.py")
    assert error.startswith("The connection to the service could not be established")


def test_the_package_contains_its_data_files(site: Path) -> None:
    files = {file.name for file in (site / "prediction_client").iterdir()}

    assert {"py.typed", "predict.proto", "predict_pb2.pyi"} <= files
