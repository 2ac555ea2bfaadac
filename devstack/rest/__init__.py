"""The shared parts of the local REST servers: options, tokens, bodies, errors, pages, injected faults, start, stop."""
