"""An episode of an environment of the package verifiers, as environment_worker.py, which stands behind this, plays one.

The environment's own rollout runs unchanged. It asks a model for each turn: that model is the policy, whose turns `step`
hands over. When the rollout has ended, the environment's rubric scores its state.
"""
import asyncio
import contextvars
import json
import logging
import sys
import time

sys.path[:] = [place for place in sys.path if place]  # no module of the working directory
wanted_verifiers = "python3 -m venv env && env/bin/pip install verifiers==0.2.1, and python = \"env/bin/python\""

raised = contextvars.ContextVar("raised")  # lines about reward functions, of the episode that is scored


class rewards_that_raise(logging.Handler):
    """verifiers counts a reward function that raises as 0.0, and says so in its log alone."""

    def emit(self, record):
        line = record.getMessage()
        if line.startswith("Error calling reward function"):
            raised.get([]).append(line)


def verifiers_class(raising):
    """The class of the episodes. @param raising "fail" or "zero": what a reward function that raises means. Raises LookupError with a line where the package is not there, or another one is."""
    try:
        import verifiers
        if not hasattr(verifiers, "load_environment"):
            raise ImportError("verifiers " + str(getattr(verifiers, "__version__", "")) + " has no load_environment")
        from verifiers.clients import Client
        from verifiers.types import Response, ResponseMessage, ToolCall
    except ImportError as error:
        raise LookupError("no verifiers with load_environment in " + sys.executable + " (" + line_of(error)
                          + "), want it: " + wanted_verifiers) from None
    logging.getLogger("verifiers").addHandler(rewards_that_raise())
    loaded = {}

    def environment_of(about):
        key = json.dumps([about["environment"], about["arguments"]], sort_keys=True)
        if key not in loaded:
            env = verifiers.load_environment(about["environment"], **about["arguments"])
            if env.requires_group_rollouts:
                raise ValueError("the rubric of " + about["environment"] + " scores a group at once, want one that "
                                 "scores each answer")
            loaded[key] = env
        return loaded[key]

    class policy_client(Client):
        """Asks for a turn by a question in a queue, and gets the turn through its future."""

        def __init__(self):
            super().__init__(None)
            self.asked = asyncio.Queue()

        def setup_client(self, config):
            return None

        async def to_native_tool(self, tool):
            return tool

        async def to_native_prompt(self, messages):
            return messages, {}

        async def get_native_response(self, prompt, model, sampling_args, tools=None, state=None, **_):
            written = asyncio.get_running_loop().create_future()
            self.asked.put_nowait((list(prompt), tools or [], state, written))
            return await written

        async def raise_from_native_response(self, response):
            pass

        async def from_native_response(self, response):
            return response

        async def close(self):
            pass

    class verifiers_episode:
        playing = None

        async def reset(self, row):
            about = row["extra_info"].get("verifiers") if isinstance(row["extra_info"], dict) else None
            if not about:
                raise ValueError("the row is of no environment, want a source whose generator has type = \"verifiers\"")
            self.env = environment_of(about)
            self.client = policy_client()
            self.playing = asyncio.get_running_loop().create_task(
                self.env.rollout(dict(about["row"]), self.client, "policy", {}))
            if not await self.goes_on():
                self.playing.result()
                raise ValueError("the environment ended before the first turn")
            self.wrote = []  # the policy's turns, as the environment has them and as they were sampled
            self.offers = [{"type": "function", "function": {"name": tool.name, "description": tool.description,
                                                             "parameters": tool.parameters}} for tool in self.tools]
            return [plain_message(message) for message in self.prompt]

        async def step(self, messages, cut_off, last, content, calls):
            before = [message.model_dump() for message in self.prompt]
            response = response_of(content if self.tools else messages[-1]["content"], calls, cut_off)
            own = plain_message(response.message)
            self.wrote.append((own, messages[-1]["content"]))
            self.written.set_result(response)
            on = await self.goes_on()
            if on and not last:
                now = [plain_message(message) for message in self.prompt]
                if [message.model_dump() for message in self.prompt[:len(before)]] == before \
                        and now[len(before):len(before) + 1] == [own]:
                    return now[len(before) + 1:], 0, False
                return now[-1:], 0, False, self.as_sampled(now[:-1])
            if on:
                await self.close()
            else:
                self.state = self.playing.result()
            lines = []
            raised.set(lines)
            await self.env.rubric.score_rollout(self.state)
            await self.env.rubric.cleanup(self.state)
            if lines and raising == "fail":
                raise ValueError(lines[0])
            return [], self.state["reward"], True

        def as_sampled(self, messages):
            """Turns of the policy as they were sampled, where the environment has not changed them. Those that read alike
            may have been sampled otherwise: they stand in their order."""
            found, following = [], 0
            for message in messages:
                places = [*range(following, len(self.wrote)), *range(following)]
                at = next((k for k in places if self.wrote[k][0] == message), None)
                if at is not None:
                    message, following = dict(message, content=self.wrote[at][1]), at + 1
                found.append(message)
            return found

        async def close(self):
            """Ends the rollout where it is; it cleans its state up."""
            if self.playing is not None and not self.playing.done():
                self.playing.cancel()
                await asyncio.wait([self.playing])

        async def goes_on(self):
            """Whether the rollout asks for a turn, or has ended."""
            question = asyncio.ensure_future(self.client.asked.get())
            await asyncio.wait([question, self.playing], return_when=asyncio.FIRST_COMPLETED)
            if not question.done():
                question.cancel()
                return False
            self.prompt, self.tools, self.state, self.written = question.result()
            return True

    def response_of(content, calls, cut_off):
        # a malformed call is one that the environment answers with why
        made = [ToolCall(id="call_" + str(at), name=call.get("name", ""),
                         arguments=json.dumps(call["arguments"]) if "arguments" in call else call["error"])
                for at, call in enumerate(calls)]
        return Response(id="", created=int(time.time()), model="policy", message=ResponseMessage(
            content=content, tool_calls=made or None, is_truncated=cut_off,
            finish_reason="length" if cut_off else "tool_calls" if calls else "stop"))

    return verifiers_episode


def text_of(content):
    if isinstance(content, (list, tuple)):
        parts = [part if isinstance(part, dict) else part.model_dump() for part in content]
        if any(part.get("type") != "text" for part in parts):
            raise ValueError("a message holds " + ", ".join(str(part.get("type")) for part in parts) + ", want text")
        return "".join(part["text"] for part in parts)
    return "" if content is None else str(content)


def plain_message(message):
    """Calls of tools stand in tags behind the content."""
    content = text_of(message.content)
    for call in getattr(message, "tool_calls", None) or []:
        content += ("\n" if content else "") + "<tool_call>\n" + json.dumps(
            {"name": call.name, "arguments": arguments_of(call)}, ensure_ascii=False) + "\n</tool_call>"
    return {"role": message.role, "content": content}


def arguments_of(call):
    try:
        return json.loads(call.arguments)
    except (TypeError, ValueError):
        return call.arguments
