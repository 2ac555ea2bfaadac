"""The function app: registers the triggers, and nothing else."""

import azure.functions as func

from functions import health, score

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
for blueprint in (score.blueprint, health.blueprint):
    app.register_functions(blueprint)
