"""What there is to choose among, by name. What the names stand for is made in stages/ and projection/."""

from __future__ import annotations

TRANSLATORS = ("given", "transformers", "ctranslate2", "llm")
# Those that run a checkpoint.
CHECKPOINT_TRANSLATORS = ("transformers", "ctranslate2")
TAGGERS = ("given", "crf", "transformers", "spacy", "gliner", "llm")
# Several aligners joined by + are an ensemble.
ALIGNERS = ("eflomal", "simalign", "mt-encoder", "simalign-package")
# SimAlign's names, and AWESoME's softmax.
SIMALIGN_METHODS = ("inter", "itermax", "mwmf", "fwd", "rev")
METHODS = (*SIMALIGN_METHODS, "softmax")
TOKEN_TYPES = ("bpe", "word")
# How several aligners are combined.
RULES = ("vote", "union", "intersection")
DTYPES = ("float32", "bfloat16", "float16")
# The paper's fusions come last.
PROJECTORS = (
    *("default", "corpus", "string", "link-dice", "align", "align-greedy", "heuristic"),
    *("easyproject", "xml", "codec", "transfer", "ensemble"),
    *("ner", "ner-spans", "nmt", "align+ner", "align+ner-spans", "align+ner-spans+nmt"),
)
# What may stand behind @ in the name of a projector that matches candidates: how it does, see MatchingProjector.
MATCHINGS = ("<=", "greedy", "=", ">=")
# What a weighted sum of one's own, such as 0.5*align+0.1*casing, can be made of.
SCORES = ("align", "link-dice", "ner", "ner-spans", "nmt", "codec", "string", "source", "length", "casing")
# Those that a weights file belongs to.
WEIGHTED_PROJECTORS = ("default", "corpus")
# Those that a weights file may be named for.
TAKING_WEIGHTS = (*WEIGHTED_PROJECTORS, "ensemble")
# Orders of review.
STRATEGIES = ("least-confident", "leverage", "disagreement", "diversity", "random", "mix")
DEFAULT_STRATEGY = "least-confident"
# What a worker does.
JOB_KINDS = ("sync", "predict", "train")

# What the labels are for, and what an hour of review must add to F1 to be worth it.
MODEL, CORPUS = "model", "corpus"
PURPOSES = (MODEL, CORPUS)
MIN_GAIN = {MODEL: 0.005, CORPUS: 0.02}
