"""Generates the OpenAPI document and its page, during development: nothing deployed imports this package."""
