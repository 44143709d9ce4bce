"""ISO 639 language codes in the spelling of a translation checkpoint."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Literal

from xner_label.errors import ConfigurationError

Family = Literal["nllb", "m2m100", "madlad", "pair"]

# How each family writes a language token; the group is the language tag, NLLB's with its script.
_TOKENS: dict[Family, re.Pattern[str]] = {
    "nllb": re.compile(r"([a-z]{3}_[A-Z][a-z]{3})"),
    "m2m100": re.compile(r"__([a-z]{2,3})__"),
    "madlad": re.compile(r"<2([a-z]{2,3}(?:_[A-Za-z]{2,4})?)>"),
}
# The usual member of a macrolanguage where CLDR, which langcodes follows, names none.
_MEMBERS = {"fuv": "ff", "nb": "no", "pbt": "ps", "quy": "qu"}
# A tokenizer with fewer tokens of a family's form has them by coincidence.
_ENOUGH = 2


class LanguageCodes:
    """The languages of one translation checkpoint, found by ISO 639-1, 639-3 or BCP 47 code.

    ``family`` says how the checkpoint is told its languages; ``pair`` are those made for one pair, which are not
    told at all.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.family, self._tokens = _find_family(tokenizer)

    def __len__(self) -> int:
        return len(self._tokens)

    def token(self, language: str) -> str:
        """The checkpoint's token for a language. Raises ConfigurationError for one it doesn't know.

        The code itself comes first (``zho_Hant``, ``lg``), then the same language under another code (``lug``,
        ``swh`` for ``sw``), then its macrolanguage; of several scripts the one the language is mostly written in.
        """
        import langcodes
        from langcodes.tag_parser import LanguageTagError

        if not language:
            raise ConfigurationError(
                "the language to translate isn't named", hint="set target_language (--target-language), e.g. lg"
            )
        if language in self._tokens:
            return self._tokens[language]
        try:
            wanted = langcodes.get(language.replace("_", "-"))
        except LanguageTagError:
            raise ConfigurationError(
                f"{language!r} is no language code", hint="give an ISO 639 code such as lg, swh or pt"
            ) from None
        for macro in (False, True):
            standard = _standard(wanted.language or "", macro)
            tags = [tag for tag in self._tokens if _standard(re.split("[-_]", tag)[0], macro) == standard]
            if tags:
                return self._tokens[self._by_script(tags, wanted, language)]
        raise ConfigurationError(
            f"the translator doesn't know the language {wanted.to_tag()}",
            hint=f"it knows {len(self)} languages; choose another checkpoint, or a close relative",
        )

    def _by_script(self, tags: list[str], wanted: Any, language: str) -> str:
        if len(tags) == 1:
            return tags[0]
        script = wanted.script or wanted.maximize().script
        matching = [tag for tag in tags if re.split("[-_]", tag)[1:] in ([script], [])]
        if len(matching) != 1:
            raise ConfigurationError(
                f"the translator knows several forms of {language}: {', '.join(sorted(tags))}",
                hint="give one of these codes",
            )
        return matching[0]


def _find_family(tokenizer: Any) -> tuple[Family, dict[str, str]]:
    special = [*getattr(tokenizer, "lang_code_to_token", {}).values(), *tokenizer.added_tokens_encoder]
    for family, pattern in _TOKENS.items():
        tokens = _matching(tokenizer.get_vocab() if family == "madlad" else special, pattern)
        if len(tokens) >= _ENOUGH:
            return family, tokens
    return "pair", {}


def _matching(names: Iterable[str], pattern: re.Pattern[str]) -> dict[str, str]:
    matches = [(pattern.fullmatch(name), name) for name in names]
    return {match.group(1): name for match, name in matches if match}


def _standard(language: str, macro: bool) -> str:
    import langcodes
    from langcodes.tag_parser import LanguageTagError

    try:
        tag = langcodes.standardize_tag(language, macro=macro)
    except LanguageTagError:
        return language
    return _MEMBERS.get(tag, tag) if macro else tag
