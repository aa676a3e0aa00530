"""Why the Studio refuses a request."""

from siglum.errors import SiglumError

STATUS = {  # HTTP status by kind; docs/studio-protocol.md says what each means
    "bad_request": 400,
    "forbidden": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "timeout": 408,
    "conflict": 409,
    "name_taken": 409,
    "already_saved": 409,
    "other_set": 409,
    "nothing_to_undo": 409,
    "outdated": 409,
    "cannot_undo": 409,
    "busy": 409,
    "too_large": 413,
    "unsupported_type": 415,
    "invalid": 422,
    "unreadable": 422,
    "no_ink": 422,
    "several_signs": 422,
    "too_many_requests": 429,
    "internal": 500,
    "cannot_save": 507,
}


class StudioError(SiglumError):
    """A request cannot be fulfilled; `kind` is for programs, the message for people."""

    def __init__(self, kind: str, message: str, **details: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.details = details
