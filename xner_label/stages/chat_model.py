"""A chat model behind an endpoint that speaks OpenAI's protocol: asked for JSON, counted, never asked twice.

Structured outputs (``response_format`` with a JSON schema) are used where the endpoint has them, else its JSON
mode, else plain text in which JSON is looked for. The package openai waits and tries again after rate limits (it
obeys ``Retry-After``), time-outs and the server's own errors.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

import msgspec

from xner_label.errors import ConfigurationError, MissingExtraError, PartialError, RecordError
from xner_label.stages.interfaces import Cache
from xner_label.stages.usage import Meter, Usage

T = TypeVar("T")

# Answers that can't be used are asked for again once: at temperature 0 a third time says nothing new.
_ATTEMPTS = 2
_KEY_HINT = "set XNER_LABEL_LLM_API_KEY, or XNER_LABEL_LLM_API_KEY_FILE, to a key that it takes"
_KEPT_HINT = "what was answered is kept; run the same call again"
# Words of a refusal that say what the endpoint can't do.
_FORMAT_WORDS = ("response_format", "json_schema", "json_object", "schema", "grammar", "structured")
_SHOWN = 200


class Endpoint(msgspec.Struct, frozen=True):
    """Where the model is and how to ask it. ``timeout`` is in seconds, prices are per million tokens."""

    url: str
    model: str
    key: str = ""
    timeout: float = 120.0
    retries: int = 5
    parallel: int = 4
    input_price: float = 0.0
    output_price: float = 0.0

    def __repr__(self) -> str:
        return f"Endpoint({_shown(self.url)}, {self.model})"

    @property
    def signature(self) -> str:
        """The model's name, and a hash of where it is asked."""
        return f"{self.model}@{hashlib.sha256(_shown(self.url).encode()).hexdigest()[:8]}"


class Request(msgspec.Struct, Generic[T], frozen=True):
    """What every text is asked: instructions, the JSON schema of an answer, and the type that it is read as.

    ``field`` is the field of a task that holds the text; errors name it.
    """

    instructions: str
    schema: Mapping[str, Any]
    answer_type: type[T]
    field: str

    @property
    def digest(self) -> str:
        """12 hexadecimal digits of instructions and schema."""
        content = msgspec.json.encode((self.instructions, self.schema))
        return hashlib.sha256(content).hexdigest()[:12]


class ChatModel(Generic[T]):
    """Puts one request about many texts to an endpoint, several at a time.

    Answers are kept in ``cache`` as they come, by text and signature. Raises ConfigurationError where no address
    or model is named, MissingExtraError without the package openai.
    """

    def __init__(self, endpoint: Endpoint, request: Request[T], cache: Cache) -> None:
        if not endpoint.url:
            raise ConfigurationError(
                "no endpoint is named for the language model",
                hint="set llm.url, for example http://127.0.0.1:11434/v1",
            )
        if not endpoint.model:
            raise ConfigurationError(
                "no language model is named",
                hint="name one with --model, pipeline.tagger_model or pipeline.translator_model",
            )
        try:
            import openai  # noqa: F401
        except ImportError:
            raise MissingExtraError("llm", "asking a language model") from None
        self._endpoint = endpoint
        self._request = request
        self._cache = cache
        self._meter = Meter(endpoint.input_price, endpoint.output_price)
        self._lock = threading.Lock()
        self._formats: list[dict[str, Any]] = [
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "strict": True, "schema": dict(request.schema)},
                }
            },
            {"response_format": {"type": "json_object"}},
            {},
        ]
        self._temperature: dict[str, Any] = {"temperature": 0}
        self._answered = False
        self.signature = f"{endpoint.signature}:{request.digest}"

    @property
    def usage(self) -> Usage:
        """What was asked so far."""
        return self._meter.usage

    def count_dropped(self, number: int) -> None:
        """Note that so many entities of answers couldn't be used."""
        self._meter.count(dropped=number)

    def ask(self, texts: Sequence[str]) -> list[T | RecordError]:
        """The answer about each text, in order, or why there is none of use; each distinct text is asked once.

        Raises ConfigurationError for a key or model that the endpoint refuses, PartialError where it can't be
        reached or keeps failing: what was answered till then is kept.
        """
        keys = {text: hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() for text in texts}
        answers: dict[str, T | RecordError] = {}
        stored = self._cache.get_many(self._namespace, list(keys.values()))
        for text, key in keys.items():
            with suppress(KeyError, msgspec.MsgspecError):
                answers[text] = msgspec.json.decode(stored[key], type=self._request.answer_type)
        self._meter.count(kept=len(answers))
        missing = [text for text in keys if text not in answers]
        if missing:
            threads = min(self._endpoint.parallel, len(missing))
            with self._client() as client, ThreadPoolExecutor(threads) as pool:
                futures = [pool.submit(self._ask, client, text, keys[text]) for text in missing]
                try:
                    for text, future in zip(missing, futures, strict=True):
                        answers[text] = future.result()
                finally:
                    pool.shutdown(wait=True, cancel_futures=True)
        return [answers[text] for text in texts]

    @property
    def _namespace(self) -> str:
        return f"llm:{self.signature}"

    def _client(self) -> Any:
        import openai

        return openai.OpenAI(
            base_url=self._endpoint.url,
            api_key=self._endpoint.key or "none",  # local servers want none, the package wants one
            timeout=self._endpoint.timeout,
            max_retries=self._endpoint.retries,
        )

    def _ask(self, client: Any, text: str, key: str) -> T | RecordError:
        messages = [
            {"role": "system", "content": self._request.instructions},
            {"role": "user", "content": text},
        ]
        problem = ""
        for _ in range(_ATTEMPTS):
            content, reason = self._complete(client, messages)
            if reason in ("refused", "content_filter"):
                problem = content or "the model refused to answer"
                break
            if reason == "length":
                problem = "the model's answer was cut; give shorter texts, or raise the server's limit"
                continue
            try:
                answer = msgspec.json.decode(_json_in(content), type=self._request.answer_type)
            except (msgspec.MsgspecError, UnicodeEncodeError):
                problem = f"the model's answer isn't the JSON asked for: {content[:_SHOWN]!r}"
                if not content.strip():
                    problem = "the model's answer is empty"
                again = "That isn't the JSON that was asked for. Answer again, with the JSON object alone."
                messages = messages[:2]
                if content.strip():
                    messages += [
                        {"role": "assistant", "content": content},
                        {"role": "user", "content": again},
                    ]
                continue
            self._cache.put_many(self._namespace, {key: msgspec.json.encode(answer)})
            return answer
        self._meter.count(unreadable=1)
        return RecordError(self._request.field, self._without_key(problem))

    def _complete(self, client: Any, messages: Sequence[Mapping[str, str]]) -> tuple[str, str]:
        """The model's answer and why it ended; ``refused`` where the endpoint didn't take this text."""
        import openai

        while True:
            answer_format, temperature = self._formats[0], self._temperature
            try:
                raw = client.chat.completions.with_raw_response.create(
                    model=self._endpoint.model,
                    messages=messages,
                    **temperature,
                    **answer_format,
                )
                completion = raw.parse()
                choice = completion.choices[0]
                content, refusal = choice.message.content or "", getattr(choice.message, "refusal", None)
                usage = completion.usage
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                if self._asks_for_less(answer_format, temperature, str(error)):
                    continue
                if not self._answered:
                    raise self._configuration_error(error) from None
                return f"the model refused it: {_said(error)}", "refused"
            except (
                openai.AuthenticationError,
                openai.PermissionDeniedError,
                openai.NotFoundError,
            ) as error:
                raise self._configuration_error(error) from None
            except (openai.APIConnectionError, openai.APIStatusError) as error:
                raise self._unreachable(error) from None
            except (openai.APIResponseValidationError, ValueError, AttributeError, TypeError, IndexError):
                self._meter.request(None, 0)
                return "", "stop"  # a 200 that isn't the protocol's answer
            self._answered = True
            tokens = None if usage is None else (usage.prompt_tokens or 0, usage.completion_tokens or 0)
            self._meter.request(tokens, raw.retries_taken)
            if refusal:
                return f"the model refused it: {refusal[:_SHOWN]}", "refused"
            return content, choice.finish_reason or "stop"

    def _asks_for_less(self, answer_format: object, temperature: object, refusal: str) -> bool:
        """Whether the same can be asked again with less that an endpoint may not know."""
        refusal = refusal.lower()
        with self._lock:
            if answer_format is not self._formats[0] or temperature is not self._temperature:
                return True  # another thread has seen to it
            if self._temperature and "temperature" in refusal:
                self._temperature = {}
                return True
            told = any(word in refusal for word in _FORMAT_WORDS)
            if len(self._formats) > 1 and (told or not self._answered):
                del self._formats[0]
                return True
        return False

    def _configuration_error(self, error: Any) -> ConfigurationError:
        where = _shown(self._endpoint.url)
        if error.status_code in (401, 403):
            refused = "refused the key" if self._endpoint.key else "asks for a key"
            return ConfigurationError(f"the endpoint {where} {refused}", hint=_KEY_HINT)
        if error.status_code == 404:
            return ConfigurationError(
                f"the endpoint {where} doesn't know the model {self._endpoint.model!r}: "
                f"{self._without_key(_said(error))}",
                hint="check llm.url (it mostly ends in /v1) and the model's name",
            )
        return ConfigurationError(
            f"the endpoint {where} refuses what it is asked: {self._without_key(_said(error))}",
            hint="check the model's name and whether it answers chat completions",
        )

    def _unreachable(self, error: Any) -> PartialError:
        status = getattr(error, "status_code", None)
        if status == 429:
            problem = "has a rate limit that waiting didn't help with"
        elif status is not None:
            problem = f"failed with HTTP {status}"
        elif "timed out" in str(error).lower():
            problem = f"gave no answer within {self._endpoint.timeout:g} s"
        else:
            problem = "can't be reached"
        said = self._without_key(_said(error)) if status is not None else ""
        return PartialError(
            f"the endpoint {_shown(self._endpoint.url)} {problem}, {self._endpoint.retries + 1} times"
            + (f": {said}" if said else ""),
            hint=_KEPT_HINT,
        )

    def _without_key(self, text: str) -> str:
        return text.replace(self._endpoint.key, "...") if self._endpoint.key else text


def _said(error: Any) -> str:
    """What the server says about an error."""
    body = error.body
    message = body.get("message") if isinstance(body, Mapping) else None
    return str(message or error)[:_SHOWN]


def _json_in(content: str) -> bytes:
    """The JSON object within an answer: some models put it into a fence, or into words."""
    first, last = content.find("{"), content.rfind("}")
    return content[first : last + 1].encode() if 0 <= first < last else content.encode()


def _shown(url: str) -> str:
    """An address without what may be a password."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "given"
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path.rstrip('/')}"
