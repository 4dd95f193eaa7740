"""Write the digest of every foreign image behind its tag: NAME:TAG becomes NAME:TAG@sha256:...

A tag names whatever its owner last gave that name; a digest names bytes. Digests are those of the
index, so an image stays one for several architectures. Run it where registries can be reached, and
again to renew; images that Arno builds itself (``arno/...``) are left alone. With ``--check``
nothing is written, and the status is 1 where an image is not pinned or its tag has moved on.
"""

from __future__ import annotations

import json
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILES = (
    "deploy/docker/*.Dockerfile",
    "docker-compose.yml",
    "examples/**/compose.yaml",
    "k8s/**/*.yaml",
)
HUB = "registry-1.docker.io"

_IMAGE = re.compile(
    r"^(?P<head>FROM |\s*(?:- )?image: )"
    r"(?P<name>[a-z0-9./_-]+(?::\d+/[a-z0-9./_-]+)?):(?P<tag>[\w.-]+)"
    r"(?P<digest>@sha256:[0-9a-f]{64})?",
    re.MULTILINE,
)
_ACCEPTED = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in ("oci.image.index.v1", "docker.distribution.manifest.list.v2")
)
_TIMEOUT_S = 20


def main() -> int:
    """Run the command line."""
    check = "--check" in sys.argv[1:]
    known: dict[tuple[str, str], str] = {}

    def resolve(name: str, tag: str) -> str:
        if (name, tag) not in known:
            known[name, tag] = digest_of(name, tag)
        return known[name, tag]

    changed = []
    try:
        for path in sorted(path for pattern in FILES for path in ROOT.glob(pattern)):
            text = path.read_text()
            pinned = pin(text, resolve)
            if pinned != text:
                changed.append(str(path.relative_to(ROOT)))
                if not check:
                    path.write_text(pinned)
    except OSError as fault:
        sys.stderr.write(f"pin_images: a registry does not answer: {fault}\n")
        return 2
    for name in changed:
        sys.stdout.write(f"{'differs' if check else 'pinned'}: {name}\n")
    sys.stdout.write(f"pin_images: {len(known)} images, {len(changed)} files\n")
    return 1 if check and changed else 0


def pin(text: str, resolve: Callable[[str, str], str]) -> str:
    """Return a file's text with the digest of each foreign image behind its tag.

    Args:
        text: Of a Dockerfile or of a file in YAML.
        resolve: Returns the digest, ``sha256:...``, of a name and a tag.
    """

    def pinned(found: re.Match[str]) -> str:
        name, tag = found["name"], found["tag"]
        if name.startswith("arno/"):
            return found[0]
        return f"{found['head']}{name}:{tag}@{resolve(name, tag)}"

    return _IMAGE.sub(pinned, text)


def digest_of(name: str, tag: str) -> str:
    """Return the digest that a registry has for a tag now.

    Raises:
        OSError: The registry does not answer, or knows no such tag.
    """
    host, path = registry_of(name)
    scheme = "http" if host.startswith("127.0.0.1:") else "https"
    url = f"{scheme}://{host}/v2/{path}/manifests/{tag}"
    headers = {"Accept": _ACCEPTED}
    try:
        answer = _ask(url, headers)
    except urllib.error.HTTPError as refused:
        challenge = refused.headers.get("WWW-Authenticate", "")
        if refused.code != 401 or not challenge:
            raise OSError(f"{url}: {refused}") from refused
        token = _token(challenge)
        answer = _ask(url, {**headers, "Authorization": f"Bearer {token}"})
    digest = answer.get("Docker-Content-Digest", "")
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise OSError(f"{url}: answered without a digest")
    return digest


def registry_of(name: str) -> tuple[str, str]:
    """Return the host of an image's registry, and the image's path in it, as docker reads names."""
    first, _, rest = name.partition("/")
    if rest and ("." in first or ":" in first or first == "localhost"):
        return first, rest
    return HUB, name if rest else f"library/{name}"


def _ask(url: str, headers: dict[str, str]) -> dict[str, str]:
    request = urllib.request.Request(url, headers=headers, method="HEAD")  # noqa: S310
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
        return dict(answer.headers)


def _token(challenge: str) -> str:
    """Return the token that a registry asks an anonymous reader to fetch."""
    fields = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    query = {name: fields[name] for name in ("service", "scope") if name in fields}
    url = f"{fields['realm']}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:  # noqa: S310
        document = json.load(answer)
    return str(document.get("token") or document["access_token"])


if __name__ == "__main__":
    sys.exit(main())
