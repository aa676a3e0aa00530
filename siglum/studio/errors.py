"""Why the Studio refuses a request."""

from siglum.errors import SiglumError

STATUS = {  # HTTP status by kind; docs/studio-protocol.md says what each means
    "bad_request": 400,
    "forbidden": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "timeout": 408,
    "too_large": 413,
    "unsupported_type": 415,
    "too_many_requests": 429,
    "head_too_large": 431,
    "internal": 500,
    "cannot_save": 507,
    **dict.fromkeys(("conflict", "name_taken", "already_saved", "other_set", "busy"), 409),
    **dict.fromkeys(("nothing_to_undo", "outdated", "cannot_undo"), 409),
    **dict.fromkeys(("invalid", "unreadable", "no_ink", "several_signs"), 422),
}


class StudioError(SiglumError):
    """A request cannot be fulfilled; `kind` is for programs, the message for people."""

    def __init__(self, kind: str, message: str, **details: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.details = details
