#pragma once

#include "tests/support/temporary_folder.hpp"

#include <filesystem>
#include <string>

namespace millrace::tests {

/// A Python with a package `reasoning_gym` that has one data set, "doubling": row i of seed s asks for twice s + i. A
/// metadata entry is a tuple, which JSON has not; row 2 has no answer of its own. Its scorer pays half for 0.
inline constexpr const char* stand_in_gym = R"(
from . import utils
class Doubling:
    def __init__(self, size, seed, factor=2):
        self.size, self.seed, self.factor = size, seed, factor
    def __getitem__(self, i):
        if i >= self.size:
            raise IndexError(i)
        value = self.factor * (self.seed + i)
        return {"question": f"{self.factor} times {self.seed + i}?", "answer": None if i == 2 else str(value),
                "metadata": {"value": (value,)}}
    def score_answer(self, answer, entry):
        assert isinstance(entry["metadata"]["value"], tuple)
        return 1.0 if answer == str(entry["metadata"]["value"][0]) else 0.5 if answer == "0" else 0.0
def create_dataset(name, **config):
    if name != "doubling":
        raise ValueError(f"Dataset '{name}' not registered")
    return Doubling(**config)
)";

/// Puts the stand-in into a folder and a Python beside it that imports it. @returns that Python
inline std::filesystem::path python_with_stand_in_gym(const std::filesystem::path& folder,
                                                      const std::string& text = stand_in_gym) {
  std::filesystem::create_directory(folder / "reasoning_gym");
  write_file(folder / "reasoning_gym/__init__.py", text);
  write_file(folder / "reasoning_gym/utils.py", "import re\n"
                                                "def extract_answer(text):\n"
                                                "    found = re.findall('<answer>(.*?)</answer>', text, re.DOTALL)\n"
                                                "    return found[-1].strip() if found else None\n");
  write_file(folder / "python",
             "#!/bin/sh\nPYTHONDONTWRITEBYTECODE=1 PYTHONPATH=" + folder.string() + " exec python3 \"$@\"\n");
  std::filesystem::permissions(folder / "python", std::filesystem::perms::owner_all);
  return folder / "python";
}

} // namespace millrace::tests
