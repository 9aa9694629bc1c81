"""TF-IDF of words and word pairs under logistic regression, on the same splits: python baseline.py ARCHIVE.

The sanity line beside BERT-GRU. Needs scikit-learn. The regularisation is chosen on the validation part; the test part is
measured once, with the model trained on the training part alone, as BERT-GRU is.
"""

import sys

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from seqgen_cli.data.corpora.imdb import Imdb

splits = {name: tuple(zip(*examples, strict=True)) for name, examples in Imdb(archive=sys.argv[1]).labelled_splits().items()}
words = TfidfVectorizer(ngram_range=(1, 2), min_df=3, sublinear_tf=True)
features = {"train": words.fit_transform(splits["train"][0])}
features |= {name: words.transform(splits[name][0]) for name in ("valid", "test")}
models = {c: LogisticRegression(C=c, max_iter=1000).fit(features["train"], splits["train"][1]) for c in (1.0, 4.0, 16.0, 64.0)}
scores = {c: model.score(features["valid"], splits["valid"][1]) for c, model in models.items()}
best = max(scores, key=lambda c: scores[c])
print("validation accuracy by C:", {c: round(score, 4) for c, score in scores.items()})
print(f"test accuracy with C={best:g}: {models[best].score(features['test'], splits['test'][1]):.4f}")
