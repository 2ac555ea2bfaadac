"""A small OpenTelemetry collector, for looking at what the gateway exports: traces as waterfalls, metrics as a table.

It takes OTLP over HTTP, and keeps the latest in memory.
"""
