"""Plays episodes with a user's class for Millrace: python3 -c SCRIPT FILE CLASS THREADS. Python 3.8 or later, no
packages. Without a FILE the class is that of verifiers_episode.py, which then stands before this too.

The messages (frames.py, which stands before this with user_code.py and many_questions.py) are JSON. The first one says whether the class can be used: {"error":
"" or one line}. Then comes {"id", "do": "begin", "group", "attempt", "answers", "seed", "row": {...}}, answered by {"id",
"messages": [...]}, and {"id", "do": "step", "group", "attempt", "answer", "text", "cut_off",
"last"}, answered by {"id",
"messages", "reward", "done"}, and "history" where it is rewritten; either by {"id", "failure": line}. {"do": "end", "group", "attempt"} has no answer. Many
questions are open at once: coroutines wait beside each other, plain functions in THREADS threads.
"""
import asyncio
import inspect
import math
import sys


class NotAsWanted(Exception):
    """What came back is of another form."""


episodes = {}
opening, ended = set(), set()  # groups that are beginning, and those of them that nobody wants any more


def messages_of(found, what):
    if found is None:
        return []
    if isinstance(found, str):
        return [{"role": "user", "content": found}]
    if isinstance(found, dict):
        found = [found]
    if not isinstance(found, (list, tuple)):
        raise NotAsWanted(what + " gave " + type(found).__name__ + " for its messages, want a list of messages")
    for message in found:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str) \
                or not isinstance(message.get("content"), str):
            raise NotAsWanted(what + " gave a message " + repr(message)[:80] + ", want {'role': text, 'content': text}")
    return [{"role": message["role"], "content": message["content"]} for message in found]


async def begin(pool, cls, ask):
    key = (ask["group"], ask["attempt"])
    opening.add(key)
    try:
        begun, prompt = await opened(pool, cls, ask)
        if key in ended:
            await closed(pool, begun)
        else:
            episodes[key] = begun
    finally:
        opening.discard(key)
        ended.discard(key)
    return {"messages": prompt, "tools": getattr(begun[0][0], "offers", None) or []}


async def opened(pool, cls, ask):
    begun, prompts = [], []
    try:
        for _ in range(ask["answers"]):
            one = cls()
            begun.append([one, []])
            prompts.append(messages_of(await called(pool, one.reset, dict(ask["row"], seed=ask["seed"])), "reset"))
            begun[-1][1].extend(prompts[-1])
        check_prompts(prompts)
    except BaseException:
        await closed(pool, begun)
        raise
    return begun, prompts[0]


def check_prompts(prompts):
    if not prompts[0]:
        raise NotAsWanted("reset gave no message, want the prompt")
    if any(prompt != prompts[0] for prompt in prompts):
        raise NotAsWanted("reset gave two answers of a row different prompts, want one: draw from random.Random(seed)")


async def closed(pool, begun):
    """Tells the objects that have a method close that nobody asks them any more."""
    for one, _ in begun:
        if callable(getattr(one, "close", None)):
            try:
                await called(pool, one.close)
            except Exception as error:
                print("close raised " + line_of(error), file=sys.stderr)


async def step(pool, ask):
    begun = episodes.get((ask["group"], ask["attempt"]))
    if begun is None:
        raise NotAsWanted("no such episode is here")
    one, conversation = begun[ask["answer"]]
    conversation.append({"role": "assistant", "content": ask["text"]})
    taken = inspect.signature(one.step).parameters
    found = await called(pool, one.step, [dict(message) for message in conversation],
                         **{name: ask[name] for name in ("cut_off", "last", "content", "calls") if name in taken})
    if not isinstance(found, (list, tuple)) or len(found) not in (3, 4):
        raise NotAsWanted("step returned " + (type(found).__name__ if not isinstance(found, (list, tuple))
                                              else str(len(found)) + " values")
                          + ", want (messages, reward, done) or (messages, reward, done, history)")
    messages = messages_of(found[0], "step")
    try:
        reward = float(0 if found[1] is None else found[1])
    except Exception:
        reward = math.nan
    if not math.isfinite(reward):
        raise NotAsWanted("step returned the reward " + repr(found[1])[:60] + ", want a finite number")
    history = None if len(found) < 4 or found[3] is None else messages_of(found[3], "step")
    if history and not messages:
        messages = [history.pop()]
    if not found[2] and not messages:
        raise NotAsWanted("step returned no message and done = " + repr(found[2])[:20] + ", want one of them")
    if history is not None:
        conversation[:] = history
    conversation.extend(messages)
    return {"messages": messages, "reward": reward, "done": bool(found[2]), "history": history}


async def answer(pool, cls, ask):
    try:
        result = await (begin(pool, cls, ask) if ask["do"] == "begin" else step(pool, ask))
    except NotAsWanted as error:
        result = {"failure": str(error)}
    except Exception as error:
        result = {"failure": ("reset" if ask["do"] == "begin" else "step") + " raised " + line_of(error)}
    result["id"] = ask["id"]
    send(result)


def take(cls):
    def one(pool, start, ask):
        if ask["do"] == "end":
            key = (ask["group"], ask["attempt"])
            start(closed(pool, episodes.pop(key, [])))
            if key in opening:
                ended.add(key)
        else:
            start(answer(pool, cls, ask))

    return one


def load(path, name):
    cls = from_file(path, name, "class")
    for method in ("reset", "step"):
        if not callable(getattr(cls, method, None)):
            raise LookupError("'" + name + "' has no method " + method + ", want reset(row) and step(messages)")
    return cls


def main():
    path, name, threads = sys.argv[1:4]
    sys.argv = [path]
    cls = loaded(lambda: load(path, name) if path else verifiers_class(name))
    send({"error": ""})
    asyncio.run(attend(int(threads), take(cls)))


main()
