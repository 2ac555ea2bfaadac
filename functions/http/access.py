"""The level at which the Functions host admits requests to the routes that score."""

import os

import azure.functions as func

from shared.settings import AuthLevel, auth_level

# At import, when the host asks for the functions: settings that change restart the app.
SCORING = func.AuthLevel.ANONYMOUS if auth_level(os.environ) is AuthLevel.ANONYMOUS else func.AuthLevel.FUNCTION
