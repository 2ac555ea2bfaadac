"""A Python client, blocking and asyncio, of inference services that speak TensorFlow Serving's gRPC protocol."""

from prediction_client import errors
from prediction_client.client import AsyncPredictionClient, PredictionClient
from prediction_client.errors import PredictionError

__all__ = ["AsyncPredictionClient", "PredictionClient", "PredictionError", "errors"]
__version__ = "0.1.0"
