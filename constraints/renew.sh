#!/usr/bin/env bash
# Writes the files beside this one with uv (pip install uv), for every Python that we declare and that Airflow supports.
# For older Airflows it takes the packages of the weeks after their release, as their users have them, and today's tools.
# What the files name already is kept where it fits: `constraints/renew.sh --upgrade` takes the newest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
today=$(date +%F)

renew() { # file, day, Python, group, constraint… -- option…
    local file=constraints/airflow-$1.txt day=$2 python=$3 group=$4 constraints=()
    shift 4
    while [ "$1" != -- ]; do constraints+=("$1") && shift; done
    local newer=()
    for tool in fireworks-ai httpx-aiohttp hypothesis openapi-schema-validator pytest pytest-asyncio pytest-xdist; do
        newer+=(--exclude-newer-package "$tool=$today")
    done
    uv pip compile -q --universal --python-version "$python" --no-annotate --no-header \
        --exclude-newer "$day" "${newer[@]}" -c <(printf '%s\n' "${constraints[@]}") \
        pyproject.toml --group "$group" -o "$file" "${@:2}" >/dev/null
}

# Their own common-compat is older than what we need.
compat=(--exclude-newer-package "apache-airflow-providers-common-compat=$today")
# What pyproject.toml allows at least.
mapfile -t floors < <(sed -n '/^dependencies = \[/,/^\]/s/^ *"\([a-z-]*\)>=\([0-9.]*\).*/\1==\2/p' pyproject.toml)

renew lowest 2025-09-20 3.10 test "${floors[@]}" -- "${compat[@]}" "$@"
renew 3.0 2025-09-20 3.10 test apache-airflow==3.0.6 -- "${compat[@]}" "$@"
renew 3.1 2026-03-25 3.10 test apache-airflow==3.1.8 -- "$@"
renew 3.2 2026-06-05 3.10 test apache-airflow==3.2.2 -- "$@"
renew 3.3 "$today" 3.10 dev apache-airflow==3.3.2 -- --group docs "$@"
# A beta, as 3.4.0 cannot be installed yet. Of other packages, betas are taken only where there is nothing else.
renew 3.4 "$today" 3.11 e2e apache-airflow==3.4.0b2 -- --prerelease if-necessary-or-explicit "$@"
