#!/usr/bin/env bash
# One mle checkpoint of each model, then the same extra minutes with every objective; compared on dev, and at the end on test.
#   recipes/objectives/run.sh FOLDER dev|test [override ...]      FOLDER holds {train,dev,test}.{ja,en}
# dev trains (what is done already is found again) and compares on dev; test decodes test, once for each run.
# Overrides hold for every training. MODELS, SEEDS, OBJECTIVES (settings.sh), MLE_STEPS, MINUTES and RUNS are read from the environment.
set -euo pipefail
data=$(realpath "${1:?give the folder that holds train.ja, train.en, dev.ja ... test.en}")
stage=${2:?give dev or test}
[ "$stage" = dev ] || [ "$stage" = test ] || { echo "the stage is dev or test, not $stage" >&2; exit 2; }
shift 2
RUNS=${RUNS:-runs/objectives}
MODELS=${MODELS:-attention transformer}
SEEDS=${SEEDS:-1 2 3}
MLE_STEPS=${MLE_STEPS:-2000}
MINUTES=${MINUTES:-7}
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
source "$here/settings.sh"

train() { # model, folder of its one run, overrides
    local model=$1 folder=$2
    shift 2
    seqgen train --config-dir "$here/configs" experiment="objectives_$model" data.train="[$data/train]" data.valid="$data/dev" \
        data.test="$data/test" runtime.runs_folder="$folder" "$@"
}

decode() { # folder of a run, split, file for the figures, overrides; what is done is not done again
    local run=$1 split=$2 figures=$3
    shift 3
    [ -e "$run/$figures" ] || seqgen eval --ckpt "$run" split="$split" --json "$run/$figures" "$@"
}

run_in() { # the run in a folder that holds one
    local found=("$1"/text-*/)
    [ "${#found[@]}" = 1 ] && [ -d "${found[0]}" ] || { echo "$1 holds no run, or several: give RUNS a new folder" >&2; return 1; }
    echo "${found[0]%/}"
}

for model in $MODELS; do
    if [ "$stage" = dev ]; then
        train "$model" "$RUNS/$model/start/seed-1" objective=mle trainer.steps="$MLE_STEPS" schedule.end="$MLE_STEPS" "$@"
        start=$(run_in "$RUNS/$model/start/seed-1")
        decode "$start" valid greedy.json decoding=greedy
        decode "$start" valid beam.json
        for seed in $SEEDS; do
            for name in $OBJECTIVES; do
                settings=$(settings_of "$model" "$name")  # by itself, so that an unknown name ends the script
                train "$model" "$RUNS/$model/$name/seed-$seed" schedule=constant schedule.warmup=20 ~schedule.end init_from="$start" \
                    trainer.minutes="$MINUTES" trainer.evaluate_every=null trainer.ema_decay=0.98 seed="$seed" $settings "$@"
                run=$(run_in "$RUNS/$model/$name/seed-$seed")
                decode "$run" valid greedy.json decoding=greedy
                decode "$run" valid beam.json
            done
        done
    else
        for folder in "$RUNS/$model"/*/seed-*/; do
            decode "$(run_in "${folder%/}")" test test.json
        done
    fi
done
python "$here/summary.py" "$RUNS" "$data" "$stage"
