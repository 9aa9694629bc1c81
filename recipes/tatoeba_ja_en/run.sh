#!/usr/bin/env bash
# Trains the Transformer on Tatoeba Japanese-English for 30 minutes, then scores and translates its test set.
#   recipes/tatoeba_ja_en/run.sh FOLDER [override ...]      FOLDER holds {train,dev,test}.{ja,en}
set -euo pipefail
data=$(realpath "${1:?give the folder that holds train.ja, train.en, dev.ja ... test.en}")
shift
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")

seqgen train --config-dir "$here/configs" experiment=tatoeba_ja_en \
    data.train="[$data/train]" data.valid="$data/dev" data.test="$data/test" "$@"

run=$(ls -td runs/text-transformer-softmax-mle-*/ | head -n 1)
seqgen eval --ckpt "$run" --json "$run/eval.json"
head -n 10 "$data/test.ja" | seqgen translate --ckpt "$run" | paste <(head -n 10 "$data/test.ja") - <(head -n 10 "$data/test.en")
