"""Photographs: decoding 12 megapixels, its memory and pauses, and what formats and shortcuts do to the scores."""
