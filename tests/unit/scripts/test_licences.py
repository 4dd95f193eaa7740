"""Every package that ships has a licence under which it may."""

from __future__ import annotations

import pytest
from audit import closure
from licences import Kind, Licence, licences, page, refused, summary


def test_every_package_that_ships_has_a_licence_that_may() -> None:
    found = licences(closure("arno", frozenset({"all"})))
    assert len(found) > 60
    assert refused(found) == []
    assert "permissive" in summary(found)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Apache-2.0 OR BSD-3-Clause", Kind.PERMISSIVE),
        ("MIT License", Kind.PERMISSIVE),
        ("GNU Lesser General Public License v2 or later (LGPLv2+)", Kind.FILES),
        ("MPL-2.0 AND MIT", Kind.FILES),
        ("LicenseRef-NVIDIA-Proprietary", Kind.REDISTRIBUTABLE),
        ("GPL-3.0-or-later", Kind.REFUSED),
        ("GNU Affero General Public License v3", Kind.REFUSED),
        ("CC-BY-NC-4.0", Kind.REFUSED),
        ("", Kind.REFUSED),
    ],
)
def test_licence_asks(text: str, kind: Kind) -> None:
    assert Licence("one", "1", text).kind is kind


def test_refused_package_is_named_with_what_it_declares() -> None:
    found = [
        Licence("free", "1", "MIT"),
        Licence("bound", "2", "GPL-3.0"),
        Licence("bare", "3", ""),
    ]
    assert refused(found) == ["bound 2: GPL-3.0", "bare 3: declares no licence"]
    assert "| free | 1 | MIT | permissive: keep the notice |" in page(found)
