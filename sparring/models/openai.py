"""A model behind an OpenAI-compatible server: vLLM, SGLang, transformers serve, llama.cpp, or a commercial one.

What servers offer differs, so all but the text is optional:

- token ids (vLLM and SGLang: ``return_token_ids``) are asked for where a tokenizer is given, since nobody else can use them; with
  the completions API the prompt goes out as token ids too (``encode_prompt``, which the learner shares), and as rendered text where
  a server takes no ids;
- log-probs are kept where there is one for each token id and where they are those of the distribution at temperature 1: at
  temperature 1, and at any temperature from vLLM, whose log-probs are taken before sampling (unless it is told otherwise with
  ``--logprobs-mode``); SGLang's are those of the tempered distribution;
- ``n``: a server that refuses or ignores it is asked for one answer at a time;
- ``seed`` is sent with every request and belongs to the item. transformers serve sets one for the whole process, so there it decides
  the answer only at ``concurrency = 1`` and for a checkpoint whose generation config samples.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparring.config import Endpoint
from sparring.conversation import Conversation
from sparring.data import encode_prompt
from sparring.errors import SparringError
from sparring.game import FAULT, Sample, Sampling, Scored, stable_hash
from sparring.models.answers import Answer, Choice
from sparring.models.asking import Asker, Call, OneByOne, Prompt, Request, Serving, settled
from sparring.models.ledger import Ledger, Usage
from sparring.models.likelihoods import echo_request, echoed, first_request, first_tokens, letter_score
from sparring.models.transport import Trouble

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Message = Mapping[str, str]
"""``role`` (system, user or assistant) and ``content``."""

_RAW_LOGPROBS = ("vllm",)
"""Owners of listed models (GET /models) whose log-probs know no temperature."""
_TURN_TOKENS = 16
"""What a chat template may add to a turn, for the upper bound on a request's tokens."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Item:
    """A prompt as it goes out: its part of the body, an upper bound on its tokens, and the text that token ids stand for."""

    name: str
    body: dict[str, Any]
    tokens: int
    plain: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Draw:
    """What all prompts of a call share. ``logprobs``: those of the server would be of temperature 1."""

    how: Sampling
    role: str
    seed: int
    serving: Serving
    logprobs: bool


_Drawn = tuple[Answer, Choice] | Trouble


class OpenAIModel:
    """Satisfies ``sparring.game.Model``. A prompt that brings no answer has a sample whose ``fault`` says why.

    ``ledger``: where answers and costs are kept, in memory if none is given; ``tokenizer``: that of the served model, or its
    folder; ``serving``: the weights to ask for (``served.refresh``), in place of ``endpoint.model``.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        ledger: Ledger | None = None,
        tokenizer: PreTrainedTokenizerBase | Path | str | None = None,
        serving: Serving | None = None,
    ) -> None:
        self.endpoint = endpoint
        self._asker = Asker(endpoint, ledger)
        self._tokenizer = load_tokenizer(tokenizer) if isinstance(tokenizer, Path | str) else tokenizer
        self._serving = serving
        self._raw: bool | None = None

    def sample(self, prompts: Sequence[str], how: Sampling, *, role: str, seed: int) -> list[list[Sample]]:
        """``how.n`` samples for each prompt, in order; equal prompts get equal samples.

        Raises SparringError where the server answers nothing at all, and for what only the user can mend.
        """
        return self._sample([self._item(prompt) for prompt in prompts], how, role, seed)

    def chat(self, conversations: Sequence[Sequence[Message]], how: Sampling, *, role: str, seed: int) -> list[list[Sample]]:
        """The same for whole conversations, each to be followed by the assistant's next turn."""
        if self.endpoint.api != "chat":
            raise SparringError(f"a conversation needs api = 'chat' of the endpoint {self.endpoint.url}, it has 'completions'")
        return self._sample([_turns(conversation) for conversation in conversations], how, role, seed)

    def score(self, pairs: Sequence[tuple[str, str]], *, role: str) -> list[Scored]:
        """How likely each (prompt, text) is, by a server that echoes token ids with their log-probs (vLLM, SGLang).

        Without a tokenizer, the likeliest first tokens of a chat's answer are all that can be seen: enough for texts of one letter.
        One that is not among them has the log-prob -inf; where a prompt brings no answer it is NaN.
        """
        asked = [pair for pair in dict.fromkeys(pairs) if pair[1]]
        letters = self.endpoint.api == "chat" and all(len(text) == 1 for _, text in asked)
        if asked and self._tokenizer is None and not letters:
            raise SparringError(f"scores from {self.endpoint.url} need the tokenizer of its model; give its folder")
        found = self._asker.run(partial(self._score_all, asked)) if asked else []
        scores = dict(zip(asked, found, strict=True))
        return [scores.get(pair, Scored(logprob=0.0, tokens=0)) for pair in pairs]

    def usage(self) -> Usage:
        """What was spent on this server's model by everybody who shares the ledger."""
        return self._asker.ledger.spent(self._asker.account)

    # -- sampling -------------------------------------------------------------------------------------------------------

    def _sample(self, items: Sequence[_Item], how: Sampling, role: str, seed: int) -> list[list[Sample]]:
        if how.beam:
            raise SparringError(
                f"{self.endpoint.url}: endpoints offer no beam search; sample, or serve the policy in this process"
            )
        if not items:
            return []
        named = {item.name: item for item in items}

        async def work(call: Call) -> list[list[Sample]]:
            draw = _Draw(how=how, role=role, seed=seed, serving=await self._named(call), logprobs=await self._logprobs(call, how))
            await self._check_weights(call, draw.serving)
            groups = await call.gather([self._group(call, item, draw) for item in named.values()])
            await self._check_weights(call, draw.serving)
            pairs = zip(named.values(), groups, strict=True)
            return [[self._sample_of(item, drawn, draw) for drawn in group] for item, group in pairs]

        groups = dict(zip(named, self._asker.run(work), strict=True))
        return [list(groups[item.name]) for item in items]

    async def _group(self, call: Call, item: _Item, draw: _Draw) -> list[_Drawn]:
        """The answers to one prompt: together where the server can, the rest one by one. A greedy answer is asked for once."""
        prompt, greedy = Prompt(), draw.how.temperature == 0
        several = draw.how.n > 1 and not greedy
        found = await self._together(call, prompt, item, draw) if several else []
        numbers = range(len(found), 1 if greedy else draw.how.n)
        alone = await settled(self._alone(call, prompt, self._request(item, draw, 1, k)) for k in numbers)
        if several and any(not isinstance(drawn, Trouble) for drawn in alone):
            self._asker.ledger.learn(self._asker.account, "n")  # what was not to be had together is there one by one
        found += alone
        return found * draw.how.n if greedy else found

    async def _together(self, call: Call, prompt: Prompt, item: _Item, draw: _Draw) -> list[_Drawn]:
        asker, n = self._asker, draw.how.n
        request = self._request(item, draw, n, 0)
        known = "n" in asker.ledger.habits(asker.account)
        if known and asker.ledger.find(request.key(asker.transport.url)) is None:
            return []
        try:
            answer = await call.ask(prompt, request)
        except OneByOne:
            return []
        except Trouble as trouble:
            return [trouble] * n
        return [_drawn(answer, choice) for choice in answer.choices[:n]]

    async def _alone(self, call: Call, prompt: Prompt, request: Request) -> _Drawn:
        try:
            answer = await call.ask(prompt, request)
        except Trouble as trouble:
            return trouble
        return _drawn(answer, answer.choices[0])

    def _request(self, item: _Item, draw: _Draw, n: int, k: int) -> Request:
        """For ``n`` answers, the first of which is the prompt's ``k``-th."""
        how, api = draw.how, self.endpoint.api
        body = {
            "model": draw.serving.model,
            **item.body,
            "max_tokens": how.max_new_tokens,
            "temperature": how.temperature,
            "top_p": how.top_p,
            "stream": False,
        }
        if n > 1:
            body["n"] = n
        if how.temperature > 0:
            body["seed"] = stable_hash(draw.seed, draw.role, item.name, k) % 2**31  # some servers hold it in 32 bits
        if how.stop:
            body["stop"] = [how.stop]
        if self._tokenizer is not None:
            body["return_token_ids"] = True
            if draw.logprobs:
                body["logprobs"] = True if api == "chat" else 1
        return Request(
            api=api,
            body={**body, **self.endpoint.extra},
            prompt_tokens=item.tokens,
            max_tokens=how.max_new_tokens,
            serving=draw.serving,
            n=n,
            plain=item.plain,
            fixed=frozenset(self.endpoint.extra),
        )

    def _sample_of(self, item: _Item, drawn: _Drawn, draw: _Draw) -> Sample:
        if isinstance(drawn, Trouble):
            return Sample(role=draw.role, text="", finish=f"{FAULT}{drawn.reason}")
        answer, choice = drawn
        stop = draw.how.stop
        cut = bool(stop) and stop in choice.text
        sent = item.body.get("prompt")
        ids = choice.token_ids if not cut and self._ends_well(choice, stop) else ()
        return Sample(
            role=draw.role,
            prompt_ids=answer.prompt_ids or (tuple(sent) if isinstance(sent, list) else ()),
            token_ids=ids,
            logprobs=choice.logprobs if ids and draw.logprobs else (),
            text=choice.text.partition(stop)[0] if cut else choice.text,
            finish="stop" if cut else choice.finish,
        )

    def _ends_well(self, choice: Choice, stop: str) -> bool:
        """Whether the ids of a finished answer are all there: some servers leave out the token that ended it."""
        if self._tokenizer is None or not choice.token_ids:
            return False
        return choice.finish == "length" or bool(stop) or choice.token_ids[-1] in end_ids(self._tokenizer)

    # -- the server ----------------------------------------------------------------------------------------------------

    async def _named(self, call: Call) -> Serving:
        """What to ask for: the weights that were given, the endpoint's model, or the only one that the server lists."""
        serving = self._serving or Serving(model=self.endpoint.model)
        if not serving.model:
            models = await call.models(self.endpoint.retries)
            if len(models) != 1:
                names = ", ".join(repr(name) for name, _ in models[:8]) or "none"
                raise SparringError(
                    f"{self.endpoint.url} lists {len(models)} models ({names}); name one as model of this endpoint"
                )
            serving = replace(serving, model=models[0][0])
        self._serving = serving
        return serving

    async def _logprobs(self, call: Call, how: Sampling) -> bool:
        """Whether this server's log-probs are those of temperature 1 (``Sample.logprobs``)."""
        if self._tokenizer is None or how.temperature == 1:
            return True
        if self._raw is None:
            try:
                self._raw = any(owner in _RAW_LOGPROBS for _, owner in await call.models(0))
            except SparringError:  # not every server has a list
                self._raw = False
        return self._raw

    async def _check_weights(self, call: Call, serving: Serving) -> None:
        """Where answers carry no stamp the server is asked; answers since the last time it said so are not to be trusted."""
        if serving.stamp != "info":
            return
        found = await call.weight_version()
        if found != serving.version:
            self._asker.ledger.forget(call.kept)
            raise SparringError(
                f"{self.endpoint.url} says that it serves the weights {found!r}, {serving.version!r} were loaded: it was restarted or "
                "somebody else uses it; run the same command again, which loads them anew"
            )

    # -- prompts -------------------------------------------------------------------------------------------------------

    def _item(self, prompt: str) -> _Item:
        if self.endpoint.api == "chat":
            turns = prompt.turns if isinstance(prompt, Conversation) else (prompt,)
            messages = [{"role": ("user", "assistant")[k % 2], "content": turn} for k, turn in enumerate(turns)]
            return replace(_turns(messages), name=prompt)
        if self._tokenizer is None:
            return _Item(name=prompt, body={"prompt": prompt}, tokens=len(prompt.encode()))
        ids = encode_prompt(self._tokenizer, prompt)
        return _Item(name=prompt, body={"prompt": ids}, tokens=len(ids), plain=_rendered(self._tokenizer, prompt))

    async def _score_all(self, pairs: Sequence[tuple[str, str]], call: Call) -> list[Scored]:
        serving = await self._named(call)
        await self._check_weights(call, serving)
        if self._tokenizer is None:
            found = await self._letters(call, serving, pairs)
        else:
            requests = [echo_request(self.endpoint, serving, self._tokenizer, *pair) for pair in pairs]
            found = await call.gather([echoed(call, request) for request in requests])
        await self._check_weights(call, serving)
        return found

    async def _letters(self, call: Call, serving: Serving, pairs: Sequence[tuple[str, str]]) -> list[Scored]:
        items = [self._item(prompt) for prompt in dict.fromkeys(prompt for prompt, _ in pairs)]
        requests = [first_request(self.endpoint, serving, item.body, item.tokens) for item in items]
        answers = await call.gather([first_tokens(call, request) for request in requests])
        first = dict(zip([item.name for item in items], answers, strict=True))
        return [letter_score(first[prompt], letter) for prompt, letter in pairs]


def _drawn(answer: Answer, choice: Choice) -> _Drawn:
    return Trouble("refused", choice.withheld) if choice.withheld else (answer, choice)


def _turns(conversation: Sequence[Message]) -> _Item:
    messages = [{"role": turn["role"], "content": turn["content"]} for turn in conversation]
    tokens = sum(len(turn["content"].encode()) + _TURN_TOKENS for turn in messages)
    return _Item(name=json.dumps(messages), body={"messages": messages}, tokens=tokens)


def _rendered(tokenizer: PreTrainedTokenizerBase, prompt: str) -> str | None:
    """The text that ``encode_prompt`` encodes, for a server that will encode it: None where special tokens would come of it."""
    if isinstance(prompt, Conversation) or any(token in prompt for token in tokenizer.all_special_tokens):
        return None
    text = str(tokenizer.apply_chat_template([{"role": "user", "content": prompt}], add_generation_prompt=True, tokenize=False))
    begin = tokenizer.bos_token
    if isinstance(begin, str) and tokenizer.encode("")[:1] == [tokenizer.bos_token_id]:
        return text.removeprefix(begin)  # the server's tokenizer puts it there again
    return text


def load_tokenizer(folder: Path | str) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise SparringError(f"{folder} holds no tokenizer: {error}; give the folder of the served model") from error


def end_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """The tokens that end an answer: the tokenizer's, and those of the generation config beside it."""
    ends: list[Any] = [tokenizer.eos_token_id]
    config = Path(tokenizer.name_or_path) / "generation_config.json"
    if config.is_file():
        found = json.loads(config.read_text(encoding="utf-8")).get("eos_token_id")
        ends += found if isinstance(found, list) else [found]
    return frozenset(end for end in ends if isinstance(end, int))
