"""What `seqgen --help` and `seqgen <command> --help` print."""

import textwrap

from seqgen_cli.cli.grammar import COMMANDS, SWEEPING
from seqgen_cli.config.listing import choosers, comments, default_groups, group_choices, inner_groups, summary
from seqgen_cli.config.settings import TOP_LEVEL, flag_of, takes_several, takes_text

EXAMPLES = {
    "train": [
        ("seqgen train", "a Transformer on the built-in phrasebook: any machine, offline"),
        ("seqgen train model=attention data=iwslt_ja_en", "other choices"),
        ("seqgen train model=bert_gru model.encoder=minilm", "classifies film reviews; brings its data and the rest"),
        ("seqgen train model=rnn_lm", "a language model, on the target side of the data"),
        ("seqgen train model.encoder_layers=2 trainer.steps=2000 --dry-run", "other settings; sizes only, trains nothing"),
        ("seqgen train -m optimizer.lr=1e-3,3e-4", "a sweep, ending with a table"),
        ("torchrun --nproc-per-node 8 -m seqgen_cli train", "the same on several GPUs"),
    ],
    "translate": [
        ("seqgen translate --ckpt runs/X --input a.ja --output a.en", "files"),
        ("echo 弟は6年前からロンドンに住んでいます。 | seqgen translate --ckpt runs/X", "standard input to standard output"),
        ("seqgen translate --ckpt runs/X runs/Y decoding.beam_size=8", "an ensemble"),
    ],
    "generate": [
        ("seqgen generate --ckpt runs/X --prompt 'The film' --n 3", "three texts that begin so; without a prompt, from nothing"),
        ("seqgen generate --ckpt runs/X --input prompts.txt decoding.top_p=0.9", "a text for each line"),
        ("seqgen generate --ckpt runs/X --jsonl decoding=beam", "the most probable text, with its log-probability"),
    ],
    "classify": [
        ("seqgen classify --ckpt runs/X --input reviews.txt", "a label and its probability for each line"),
        ("seqgen classify --ckpt runs/X --text 'Not dull at all.' --top 2 --jsonl", "the best labels of one text, as JSON"),
    ],
    "eval": [
        ("seqgen eval --ckpt runs/X", "on the test set of its data"),
        ("seqgen eval --ckpt runs/X -m decoding.beam_size=1,4,8", "a sweep, ending with a table"),
        ("seqgen eval --hyp a.out --ref a.en b.en", "files, without a model"),
    ],
    "score": [
        ("seqgen score --ckpt runs/X --source a.ja --target a.en", "a line of figures for each translation"),
        ("seqgen score --ckpt runs/X --target a.en", "the same for each line, by a language model"),
    ],
    "prepare": [
        ("seqgen prepare data=iwslt_ja_en", "downloads, and reports what cleaning dropped"),
        (
            "seqgen prepare data=imdb tokenizer=wordpiece tokenizer.encoder=minilm",
            "reviews and their word pieces; the encoder itself is not run: seqgen train encodes them",
        ),
    ],
    "bench": [
        ("seqgen bench model=transformer", "tokens/s, memory"),
        ("seqgen bench -m model=rnn,transformer", "compared in one table"),
    ],
}

_FILES = ("hyp", "input", "json", "output_file", "ref", "source", "target")
_FLAGS = """\
Flags, in any position:
  --config-dir FOLDER  choices of your own beside seqgen's
  --cfg job            print the composed configuration; run nothing
  --debug              show the traceback of an error
  --help, --version"""


def overview() -> str:
    """The page of `seqgen --help`."""
    commands = "\n".join(f"  {name:<10} {what}" for name, what in COMMANDS.items())
    examples = "\n".join(f"  {EXAMPLES[name][0][0]}" for name in COMMANDS)
    return (
        "seqgen trains models that generate sequences: data x model x output layer x objective, each a free choice.\n\n"
        f"Usage: seqgen <command> [key=value ...] [--flag value ...]\n\nCommands:\n{commands}\n\nExamples:\n{examples}\n\n"
        f"{_FLAGS}\n\n`seqgen <command> --help` lists its choices and settings, `seqgen help model=attention` a choice's own.\n"
        'Completion in bash: eval "$(seqgen -sc install=bash)"'
    )


def command_page(command: str) -> str:
    """The page of `seqgen <command> --help`."""
    parts = [f"seqgen {command}: {COMMANDS[command]}\n\nExamples:"]
    parts += [f"  {line}\n      {what}" for line, what in EXAMPLES[command]]
    chosen = {group: choice for group, choice in default_groups(command).items() if group_choices(group)}
    if chosen:
        parts.append("\nChoices (group=choice; * unless said otherwise):")
    for group, default in chosen.items():
        parts += [f"  {group}", *_choices(group, default)]
        for inner in inner_groups(group):
            of = ", ".join(f"{chooser} ({start} unless said otherwise)" for chooser, start in choosers(inner).items())
            parts += [f"  {inner}, of {group}={of}", *_choices(inner)]
    parts.append("\nSettings (key=value, or --key value):")
    parts += [f"  {_usage(key):<32} {_short(comment)}" for key, comment in comments(command).items()]
    sweep = "\n  -m, --multirun       run every combination of comma-separated values" if command in SWEEPING else ""
    return "\n".join(parts) + f"\n\n{_FLAGS}{sweep}"


def _choices(group: str, default: str | None = None) -> list[str]:
    return [
        f"  {'*' if name == default else ' '}   {name:<18} {_short(summary(f'{group}/{name}'))}" for name in group_choices(group)
    ]


def _usage(key: str) -> str:
    name = flag_of(key)
    hint = TOP_LEVEL.get(key)
    value = "FILE" if key in _FILES else "N" if hint is None or not takes_text(key) else "NAME"
    return name if hint is bool else f"{name} {value}{' ...' if takes_several(key) else ''}"


def _short(text: str) -> str:
    return textwrap.shorten(text, 90, placeholder=" ...")
