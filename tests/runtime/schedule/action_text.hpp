#pragma once

#include "runtime/schedule/action.hpp"

#include <string>
#include <vector>

namespace millrace::schedule {

/// Actions as one line, so that a test reads like a protocol: "admit 0#1 w0 v0, cut 0: 0 1, publish 1: w0, finish
/// stopped".
inline std::string words(const std::vector<action>& actions) {
  struct writer {
    std::string operator()(const admit& a) const {
      return "admit " + std::to_string(a.group) + "#" + std::to_string(a.attempt) + " w" + std::to_string(a.worker)
             + " v" + std::to_string(a.born) + (a.resume ? " resume" : "") + (a.oversampled ? "" : " whole");
    }

    std::string operator()(const cancel& a) const {
      return "cancel " + std::to_string(a.group) + "#" + std::to_string(a.attempt) + " w" + std::to_string(a.worker);
    }

    std::string operator()(const interrupt& a) const {
      return "interrupt " + std::to_string(a.group) + "#" + std::to_string(a.attempt) + " w" + std::to_string(a.worker);
    }

    std::string operator()(const cut& a) const {
      auto text =
          "cut " + std::to_string(a.step) + (a.part > 0 || !a.ends_step ? "." + std::to_string(a.part) : "") + ":";
      for (const auto id : a.groups)
        text += " " + std::to_string(id);
      if (a.mask != age_mask::none)
        text += (a.mask == age_mask::tokens ? " tokens from v" : " answers from v") + std::to_string(a.train_from);
      return text;
    }

    std::string operator()(const publish& a) const {
      auto text = "publish " + std::to_string(a.version) + ":";
      for (const auto id : a.workers)
        text += " w" + std::to_string(id);
      return text;
    }

    std::string operator()(const drop& a) const {
      return "drop " + std::to_string(a.group) + " " + std::string(to_string(a.reason));
    }

    std::string operator()(const checkpoint& a) const { return "checkpoint " + std::to_string(a.step); }

    std::string operator()(const finish& a) const { return "finish " + std::string(to_string(a.reason)); }
  };

  std::string all;
  for (const auto& one : actions)
    all += (all.empty() ? "" : ", ") + std::visit(writer{}, one);
  return all;
}

} // namespace millrace::schedule
