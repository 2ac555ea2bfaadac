"""The endpoints of the inference protocols, compared with `POST /api/score` and a direct call."""
