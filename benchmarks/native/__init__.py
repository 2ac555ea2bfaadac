"""The worker itself: invocations of the function app without HTTP, compared with direct calls of the service."""
