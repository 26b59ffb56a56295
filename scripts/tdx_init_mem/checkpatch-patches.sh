#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# checkpatch --strict of kernel patches, with the checkpatch of a kernel tree: TREE PATCH...
# The one set of rules for the lint and for the check of the series.
set -eu
tree=$1
shift
# Without a repository: checkpatch takes a file that git tracks for source, not for a patch.
GIT_DIR=/nonexistent exec perl "$tree/scripts/checkpatch.pl" --no-tree --strict --terse --no-summary \
	--ignore FILE_PATH_CHANGES,UNKNOWN_COMMIT_ID --show-types "$@"
