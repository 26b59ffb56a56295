# SPDX-License-Identifier: GPL-2.0-only
"""The runner: from a fresh machine to a verdict. One module, one role."""
