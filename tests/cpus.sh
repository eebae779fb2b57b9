#!/usr/bin/env bash
# The suite as other processors run it: each instruction set that PyTorch can be held to, with one thread and with two,
# and once while two other processes keep both cores busy. Takes an hour on two cores; prints one line a run.
#
#   tests/cpus.sh [PYTEST_ARGUMENT...]
set -uo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
logs=$(mktemp -d)
status=0

suite() { # NAME [VARIABLE=VALUE...]: one run; its output is kept in a file
    local name=$1
    shift
    if env "$@" "$python" -m pytest -q -n auto --dist loadfile --no-loadscope-reorder -p no:cacheprovider "${arguments[@]}" \
        >"$logs/$name.txt" 2>&1; then
        echo "$name: $(tail -1 "$logs/$name.txt")"
    else
        status=1
        echo "$name: FAILED, see $logs/$name.txt"
        grep -E "^(FAILED|ERROR)" "$logs/$name.txt"
    fi
}

arguments=("$@")
for threads in 1 2; do
    suite "as-it-comes-$threads" OMP_NUM_THREADS=$threads
    for capability in default avx2; do
        suite "$capability-$threads" OMP_NUM_THREADS=$threads ATEN_CPU_CAPABILITY=$capability
    done
done

spin() { exec "$python" -c 'while True: pass'; }
spin & spin &
trap 'kill $(jobs -p) 2>/dev/null' EXIT
suite busy OMP_NUM_THREADS=1
exit $status
