#!/usr/bin/env bash
# Every benchmark that is worth a GPU, in one command that ends within ten minutes:
#
#   benchmarks/gpu.sh DATA_DIR OUT_DIR [WHEELS_DIR]
#
# DATA_DIR holds corpus folders (docs/data.md), of which instacart_train, amazon_beauty_5core, amazon_sports_5core and
# uci_online_retail are used if they exist. WHEELS_DIR holds wheels of the packages that the machine lacks besides torch
# and transformers; nothing is downloaded. BERT and ELECTRA name folders of pre-trained layers, STAND_IN says which BERT.
# Quick steps and rows come first, and each has its own time limit. OUT_DIR is filled as steps end, and a table is
# rewritten after every row. DEVICE=cpu SIZE=smoke is the dry run.
set -uo pipefail
cd "$(dirname "$0")/.."

data=$(realpath "$1") out=$2 wheels=${3:-}
device=${DEVICE:-cuda} size=${SIZE:-full}
mkdir -p "$out"
out=$(realpath "$out")
python=${PYTHON:-python3}
started=$(date +%s)
end=$((started + ${BUDGET:-570}))

if [ -n "$wheels" ]; then
    # In a folder of their own, so that the machine's own torch stays.
    "$python" -m pip install --quiet --no-index --no-deps --target "$out/../site" "$wheels"/*.whl || exit 1
    export PYTHONPATH="$(realpath "$out/../site")${PYTHONPATH:+:$PYTHONPATH}"
fi

# step SECONDS NAME COMMAND...: run it for SECONDS at most, and never past the end
step() {
    local limit=$1 name=$2 left=$((end - $(date +%s)))
    shift 2
    [ "$left" -lt 15 ] && { echo "$name: no time left" | tee -a "$out/steps.txt"; return; }
    [ "$limit" -gt "$left" ] && limit=$left
    local begun=$(date +%s)
    timeout --signal=INT --kill-after=10 "$limit" "$@" >"$out/$name.txt" 2>&1
    echo "$name: exit $?, $(($(date +%s) - begun)) s" | tee -a "$out/steps.txt"
}

bert=()
[ -n "${BERT:-}" ] && bert+=(--bert "$BERT" --stand-in "${STAND_IN:-$(basename "$BERT")}")
[ -n "${ELECTRA:-}" ] && bert+=(--electra "$ELECTRA")

table() { # SECONDS PART DATA TASK [OPTIONS...]: train part of a table's rows; a later part resumes the same report
    local limit=$1 part=$2 name=$3 task=$4
    shift 4
    [ -d "$data/$name" ] || return
    step "$limit" "table_1_${task}_${name}_$part" "$python" -m benchmarks.quality.tables --data "$data/$name" --task "$task" \
        --size "$size" --device "$device" --out "$out/table_1_${task}_${name}_$size.json" --resume "${bert[@]}" "$@"
}

amazon=(--split leave-one-out)
first=(--rows "UBM, shop recipe" SASRec GRU4Rec "static text" UBM_wo_BERT)

nvidia-smi >"$out/nvidia_smi.txt" 2>&1
[ "$device" = cpu ] || step 90 gpu_tests "$python" -m pytest -q -m gpu -p no:cacheprovider tests
if [ "$size" = smoke ]; then
    speed=(--products 200 --sessions 100 --steps 1 --layers 1 --width 32 --item-batch 8 --session-batch 4)
    paper=(--products 200 --sessions 400 --steps 2 --warm-up 1 --layers 1 --width 32)
    batches=(--item-batches 8 64 --session-batches 8 32)
    compiled=()
else
    speed=(--item-batch 512 --session-batch 128 --steps 10 --variants longest --precisions bfloat16)
    paper=() batches=() compiled=(--compile --item-batches 512 --session-batches 128)
fi
step 60 pretraining_speed "$python" -m benchmarks.training.pretraining_speed --device "$device" --out "$out/pretraining_speed_gpu.json" "${speed[@]}"
step 120 paper_pretraining "$python" -m benchmarks.training.paper_pretraining --device "$device" --out "$out/paper_pretraining.json" "${paper[@]}" "${batches[@]}"
table 90 first amazon_beauty_5core nip "${amazon[@]}" "${first[@]}"
table 90 first amazon_sports_5core nip "${amazon[@]}" "${first[@]}"
table 120 first instacart_train nip "${first[@]}"
table 60 first uci_online_retail nip "${first[@]}"
# Compiling may take longer than it saves here, so it comes late.
[ ${#compiled[@]} = 0 ] || step 75 paper_pretraining_compiled "$python" -m benchmarks.training.paper_pretraining --device "$device" \
    --out "$out/paper_pretraining_compiled.json" "${paper[@]}" "${compiled[@]}"
for name in uci_online_retail amazon_beauty_5core amazon_sports_5core instacart_train; do
    case $name in amazon_*) options=("${amazon[@]}") ;; *) options=() ;; esac
    table 120 rest "$name" nip "${options[@]}"
done
echo "$(($(date +%s) - started)) s in all" | tee -a "$out/steps.txt"
# The number of files to copy back may be limited: leave the reports, and one archive of everything else.
(cd "$out" && tar -czf logs.tar.gz *.txt $(ls *.npz 2>/dev/null) && rm -f *.txt *.npz)
