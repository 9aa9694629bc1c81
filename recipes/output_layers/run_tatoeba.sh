#!/usr/bin/env bash
# Trains the Transformer of recipes/tatoeba_ja_en with each output layer, without label smoothing, and translates its test set.
#   [LAYERS="softmax nce"] recipes/output_layers/run_tatoeba.sh FOLDER [override ...]      FOLDER holds {train,dev,test}.{ja,en}
set -euo pipefail
data=$(realpath "${1:?give the folder that holds train.ja, train.en, dev.ja ... test.en}")
shift
RUNS=${RUNS:-runs/output_layers}
LAYERS=${LAYERS:-softmax adaptive_softmax class_softmax binary_tree huffman_tree importance nce}
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")

for layer in $LAYERS; do
    # Most layers refuse label smoothing. Adam has a form for tables of which an update uses few rows, AdamW's decay has none.
    smoothing=~output.label_smoothing
    [ "$layer" != softmax ] || smoothing=output.label_smoothing=0
    seqgen train --config-dir "$here/../tatoeba_ja_en/configs" experiment=tatoeba_ja_en output="$layer" "$smoothing" optimizer=adam \
        data.train="[$data/train]" data.valid="$data/dev" data.test="$data/test" runtime.runs_folder="$RUNS/tatoeba" "$@"
    run=$(ls -td "$RUNS"/tatoeba/text-transformer-"$layer"-mle-*/ | head -n 1)
    seqgen eval --ckpt "${run%/}" --json "${run}test.json"
done
python "$here/summary.py" "$RUNS"
