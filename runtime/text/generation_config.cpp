#include "runtime/text/generation_config.hpp"

#include "runtime/formats/json_fields.hpp"
#include "runtime/formats/strict_json.hpp"

#include <nlohmann/json.hpp>

#include <limits>

namespace millrace::text {

using json = nlohmann::json;

generation_defaults read_generation_config(const std::filesystem::path& path) {
  const json document = formats::read_json(path);
  const formats::json_fields in(document, path.string());
  generation_defaults out;
  out.temperature = in.number("temperature");
  if (out.temperature && *out.temperature < 0)
    in.refuse("temperature", "a number >= 0");
  out.top_p = in.number("top_p");
  if (out.top_p && (*out.top_p <= 0 || *out.top_p > 1))
    in.refuse("top_p", "a number in (0, 1]");
  out.top_k = in.integer("top_k", 0, std::numeric_limits<std::int32_t>::max());
  out.eos_ids = in.token_ids("eos_token_id");
  out.bos_id = in.token_id("bos_token_id");
  out.pad_id = in.token_id("pad_token_id");
  return out;
}

std::string generation_config_text(const generation_defaults& defaults) {
  json out = json::object();
  const auto put = [&](const char* key, const auto& value) {
    if (value)
      out[key] = *value;
  };
  put("temperature", defaults.temperature);
  put("top_p", defaults.top_p);
  put("top_k", defaults.top_k);
  // transformers refuses sampling settings beside greedy decoding.
  if (defaults.temperature || defaults.top_p || defaults.top_k)
    out["do_sample"] = defaults.temperature.value_or(1) > 0;
  put("bos_token_id", defaults.bos_id);
  put("pad_token_id", defaults.pad_id);
  if (defaults.eos_ids.size() == 1)
    out["eos_token_id"] = defaults.eos_ids.front();
  else if (!defaults.eos_ids.empty())
    out["eos_token_id"] = defaults.eos_ids;
  return out.dump(2) + "\n";
}

} // namespace millrace::text
