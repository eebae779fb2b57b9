#!/usr/bin/env bash
# Everything here that is worth a GPU, in one command that ends within ten minutes:
#
#   benchmarks/gpu.sh DATA_DIR OUT_DIR [WHEELS_DIR]
#
# DATA_DIR holds corpus folders (docs/data.md): instacart_train, amazon_beauty_5core, amazon_sports_5core and
# uci_online_retail are asked where they are there. WHEELS_DIR holds wheels of what the machine lacks beside torch and
# transformers; nothing is fetched. BERT and ELECTRA name folders of pre-trained layers, STAND_IN what BERT is.
# Quick steps and rows first; each has its own limit, so that a slow one costs itself alone. OUT_DIR is filled as they end,
# and a table is written anew after every row. DEVICE=cpu SIZE=smoke is the dry run.
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
    # Beside what is installed, so that the machine's own torch stays.
    "$python" -m pip install --quiet --no-index --no-deps --target "$out/../site" "$wheels"/*.whl || exit 1
    export PYTHONPATH="$(realpath "$out/../site")${PYTHONPATH:+:$PYTHONPATH}"
fi

# step SECONDS NAME COMMAND...: at most so long, and never past the end
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

table() { # SECONDS PART DATA TASK [OPTIONS...]: one part of a table's rows; a later part adds to an earlier one
    local limit=$1 part=$2 name=$3 task=$4
    shift 4
    [ -d "$data/$name" ] || return
    step "$limit" "table_1_${task}_${name}_$part" "$python" -m benchmarks.quality.tables --data "$data/$name" --task "$task" \
        --size "$size" --device "$device" --out "$out/table_1_${task}_${name}_$size.json" --add "${bert[@]}" "$@"
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
    speed=(--item-batch 512 --session-batch 128 --steps 10 --forms longest --precisions bfloat16)
    paper=() batches=() compiled=(--compile --item-batches 512 --session-batches 128)
fi
step 60 pretraining_speed "$python" -m benchmarks.training.pretraining_speed --device "$device" --out "$out/pretraining_speed_gpu.json" "${speed[@]}"
step 120 paper_pretraining "$python" -m benchmarks.training.paper_pretraining --device "$device" --out "$out/paper_pretraining.json" "${paper[@]}" "${batches[@]}"
table 90 first amazon_beauty_5core nip "${amazon[@]}" "${first[@]}"
table 90 first amazon_sports_5core nip "${amazon[@]}" "${first[@]}"
table 120 first instacart_train nip "${first[@]}"
table 60 first uci_online_retail nip "${first[@]}"
# Compiling may take longer than all that it saves here.
[ ${#compiled[@]} = 0 ] || step 75 paper_pretraining_compiled "$python" -m benchmarks.training.paper_pretraining --device "$device" \
    --out "$out/paper_pretraining_compiled.json" "${paper[@]}" "${compiled[@]}"
for name in uci_online_retail amazon_beauty_5core amazon_sports_5core instacart_train; do
    case $name in amazon_*) options=("${amazon[@]}") ;; *) options=() ;; esac
    table 120 rest "$name" nip "${options[@]}"
done
echo "$(($(date +%s) - started)) s in all" | tee -a "$out/steps.txt"
# What comes back may be limited to a few files: the reports themselves, and one of everything else.
(cd "$out" && tar -czf logs.tar.gz *.txt $(ls *.npz 2>/dev/null) && rm -f *.txt *.npz)
