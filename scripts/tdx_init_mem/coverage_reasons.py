# SPDX-License-Identifier: GPL-2.0-only
"""Why a line has no test, as data."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Reason:
    """Of every line of @function with @text in it that no test reaches.

    White space is one blank; @text may begin in the line before.
    """

    function: str
    text: str
    reason: str


# What KVM asserts about itself. Most such lines share the code of another return.
_BUG = "only a bug of KVM leads here"

REASONS = (
    Reason("tdx_spte_to_sept_pt", "KVM_BUG_ON(sp->gfn != gfn, kvm)) return NULL;", _BUG),
)
