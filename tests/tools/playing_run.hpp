#pragma once

#include "tests/tools/tiny_run.hpp"

#include <string>

namespace millrace::tests {

/// A class of three turns, whose words, rewards, delays and failures vary, and that may rewrite what was said.
inline constexpr const char* varied_game = R"py(
import asyncio
import os
import random

class Game:
    def reset(self, row):
        self.random, self.turns = random.Random(row["seed"]), 0
        return row["prompt"]

    async def step(self, messages):
        self.turns += 1
        await asyncio.sleep(float(os.environ.get("GAME_SLEEPS", "0")))
        if self.random.random() < float(os.environ.get("GAME_FAILS", "0")):
            raise RuntimeError("bad luck")
        text = messages[-1]["content"]
        said = [{"role": "user", "content": text[:3] + str(self.turns)}], len(set(text)) / 10, self.turns == 3
        forgets = float(os.environ.get("GAME_FORGETS", "0"))
        if forgets and self.random.random() < forgets:
            return (*said, [{"role": "user", "content": "In short"}])
        return said
)py";

/// The tiny pipeline whose answers are episodes with a class in a file.
struct playing_run {
  temporary_folder folder;
  tiny_run run;

  /// @param critic and a reference beside it
  explicit playing_run(int steps, const std::string& preset = "synchronous", bool critic = false)
      : run({.steps = steps,
             .preset = preset,
             .reference = critic,
             .critic = critic,
             .max_new_tokens = 120,
             .source = "generator = { type = \"arithmetic\" }\n\n[roles.game]\nkind = \"environment\"\n"
                       "from = [\"prompts\"]\ntype = \"python\"\nclass = \"Game\"\nfile = \""
                       + (folder / "game.py").string() + "\""}) {
    write_file(folder / "game.py", varied_game);
  }

  std::string file() const { return run.start()[2]; }

  strings start(const strings& more = {}) const {
    strings words{"--set", "roles.rollout.environment=game", "--set", "roles.rollout.max_turn_tokens=6"};
    words.insert(words.end(), more.begin(), more.end());
    return run.start(words);
  }

  static strings placed() { return {"--set", "placement.rollout.processes=2", "--set", "placement.game.processes=1"}; }
};

} // namespace millrace::tests
