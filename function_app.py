"""The function app: registers the triggers, and begins to import what they need."""

import azure.functions as func

from functions import golden, health, metrics, open_inference, operations, rotation, score, site
from functions import tensorflow_serving as tf_serving
from shared.preload import PRELOAD

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
for module in (score, tf_serving, open_inference, health, golden, metrics, operations, rotation, site):
    app.register_functions(module.blueprint)
PRELOAD.begin()
