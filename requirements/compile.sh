#!/bin/sh
# Hashed, host-free requirement files from the short .in files.
#
#   requirements/base.in       what we import, with a range only where we rely on one
#   requirements/embedded.in   the embedded PostgreSQL; the others begin with "-c base.txt"
#   requirements/dev.in        tests and linters
#   requirements/models.in     real models, installed when GATEHOUSE_MODEL is set
#   requirements/redis.in      the channel layer past one machine, when CHANNEL_LAYER_URL says redis://
#
# --universal resolves once for every platform and Python >= 3.11, so hashes for arm64 and macOS are in the file and a
# marker may split one package over two versions. The flags keep the index, find-links and this command line out of the
# result; the last lines prove it. An existing .txt is kept as far as possible: pass --upgrade, or
# --upgrade-package NAME. Installed by: pip install --require-hashes -r requirements/base.txt
set -eu
cd "$(dirname "$0")/.."

for name in base embedded dev models redis; do
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-emit-find-links --no-header --no-annotate \
        "requirements/$name.in" --output-file "requirements/$name.txt" "$@"
done

if grep -nE '://|^ *--?(i|f|index|extra-index|find-links|trusted)' requirements/*.txt; then
    echo "a host or a local path leaked into the files above" >&2
    exit 1
fi
