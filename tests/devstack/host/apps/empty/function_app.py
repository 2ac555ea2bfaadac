"""An app that registers no function."""

import azure.functions as func

app = func.FunctionApp()
