"""What can be chosen about alignment, by name."""

ALIGNERS = ("eflomal", "simalign", "mt-encoder", "simalign-package")
# SimAlign's names, and AWESoME's softmax.
SIMALIGN_METHODS = ("inter", "itermax", "mwmf", "fwd", "rev")
METHODS = (*SIMALIGN_METHODS, "softmax")
TOKEN_TYPES = ("bpe", "word")
# How several aligners are combined.
RULES = ("vote", "union", "intersection")
