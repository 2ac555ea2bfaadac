"""Errors of the app settings, and of the gateway itself."""

from shared.errors.base import GatewayError


class Misconfigured(GatewayError):
    slug = "misconfigured"
    status = 500
    title = "The gateway's settings are wrong"
    meaning = "The app settings cannot be used; the log, and GET /api/health/services with a key, name each faulty one."
    remedy = "Correct the app settings that are named, and restart the function app."


class InternalError(GatewayError):
    slug = "internal-error"
    status = 500
    title = "The gateway failed"
    meaning = "An unexpected fault of the gateway itself."
    remedy = "Report it with the request_id: the gateway's log has the location under it."
