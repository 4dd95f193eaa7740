"""Read images that a caller names by a path, out of the folders that the operator listed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from arno.errors import InvalidFieldError, LimitExceededError
from arno.web.request_reader import decode_image


class ImageFiles:
    """Reads images: data URLs, and files below the listed folders."""

    def __init__(
        self, folders: Sequence[Path], *, bytes_max: int, setting: str = "--folder"
    ) -> None:
        """Take the folders that may be read, none for none, and the largest file.

        Args:
            folders: What is below them may be read.
            bytes_max: Of a file.
            setting: What lists the folders, for messages.
        """
        self._folders = [folder.resolve() for folder in folders]
        self._bytes_max = bytes_max
        self._setting = setting

    def read(self, image: str) -> bytes:
        """Return the bytes of a data URL or of an image file.

        Raises:
            InvalidFieldError: It is an address, or a path that may not be read or leads nowhere.
            LimitExceededError: The file is too large.
        """
        if image.startswith(("data:", "http:", "https:", "file:")):
            return decode_image("image", image)
        found = self.find(image)
        if found is None:
            listed = ", ".join(map(str, self._folders)) or "none; send a data URL"
            problem = f"no such file in a folder that may be read ({self._setting})"
            raise InvalidFieldError(field="image", problem=problem, limit=listed, sent=image)
        size_bytes = found.stat().st_size
        if size_bytes > self._bytes_max:
            limit, sent = f"{self._bytes_max} bytes", f"{size_bytes} bytes"
            raise LimitExceededError(field="image", problem="too large", limit=limit, sent=sent)
        return found.read_bytes()

    def find(self, path: str) -> Path | None:
        """Return the file of a path in the first folder that has it, or None."""
        # Links are followed first: one inside a folder may lead out of it.
        paths = [(folder / path).resolve() for folder in self._folders]
        inside = [path for path in paths if any(path.is_relative_to(one) for one in self._folders)]
        return next((path for path in inside if path.is_file()), None)
