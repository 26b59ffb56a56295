# SPDX-License-Identifier: GPL-2.0-only
"""Kernel lines and variants, as data."""

import dataclasses
import typing

# File names in the pool are package_version-DEBIAN_REVISION_all.deb.
DEBIAN_REVISION = "1~bpo13+1"


@dataclasses.dataclass(frozen=True)
class Line:
    """A kernel that the runner knows how to get; sha256 is that of Debian's source package."""

    name: str
    version: str
    sha256: str

    @property
    def package(self) -> str:
        return f"linux-source-{self.name[1:]}"

    @property
    def file(self) -> str:
        return f"{self.package}_{self.version}-{DEBIAN_REVISION}_all.deb"


LINES: typing.Dict[str, Line] = {line.name: line for line in (
    Line("v6.16", "6.16.12", "964713fc10135438e02350259f9c0f8f7a82a4994e27980790aaee1cfd197242"),
    Line("v6.17", "6.17.13", "8473b9d14f56d0af2da1607ee2e3435ea5c32f63ae6e52b2a0bd84aeef193dc8"),
    Line("v6.18", "6.18.15", "1638c9e5f4307c722231d8000e30cd2fa2fb71f55e081ff9eecfd0a756955c18"),
    Line("v6.19", "6.19.14", "027344f5c615c16df534878d7e434639d3bf7702c67bd41123be815e0953133b"),
    Line("v7.0", "7.0.13", "9de21058e4237f2533f044ec67af0b5edc3d879db2f3c8f2a396a33467154274"),
    Line("v7.1", "7.1.13", "50166eae1af0dd300ad3f74e7829bb4bbff71038eb4934625c713d021eb03258"),
    Line("v7.2", "7.2.12", "73ca6c22599ba411ab3179642d33501ca2c90174e13c3c8d86e996ea1cbf2a8f"),
    Line("v7.3", "7.3.4", "703e369ddd4cce971452f5a593ee55df3a5c10c83caf0fa0df039633ed181ee3"),
)}

# The lines that have patches, hence the rows of the matrix.
DEFAULT_LINES = ("v6.18", "v7.3")

# The directories whose <line>/*.patch make a variant, in the order of application.
VARIANTS: typing.Dict[str, typing.Tuple[str, ...]] = {
    "base": (),
    "shared-lock": ("virt/kvm/patches",),
    "decoupled": ("virt/kvm/patches", "arch/x86/kvm/patches"),
}
