#!/usr/bin/env bash
# Trains the language model with each output layer, for the same minutes and again for the same updates; exact test perplexity.
#   [ARCHIVE=aclImdb_v1.tar.gz] [MINUTES=20] [STEPS=600] [BLOCKS=4000] [LAYERS="softmax nce"] recipes/output_layers/run_lm.sh [override ...]
# ARCHIVE: a tar in the layout of aclImdb; without it the archive is downloaded once.
set -euo pipefail
RUNS=${RUNS:-runs/output_layers}
LAYERS=${LAYERS:-softmax adaptive_softmax class_softmax binary_tree huffman_tree importance nce}
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
data=()
[ -z "${ARCHIVE:-}" ] || data=("data.archive=$(realpath "$ARCHIVE")")

for layer in $LAYERS; do
    every=100
    case $layer in importance | nce) every=200 ;; esac # a validation takes them as long as full softmax, an update far less
    for budget in minutes="${MINUTES:-20}" steps="${STEPS:-600}"; do
        runs="$RUNS/lm_${budget%%=*}"
        seqgen train --config-dir "$here/configs" experiment=output_layers_lm output="$layer" trainer.evaluate_every="$every" \
            "trainer.$budget" runtime.runs_folder="$runs" "${data[@]}" "$@"
        # The exact perplexity takes full softmax, importance and nce as long as training does; 4,000 blocks are 512,000 words.
        run=$(ls -td "$runs"/imdb_text-rnn_lm-"$layer"-mle-*/ | head -n 1)
        seqgen eval --ckpt "${run%/}" limit="${BLOCKS:-4000}" --json "${run}test.json"
    done
done
python "$here/summary.py" "$RUNS"
