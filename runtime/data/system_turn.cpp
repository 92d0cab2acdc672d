#include "runtime/data/system_turn.hpp"

namespace millrace::data {

void add_system(std::vector<chat_turn>& prompt, const std::string& system) {
  if (!system.empty() && (prompt.empty() || prompt.front().role != "system"))
    prompt.insert(prompt.begin(), {"system", system});
}

} // namespace millrace::data
