"""A built-in Japanese-English corpus, made by a grammar: `data=phrasebook`."""
