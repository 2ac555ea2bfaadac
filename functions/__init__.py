"""The triggers. Each is thin: it parses its request, makes one call into ``shared``, and forms the response."""
