#!/usr/bin/env bash
# The commands of the reports in benchmarks/results, from the repository's root: days on two cores, so take the lines
# that you need.
#
#   benchmarks/quality/reports.sh DATA BERT NOTE
#
# DATA holds corpus folders (docs/data.md); BERT is a BERT-like checkpoint, and NOTE says which ("stand-in: NOTE").
set -euo pipefail
cd "$(dirname "$0")/../.."
data=$1 bert=$2 note=$3 results=benchmarks/results
tables() { python -m benchmarks.quality.tables "$@"; }

shop=$data/sample_shop
[ -d "$shop" ] || python -c "
import sys
from ubm_embed.data.sample_shop import write_sample_shop
write_sample_shop(sys.argv[1], products=1500, sessions=10_000, seed=0)" "$shop"

# The recipe. amazon_* were read by \`ubm-embed ingest DIR --from native\` first.
recipe=(--size shop --rows GRU4Rec SASRec "UBM, shop recipe")
for seed in 0 1 2; do
    tables --data "$data/uci_online_retail" --split session --seed $seed "${recipe[@]}" \
        --out $results/recipe_uci_online_retail_session_seed_$seed.json
done
tables --data "$data/instacart_train" --split session "${recipe[@]}" --out $results/recipe_instacart_train_session_seed_0.json
for name in amazon_beauty_5core amazon_sports_5core; do
    tables --data "$data/$name" --split leave-one-out "${recipe[@]}" --out $results/recipe_${name}_leave-one-out_seed_0.json
done
for name in uci_eshop_clothing_2008 rees46_oct2019_head; do
    tables --data "$data/$name" --split auto "${recipe[@]}" --out $results/recipe_${name}_auto_seed_0.json
done
language=(BERT_mini BERT_8layer BERT_mini_domain BERT_8layer_domain)
tables --data "$data/uci_online_retail" --split session --size shop --bert "$bert" --stand-in "$note" \
    --rows "${language[@]}" "BERT_mini, products trained" "static text" "UBM, paper recipe" "UBM, shop recipe" \
    --out $results/recipe_language_models_uci_online_retail_session_seed_0.json
tables --data "$shop" --task pip --size quick --bert "$bert" --stand-in "$note" \
    --rows "static text" "${language[@]}" "UBM, shop recipe" --out $results/recipe_pip_sample_shop_seed_0.json

# Heads.
heads() { python -m benchmarks.quality.heads --seeds 0 1 2 "$@"; }
heads --task pip --data "$shop" --out $results/heads_pip_sample_shop.json
heads --task pip --data "$data/rees46_oct2019_head" --split session --holdout 0.5 \
    --out $results/heads_pip_rees46_oct2019_head.json
heads --task rlp --data "$data/uci_eshop_clothing_2008" --out $results/heads_rlp_uci_eshop_clothing_2008.json
heads --task rlp --data "$data/instacart_train" --split session --sessions 20000 \
    --out $results/heads_rlp_instacart_train_20000_sessions.json

# New products.
cold_start() { python -m benchmarks.quality.cold_start --bert "$bert" "$@"; }
cold_start --data "$data/uci_online_retail" --size shop --rows co-occurrence "recent co-occurrence" "TF-IDF, mean" \
    "text encoder, mean" "UBM, shop recipe, words only" "UBM, shop recipe" --out $results/recipe_cold_start_uci_online_retail.json
cold_start --finetuning-steps 150
cold_start --data "$data/uci_online_retail"
cold_start --data "$data/instacart_train" --finetuning-steps 150

# The paper's tables.
tables --data "$data/uci_online_retail" --task nip --size small --bert "$bert" --stand-in "$note"
tables --data "$data/uci_eshop_clothing_2008" --task rlp --size quick --bert "$bert" --stand-in "$note"
tables --data "$data/rees46_oct2019_head" --task pip --size quick --split session --holdout 0.5 --bert "$bert" --stand-in "$note"
tables --data "$shop" --task pip --size quick --bert "$bert" --stand-in "$note"
tables --data "$data/uci_eshop_clothing_2008" --table 2 --task nip --size quick
python -m benchmarks.figures_of_the_paper.session_map --data "$shop" --size quick --bert "$bert"

# Pre-training alone.
sizes=(--layers 2 --width 128 --session-layers 2 --session-batch 32 --session-max-steps 25)
python -m benchmarks.quality.real_data --data "$data/uci_online_retail" -- "${sizes[@]}" --item-batch 256 --max-steps 400
python -m benchmarks.quality.real_data --data "$data/uci_eshop_clothing_2008" -- "${sizes[@]}" --item-batch 128 --max-steps 200
