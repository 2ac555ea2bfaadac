"""The page of all problem types, from the error classes and an example of each."""

from shared.errors import GatewayError, problem_types
from tools.reference.examples import EXAMPLES
from tools.reference.markdown import GENERATED, table

_INTRODUCTION = """# Errors

Every error is a problem document ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)), `application/problem+json`:

```json
{
  "type": "urn:problem-type:scoring-gateway:damaged-image",
  "title": "The image is damaged",
  "status": 422,
  "detail": "The image data could not be decoded completely.",
  "remedy": "Upload the file again; it may have been truncated in transit.",
  "file": "cat.jpg",
  "index": 0,
  "request_id": "3205e161-bfea-40af-af0d-50c9dec5a00c"
}
```

- `type` is `urn:problem-type:scoring-gateway:` and one of the names below. It is stable: rely on it.
- `detail` is the cause this time, `remedy` what to do about it, where there is something to do.
- `request_id` finds the request in the gateway's log; every response has it in the header `X-Request-Id` too.
- Some types have members of their own, such as the `file` and `index` of the image.
- With `partial`, each image that cannot be scored has its problem in the place of its labels, without a `request_id`.
- Where trying again may help, the header `Retry-After` says when, in seconds.

The routes of TensorFlow Serving's REST API and of the Open Inference Protocol respond in the form of these protocols,
`{"error": "..."}`, with the same statuses; only 422 becomes 400 there. `/api/health/ready`, which needs no key, has the
meaning of a type instead of the detail.

Some responses come from the Functions host before a request reaches the gateway, and have an empty body: 401 for a
missing or wrong key, 404 for an address or a method that no function has, 413 for a body of more than 100 MB.
"""

# The sections begin with these types, in the order of shared/errors/.
_SECTIONS = {
    "empty-body": ("The request", "The client can correct these; sending the same request again does not help."),
    "misconfigured": ("The gateway", "The operator's: the settings, or a fault of the gateway itself."),
    "identity-unavailable": (
        "Key Vault and the identity",
        (
            "These fail requests only while a worker has no credentials at all: otherwise the last ones stay in use, "
            "and `/api/health/services` shows the problem."
        ),
    ),
    "not-rotated": (
        "Rotation and the control plane",
        "Only `/api/rotation` responds with these; in `/api/operations` they are the problem of a part.",
    ),
    "service-unreachable": ("The inference service", "What is behind the gateway, or on the way to it."),
}


def page() -> str:
    """The page's text."""
    parts = [GENERATED, _INTRODUCTION]
    for kind in problem_types():
        if kind.slug in _SECTIONS:
            title, introduction = _SECTIONS[kind.slug]
            parts.append(f"## {title}\n\n{introduction}\n")
        parts.append(_section(kind))
    return "\n".join(parts)


def _own(kind: type[GatewayError]) -> list[type[GatewayError]]:
    """A type's distinctions in the gateway; commands have some of their own."""
    return [one for one in kind.__subclasses__() if one.__module__ == kind.__module__]


def _section(kind: type[GatewayError]) -> str:
    rows = [("status", str(kind.status)), ("title", kind.title), ("meaning", kind.meaning)]
    rows += [("remedy", kind.remedy)] if kind.remedy else []
    # Of a cause that has one of its own; it is in the response's remedy.
    rows += [("remedy", f"{one.__doc__} {one.remedy}") for one in _own(kind) if "remedy" in vars(one)]
    example = EXAMPLES[kind.slug]
    rows.append(("for example", str(example["detail"])))
    members = ", ".join(f"`{name}`" for name in example if name != "detail")
    rows += [("members", members)] if members else []
    return f"### {kind.slug}\n\n{table(('', ''), rows)}"
