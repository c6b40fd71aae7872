"""Every error PIMS raises on purpose. None of them knows of HTTP.

::

    PimsError
    ├── ConfigurationError          a setting is wrong: one line that names it
    ├── RequestError                the caller asked for something that can't be given
    │   ├── InvalidParameter        a parameter's value is wrong
    │   ├── UnsupportedParameter    a parameter this version does not implement
    │   └── OutputTooLarge          more pixels than this server gives
    ├── NotFoundError               no such thing
    │   ├── ImageNotFound
    │   ├── RepresentationNotFound
    │   └── FormatNotFound
    ├── AccessDenied                the caller may not see this
    ├── FileError                   the file is the trouble
    │   ├── NoMatchingFormat        no format recognises it
    │   ├── UnsupportedFeature      a valid file, with something this version can't read
    │   ├── CorruptFile             the file contradicts itself or ends too early
    │   └── LimitExceeded           honest or not, it asks for more than the limits allow
    ├── StorageError                the disk refused (full, permission, vanished)
    └── Overloaded                  there is too much to do at the moment
"""

from __future__ import annotations

__all__ = [
    "AccessDenied",
    "ConfigurationError",
    "CorruptFile",
    "FileError",
    "FormatNotFound",
    "ImageNotFound",
    "InvalidParameter",
    "LimitExceeded",
    "NoMatchingFormat",
    "NotFoundError",
    "OutputTooLarge",
    "Overloaded",
    "PimsError",
    "RepresentationNotFound",
    "RequestError",
    "StorageError",
    "UnsupportedFeature",
    "UnsupportedParameter",
]


class PimsError(Exception):
    """Base of all. `str(error)` is a sentence for people: what, why and, where it helps, what to do."""


class ConfigurationError(PimsError):
    """A setting is missing or wrong; the message names it."""


class RequestError(PimsError):
    """What was asked can't be given."""


class InvalidParameter(RequestError):
    """A parameter's value is wrong.

    Parameters
    ----------
    name : the parameter, as the caller wrote it
    reason : a sentence saying what is expected
    value : what was given
    where : "path", "query", "header" or "body"
    """

    def __init__(self, name: str, reason: str, value: object = None, where: str = "query") -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason
        self.value = value
        self.where = where


class UnsupportedParameter(InvalidParameter):
    """A parameter of the API that this version does not implement, with a value that would matter."""

    def __init__(self, name: str, value: object = None, where: str = "query") -> None:
        super().__init__(name, "not supported by this version", value, where)


class OutputTooLarge(RequestError):
    """The image asked for is larger than this server gives."""

    def __init__(self, width: int, height: int, limit: int) -> None:
        super().__init__(
            f"the output would be {width} x {height} px; this server gives at most {limit} px a side"
        )
        self.width = width
        self.height = height
        self.limit = limit


class NotFoundError(PimsError):
    """No such thing."""


class ImageNotFound(NotFoundError):
    """No image at that path. The message never says whether something else is there."""

    def __init__(self, path: str) -> None:
        super().__init__("There is no image at this path.")
        self.path = path


class RepresentationNotFound(NotFoundError):
    """The image has no file with that role."""

    def __init__(self, representation: str) -> None:
        super().__init__(f"This image has no {representation} representation.")
        self.representation = representation


class FormatNotFound(NotFoundError):
    """No format with that identifier."""

    def __init__(self, identifier: str) -> None:
        super().__init__(f"There is no format called {identifier!r}.")
        self.identifier = identifier


class AccessDenied(PimsError):
    """The caller may not do this."""


class FileError(PimsError):
    """The file itself is the trouble."""


class NoMatchingFormat(FileError):
    """No format recognises the file."""


class UnsupportedFeature(FileError):
    """A valid file that uses something this version can't read."""


class CorruptFile(FileError):
    """The file contradicts itself, ends too early, or can't be decoded."""


class LimitExceeded(FileError):
    """The file asks for more memory, pixels or entries than the limits allow."""


class StorageError(PimsError):
    """The disk refused: full, no permission, or something vanished."""


class Overloaded(PimsError):
    """There is too much to do at the moment; the same request may be answered later."""
